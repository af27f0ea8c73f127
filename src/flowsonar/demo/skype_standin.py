"""A stand-in for a classic Skype node (2003-2014), so that there is something to detect. It is not Skype.

The real network ended years ago; what a node showed on the wire is known from papers (Biondi and Desclaux 2006,
Ehlert and Petgang 2006, Bonfiglio et al. 2007, Adami et al. 2009) and from the recorded node of the public sample
capture SkypeIRC.cap. This file speaks those bytes and nothing else: it deciphers nothing, keeps no contacts, carries
no call. It shares no code with the detector it is detected by and imports nothing of it.

One port, UDP and TCP, IPv4 only (the protocol had a 4-byte address field):

UDP   a start of message that cannot be deciphered  -> 11 bytes: its identifier, 0x07 with random bits 0x70, the
                                                       sender's address as seen here, an opaque token
      the resend (0x03) that carries the token      -> a message of 18 bytes (accepted) or 26, 51, 53 (refused)
      call data (0x0d) of an accepted peer          -> call data of the same length
TCP   `GET`                                         -> 26 bytes, `HTTP/1.0 404 Not Found` and an empty line, then end
      14 bytes or more of anything else             -> 4 bytes seed, 10 enciphered bytes; to the next message 4 more
      the SSLv2-framed hello (`--https-constant`)   -> the 79 constant bytes
      the login opening 16 03 01 00 00              -> 17 03 01 00 00

    python -m flowsonar.demo.skype_standin --listen 192.0.2.1 --port 35990 --seconds 60
    python -m flowsonar.demo.skype_standin --listen 192.0.2.2 --port 0 --peer 192.0.2.1:35990 --call 3
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
import sys
from collections import OrderedDict
from typing import Final

__all__ = ["HTTPS_HELLO", "HTTPS_SERVER_HELLO", "NOT_FOUND", "Node", "StandinError", "main", "version_check"]

NOT_FOUND: Final = b"HTTP/1.0 404 Not Found\r\n\r\n"
"""The whole answer to a GET: 26 bytes."""

HTTPS_HELLO: Final = bytes.fromhex(
    "804601030100 2d 0000 0010 000005 000004 00000a 000009 000064 000062 000008 000003 000006"
    "010080 0700c0 030080 060040 020080 040080"
)
"""First 56 of the 72 bytes that a client says on port 443 (Ehlert and Petgang 2006, 5.2.2); 16 random bytes follow."""

HTTPS_SERVER_HELLO: Final = bytes.fromhex(
    "160301004a 02000046 0301 401be48602ade029e17774e544b9c99cb431315e02dd779d154a9609ba5da870"
    "20 1ca0e4f64c6351ae2f8e4ee1e6766a0a88d5d8c55cae98c5e481f22a69bf9058 0005 00"
)
"""The 79 bytes that a node answers to it: even its "random" is constant."""

LOGIN_HELLO: Final = bytes.fromhex("1603010000")
LOGIN_ANSWER: Final = bytes.fromhex("1703010000")
LOGIN_SECOND: Final = bytes.fromhex("16030100cd4103000980400408c001")
"""How the third message of a login begins (Ehlert and Petgang 2006)."""

MESSAGE, RESEND, NACK, CALL = 0x02, 0x03, 0x07, 0x0D
FUNCTION_MASK: Final = 0x8F
"""Bits 0x70 of the function byte are random (Bonfiglio et al. 2007, 3.2.2)."""
REFUSALS: Final = (26, 51, 53)
INIT: Final = bytes.fromhex("00010000000100000001")
"""What the ten enciphered bytes of a TCP hello say (Biondi and Desclaux 2006)."""

KEPT_PEERS: Final = 1024
"""Peers with a token; the oldest is forgotten first."""
CONNECTIONS: Final = 256
"""TCP connections at a time; more are closed at once."""
IDLE_S: Final = 30.0
"""A connection without a byte for this long is closed."""
ANSWER_S: Final = 1.5
"""How long an own message waits for its answer before it is sent again, once."""
CALL_MAX_S: Final = 60.0
PACKETS_PER_S: Final = 50
"""Voice frames of 20 ms."""

Address = tuple[str, int]


class StandinError(Exception):
    """The peer did not do what a node does, or the port is taken; the text says which."""


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=False))


def _address_bytes(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def _blurred(function: int) -> int:
    return function | (secrets.randbits(3) << 4)


def _nack(request: bytes, requester: str, token: bytes) -> bytes:
    return request[:2] + bytes([_blurred(NACK)]) + _address_bytes(requester) + token


def _resend(request: bytes, nack: bytes, responder: str) -> bytes:
    """Repeat `request` (identifier and CRC kept, 5 bytes longer) with the token of the answer."""
    head = request[:2] + bytes([RESEND, 1]) + nack[7:11] + _address_bytes(responder)
    return head + request[7:11] + secrets.token_bytes(len(request) - 11)


class _Cipher:
    """What an observer can check of a TCP direction: the key stream restarts after the ten bytes of the hello.

    The stream is random, not derived from the seed as the real one was: nothing here can be deciphered by anyone.
    """

    def __init__(self) -> None:
        self._stream = secrets.token_bytes(10)

    def hello(self) -> bytes:
        """14 bytes: seed and greeting."""
        return secrets.token_bytes(4) + _xor(self._stream, INIT)

    def second(self, length: int) -> bytes:
        """Encipher the next message: 07 01 and more, under the stream from its start."""
        clear = b"\x07\x01" + secrets.token_bytes(length - 2)
        return _xor(clear, self._stream) + secrets.token_bytes(max(0, length - 10))


class Node(asyncio.DatagramProtocol):
    """One stand-in: listens on UDP and TCP of one port, and can visit another one."""

    def __init__(self, listen: str, port: int = 0, *, https_constant: bool = False, refuse: bool = False) -> None:
        self.listen, self.port = listen, port
        self.https_constant, self.refuse = https_constant, refuse
        self._identifier = secrets.randbelow(0x4000) | 0x1000
        self._tokens: OrderedDict[Address, bytes] = OrderedDict()
        self._accepted: OrderedDict[Address, bool] = OrderedDict()
        self._waiting: dict[Address, asyncio.Future[bytes]] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self.received_call_datagrams = 0

    async def start(self) -> None:
        """Bind both; with port 0, a port that is free for both. Raises StandinError when the port is taken."""
        wanted = self.port
        for attempt in range(16):
            try:
                self._tcp = await asyncio.start_server(self._connected, self.listen, wanted)
                self.port = self._tcp.sockets[0].getsockname()[1]
                loop = asyncio.get_running_loop()
                self._udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.listen, self.port))
            except OSError as error:
                if self._tcp is not None:
                    self._tcp.close()
                if wanted or attempt == 15:
                    raise StandinError(f"cannot listen on {self.listen}:{wanted}: {error.strerror}") from error
            else:
                return

    async def close(self) -> None:
        """Close both sockets and every connection."""
        if self._tcp is not None:
            self._tcp.close()
        if self._udp is not None:
            self._udp.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # -- UDP ------------------------------------------------------------------------------------------------------

    def _send(self, data: bytes, peer: Address) -> None:
        if self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(data, peer)

    def _message(self, length: int) -> bytes:
        """Build a start of message of `length` bytes: identifier, 02, IV, CRC, data. Own identifiers step by two."""
        self._identifier = (self._identifier + 2) & 0xFFFF
        return self._identifier.to_bytes(2, "big") + bytes([MESSAGE]) + secrets.token_bytes(length - 3)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer one datagram; whatever is no start of message is ignored."""
        if len(data) < 3:
            return
        addr = addr[:2]
        function = data[2] & FUNCTION_MASK
        waiting = self._waiting.get(addr)
        if waiting is not None and not waiting.done() and function in {NACK, MESSAGE}:
            waiting.set_result(data)
        elif data[2] == MESSAGE and len(data) > 11:
            token = self._tokens.setdefault(addr, secrets.token_bytes(4))
            if len(self._tokens) > KEPT_PEERS:
                self._tokens.popitem(last=False)
            self._send(_nack(data, addr[0], token), addr)
        elif function == RESEND and len(data) > 16 and data[4:8] == self._tokens.get(addr):
            if not self.refuse:
                self._accept(addr)
            self._send(self._message(secrets.choice(REFUSALS) if self.refuse else 18), addr)
        elif function == CALL and addr in self._accepted:
            self.received_call_datagrams += 1
            if self._accepted[addr]:
                self._send(self._call_data(len(data)), addr)

    def _accept(self, peer: Address, *, answers_calls: bool = True) -> None:
        self._accepted[peer] = answers_calls
        if len(self._accepted) > KEPT_PEERS:
            self._accepted.popitem(last=False)

    def error_received(self, exc: Exception) -> None:
        """ICMP errors are not for us: the peer is gone or never was."""

    def _call_data(self, length: int) -> bytes:
        return secrets.token_bytes(2) + bytes([_blurred(CALL)]) + secrets.token_bytes(length - 3)

    async def _asked(self, data: bytes, peer: Address) -> bytes:
        for _ in range(4):
            future = self._waiting[peer] = asyncio.get_running_loop().create_future()
            self._send(data, peer)
            try:
                return await asyncio.wait_for(future, ANSWER_S)
            except TimeoutError:
                continue
            finally:
                self._waiting.pop(peer, None)
        raise StandinError(f"{peer[0]}:{peer[1]}/udp did not answer")

    async def probe(self, peer: Address) -> bool:
        """Meet a node as a client does: message, NACK, resend, answer. True when accepted."""
        request = self._message(18)
        answer = await self._asked(request, peer)
        if answer[2] & FUNCTION_MASK == NACK and len(answer) == 11 and answer[:2] == request[:2]:
            answer = await self._asked(_resend(request, answer, peer[0]), peer)
        self._accept(peer, answers_calls=False)
        return len(answer) == 18

    async def call(self, peer: Address, seconds: float) -> int:
        """Send call data at 50 datagrams a second for `seconds` (at most 60); returns how many came back."""
        before = self.received_call_datagrams
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(round(min(seconds, CALL_MAX_S) * PACKETS_PER_S)):
            self._send(self._call_data(70 + secrets.randbelow(70)), peer)
            await asyncio.sleep(max(0.0, start + (number + 1) / PACKETS_PER_S - loop.time()))
        return self.received_call_datagrams - before

    # -- TCP ------------------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) < CONNECTIONS:
            self._connections.add(task)
            with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
                await self._talk(reader, writer)
            self._connections.discard(task)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _needed(self, heard: bytes) -> int:
        constant = self.https_constant and HTTPS_HELLO.startswith(heard[: len(HTTPS_HELLO)])
        return len(HTTPS_HELLO) if constant else 14

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = b""
        while not (heard.startswith((b"GET ", LOGIN_HELLO)) or len(heard) >= self._needed(heard)):
            more = await asyncio.wait_for(reader.read(2048), IDLE_S)
            if not more:
                return
            heard += more
        if heard.startswith(b"GET "):
            writer.write(NOT_FOUND)
        elif heard.startswith(LOGIN_HELLO):
            writer.write(LOGIN_ANSWER)
            if await asyncio.wait_for(reader.read(2048), IDLE_S):
                writer.write(b"\x17\x03\x01\x00" + secrets.token_bytes(60))
        elif self.https_constant and heard.startswith(HTTPS_HELLO):
            writer.write(HTTPS_SERVER_HELLO + secrets.token_bytes(14))
            await asyncio.wait_for(reader.read(2048), IDLE_S)
        else:
            cipher = _Cipher()
            writer.write(cipher.hello())
            if await asyncio.wait_for(reader.read(2048), IDLE_S):
                writer.write(cipher.second(4))
            while await asyncio.wait_for(reader.read(2048), IDLE_S):
                pass
        await writer.drain()

    async def handshake(self, peer: Address, *, pings: int = 0, login: bool = False) -> None:
        """Say the TCP opening of the recorded client: 29, 14, 12 and 4 bytes; then `pings` of 4 bytes, one a second.

        With `https_constant` the hello of port 443 is said instead, with `login` the opening of a login server.
        Raises StandinError when the peer answers otherwise, OSError when it cannot be reached.
        """
        reader, writer = await asyncio.wait_for(asyncio.open_connection(*peer, local_addr=(self.listen, 0)), 10)
        cipher = _Cipher()
        try:
            if login:
                turns = [(LOGIN_HELLO, 5), (LOGIN_SECOND + secrets.token_bytes(180), 64)]
            elif self.https_constant:
                turns = [(HTTPS_HELLO + secrets.token_bytes(16), 93), (secrets.token_bytes(14), 0)]
            else:
                turns = [(cipher.hello() + cipher.second(15), 14), (secrets.token_bytes(12), 4)]
            turns += [(secrets.token_bytes(4), 0)] * pings
            for number, (say, hear) in enumerate(turns):
                if number > 1:
                    await asyncio.sleep(1)
                writer.write(say)
                await asyncio.wait_for(reader.readexactly(hear), 10)
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            raise StandinError(f"{peer[0]}:{peer[1]}/tcp did not answer as a node does") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def version_check(server: Address, local: str | None = None) -> bytes:
    """Ask an HTTP server (once ui.skype.com) for the latest version, in the recorded client's words."""
    request = (
        "GET http://ui.skype.com/ui/2/1.2.0.18/en/getlatestversion?ver=1.2.0.18"
        f"&uhash={secrets.token_hex(16)} HTTP/1.1\r\nconnection: close\r\nhost: ui.skype.com\r\n\r\n"
    )
    opening = asyncio.open_connection(*server, local_addr=(local, 0) if local else None)
    reader, writer = await asyncio.wait_for(opening, 10)
    try:
        writer.write(request.encode())
        return await asyncio.wait_for(reader.read(4096), 10)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# -- command line -------------------------------------------------------------------------------------------------


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT")
    return host, int(port)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flowsonar.demo.skype_standin",
        description="A stand-in for a classic Skype node, for tests and demonstrations. It is not Skype.",
    )
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="IPv4 address to listen on")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="UDP and TCP port; 0 takes a free one")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="end after this long (default 60)")
    parser.add_argument("--https-constant", action="store_true", help="speak the constant hello of port 443")
    parser.add_argument("--refuse", action="store_true", help="refuse peers after their resend")
    parser.add_argument("--peer", type=_address, metavar="ADDRESS:PORT", help="visit this node, then end")
    parser.add_argument("--call", type=float, default=0.0, metavar="S", help="with --peer: call data for S seconds")
    parser.add_argument("--pings", type=int, default=0, metavar="N", help="with --peer: N TCP pings, one a second")
    parser.add_argument("--no-tcp", action="store_true", help="with --peer: UDP only")
    parser.add_argument("--login", action="store_true", help="with --peer: the opening of a login server instead")
    parser.add_argument(
        "--version-check", type=_address, metavar="ADDRESS:PORT", help="ask this HTTP server for the latest version"
    )
    return parser.parse_args(argv)


