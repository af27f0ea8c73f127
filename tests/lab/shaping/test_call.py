from lab.shaping.call import answer, invite, media_port, sdp


def test_an_offer_names_its_port() -> None:
    assert media_port(sdp("192.0.2.1", 4002)) == 4002
    assert media_port("v=0\r\n") is None


def test_an_answer_gives_back_what_it_must() -> None:
    request = invite("INVITE", "198.18.50.1:5060", ("192.168.41.2", 5070), "abc", sdp("192.168.41.2", 4002)).decode()
    reply = answer(request, "200 OK", "198.18.50.1:5060", sdp("198.18.50.1", 4004)).decode()
    assert reply.startswith("SIP/2.0 200 OK\r\n")
    for line in request.split("\r\n"):
        if line.startswith(("Via", "From", "Call-ID", "CSeq")):
            assert line in reply
    assert ";tag=callee" in reply
    assert media_port(reply) == 4004
    head, body = reply.split("\r\n\r\n", 1)
    assert f"Content-Length: {len(body)}" in head
