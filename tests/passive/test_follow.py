from flowsonar.flows.table import FOLLOW_PREFIX_BYTES, FOLLOW_PREFIXES
from flowsonar.passive.follow import FOLLOW


def test_the_flow_table_takes_them() -> None:
    assert len(FOLLOW) <= FOLLOW_PREFIXES
    assert all(1 <= len(prefix) <= FOLLOW_PREFIX_BYTES for prefix in FOLLOW)


def test_greetings_and_first_requests_are_followed() -> None:
    for said in (b"220 ready\r\n", b"USER a\r\n", b"FEAT\r\n", b"OPTIONS rtsp://a/b RTSP/1.0\r\n"):
        assert said.startswith(FOLLOW)
    assert not b"GET / HTTP/1.1\r\n".startswith(FOLLOW)
