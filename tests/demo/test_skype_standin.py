import asyncio
import socket
import subprocess
import sys

import pytest

from flowsonar.demo import skype_standin
from flowsonar.demo.skype_standin import HTTPS_HELLO, HTTPS_SERVER_HELLO, NOT_FOUND, Node, StandinError

RECORDED_REQUEST = bytes.fromhex("15f202e2b459e6644a654d81763ac9dbf536")
RECORDED_NACK = bytes.fromhex("15f2775680f57324499eb8")
RECORDED_RESEND_HEAD = bytes.fromhex("15f2030124499eb8a57cfdf1644a654d")


class Asker(asyncio.DatagramProtocol):
    def __init__(self):
        self.heard = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.heard.put_nowait(data)


async def asker(node):
    loop = asyncio.get_running_loop()
    return await loop.create_datagram_endpoint(Asker, remote_addr=(node.listen, node.port))


async def say(node, *chunks):
    reader, writer = await asyncio.open_connection(node.listen, node.port)
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


def with_node(scenario, **options):
    async def run():
        node = Node("127.0.0.1", **options)
        await node.start()
        try:
            return await scenario(node)
        finally:
            await node.close()

    return asyncio.run(run())


def test_constants_have_the_published_lengths():
    assert (len(NOT_FOUND), len(HTTPS_HELLO), len(HTTPS_SERVER_HELLO)) == (26, 56, 79)


def test_the_resend_is_the_recorded_one():
    resend = skype_standin._resend(RECORDED_REQUEST, RECORDED_NACK, "165.124.253.241")
    assert resend[:16] == RECORDED_RESEND_HEAD
    assert len(resend) == len(RECORDED_REQUEST) + 5


def test_a_stranger_hears_eleven_bytes():
    async def scenario(node):
        transport, protocol = await asker(node)
        for length in (12, 18, 24):
            request = b"\x52\x00\x02" + bytes(length - 3)
            transport.sendto(request)
            answer = await asyncio.wait_for(protocol.heard.get(), 5)
            assert len(answer) == 11
            assert answer[:2] == request[:2]
            assert answer[2] & 0x8F == 0x07
            assert answer[3:7] == bytes([127, 0, 0, 1])
        transport.close()

    with_node(scenario)


@pytest.mark.parametrize(
    "datagram", [b"", b"\x01", b"ab\x02", b"ab\x12" + bytes(20), b"ab\x0d" + bytes(20), b"ab\x03" + bytes(30)]
)
def test_what_is_no_message_hears_nothing(datagram):
    async def scenario(node):
        transport, protocol = await asker(node)
        transport.sendto(datagram)
        transport.sendto(RECORDED_REQUEST)
        assert (await asyncio.wait_for(protocol.heard.get(), 5))[:2] == RECORDED_REQUEST[:2]
        assert protocol.heard.empty()
        transport.close()

    with_node(scenario)


def test_get_hears_a_bare_404():
    assert with_node(lambda node: say(node, b"GET / HTTP/1.0\r\n\r\n")) == NOT_FOUND
    assert with_node(lambda node: say(node, b"G", b"E", b"T / HTTP/1.0\r\n\r\n")) == NOT_FOUND


def test_other_bytes_hear_a_fresh_seed_each_time():
    async def scenario(node):
        return [await say(node, b"random data\r\n\r\n") for _ in range(2)]

    first, second = with_node(scenario)
    assert len(first) == len(second) == 14
    assert first[:4] != second[:4]


def test_the_key_stream_restarts_after_the_hello():
    async def scenario(node):
        reader, writer = await asyncio.open_connection(node.listen, node.port)
        writer.write(bytes(29))
        hello = await reader.readexactly(14)
        writer.write(bytes(12))
        follow_up = await reader.readexactly(4)
        writer.close()
        await writer.wait_closed()
        return hello, follow_up

    hello, follow_up = with_node(scenario)
    stream = bytes(a ^ b for a, b in zip(hello[4:], bytes.fromhex("00010000000100000001"), strict=True))
    assert bytes([follow_up[0] ^ stream[0], follow_up[1] ^ stream[1]]) == b"\x07\x01"


def test_the_constant_hello():
    hello = HTTPS_HELLO + bytes(16)
    answer = with_node(lambda node: say(node, hello[:20], hello[20:]), https_constant=True)
    assert answer[:79] == HTTPS_SERVER_HELLO
    assert len(with_node(lambda node: say(node, hello))) == 14


def test_login():
    assert with_node(lambda node: say(node, bytes.fromhex("1603010000"))) == bytes.fromhex("1703010000")


def test_nodes_visit_each_other():
    async def scenario(node):
        visitor = Node("127.0.0.1")
        await visitor.start()
        try:
            accepted = await visitor.probe(("127.0.0.1", node.port))
            await visitor.handshake(("127.0.0.1", node.port))
            await visitor.handshake(("127.0.0.1", node.port), login=True)
            sent = await visitor.call(("127.0.0.1", node.port), 0.1)
        finally:
            await visitor.close()
        return accepted, sent, node.received_call_datagrams

    accepted, _, heard = with_node(scenario)
    assert accepted
    assert heard >= 1


def test_a_node_that_refuses():
    async def scenario(node):
        visitor = Node("127.0.0.1")
        await visitor.start()
        try:
            return await visitor.probe(("127.0.0.1", node.port))
        finally:
            await visitor.close()

    assert with_node(scenario, refuse=True) is False


def test_a_taken_port_is_one_clear_line():
    async def scenario(node):
        with pytest.raises(StandinError, match="cannot listen"):
            await Node("127.0.0.1", node.port).start()

    with_node(scenario)


def test_a_visit_to_nobody_fails():
    async def scenario(node):
        with pytest.raises(StandinError, match="udp did not answer"):
            await node.probe(("127.0.0.1", 9))

    skype_standin_wait = skype_standin.ANSWER_S
    skype_standin.ANSWER_S = 0.01
    try:
        with_node(scenario)
    finally:
        skype_standin.ANSWER_S = skype_standin_wait


def test_version_check_is_worded_as_recorded():
    heard = []

    async def scenario():
        async def answer(reader, writer):
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(NOT_FOUND)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        await skype_standin.version_check(server.sockets[0].getsockname()[:2])
        server.close()

    asyncio.run(scenario())
    assert heard[0].startswith(b"GET http://ui.skype.com/ui/2/1.2.0.18/en/getlatestversion?ver=1.2.0.18&uhash=")


def test_the_command_ends_at_sigterm():
    command = [sys.executable, "-m", "flowsonar.demo.skype_standin", "--port", "0", "--seconds", "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline().split(":")[1].split(",")[0])
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert connection.recv(100) == NOT_FOUND
        process.terminate()
        assert process.wait(10) == 0