async def _visit(node: Node, arguments: argparse.Namespace) -> None:
    if arguments.version_check:
        await version_check(arguments.version_check)
    if not arguments.peer:
        return
    if not arguments.login:
        await node.probe(arguments.peer)
    async with asyncio.TaskGroup() as group:
        if not arguments.no_tcp:
            group.create_task(node.handshake(arguments.peer, pings=arguments.pings, login=arguments.login))
        if arguments.call:
            group.create_task(node.call(arguments.peer, arguments.call))


async def _run(arguments: argparse.Namespace) -> None:
    node = Node(arguments.listen, arguments.port, https_constant=arguments.https_constant, refuse=arguments.refuse)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await node.start()
    print(f"Skype stand-in listens on {node.listen}:{node.port}, UDP and TCP", flush=True)
    visiting = bool(arguments.peer or arguments.version_check)
    work = asyncio.create_task(_visit(node, arguments) if visiting else stop.wait())
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, waiting}, timeout=arguments.seconds, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        for task in (work, waiting):
            task.cancel()
        await asyncio.gather(work, waiting, return_exceptions=True)
        await node.close()


def main(argv: list[str] | None = None) -> int:
    """Run one stand-in until it is done, its time is over or SIGTERM; 0 done, 1 failed."""
    try:
        asyncio.run(_run(_arguments(argv)))
    except (StandinError, OSError, TimeoutError) as error:
        print(f"skype stand-in: {error}", file=sys.stderr)
        return 1
    except BaseExceptionGroup as group:
        print(f"skype stand-in: {group.exceptions[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
