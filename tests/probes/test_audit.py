import pytest

from flowsonar.model import Endpoint, Transport
from flowsonar.probes.audit import AuditAction, AuditEntry


def test_an_entry_is_a_value_that_nobody_changes_later():
    entry = AuditEntry(
        time_ns=1, endpoint=Endpoint(Transport.TCP, "10.0.0.1", 80), action=AuditAction.SEND, probe="http/get", bytes=3
    )
    assert entry.outcome is None
    with pytest.raises(AttributeError):
        entry.bytes = 4  # type: ignore[misc]
