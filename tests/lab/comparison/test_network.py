import pytest
from lab.namespaces import run
from lab.programs import in_namespace

from lab.comparison import network
from tests.needs import needs_program, needs_root


@needs_root()
@needs_program("ip")
def test_users_of_packages_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with network.Pair() as pair:
        asks = in_namespace(pair.server, ["sh", "-c", "id -u later || true"])
        assert run(asks) == ""
        later = {"passwd": "later:x:64991:64991::/:/usr/sbin/nologin\n"}
        monkeypatch.setattr(network, "_USERS", later)  # as if a package had brought one to /etc
        assert run(asks) == ""
        pair.know_users()
        assert run(asks) == "64991\n"
