"""Recorded banners put back into their protocols: the right service, and never another one as confirmed."""

import pytest
from bench.recorded import PAYLOADS, SERVERS, run

from flowsonar.signatures import load_signatures
from tests.needs import CORPUS, needs_corpus


def test_every_key_is_of_a_service_that_there_is() -> None:
    services = load_signatures().services
    for wanted in [one[0] for one in (*SERVERS.values(), *PAYLOADS.values())]:
        assert wanted in services


@needs_corpus()
@pytest.mark.parametrize("key", ["imap4.banner", "mysql.error", "nntp.banner", "pop3.banner", "rtsp_header.server"])
def test_recorded_banners_are_what_they_are(key: str) -> None:
    ((_, _, count, missed, _),) = run(CORPUS / "recog", frozenset((key,)))
    assert count > 0
    assert missed == []
