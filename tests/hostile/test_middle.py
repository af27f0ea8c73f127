"""Real web servers, asked for connections that were picked up in the middle and have shown nothing yet.

What is asked first is a peer's key. To nginx it looks like a plain request, and it answers so on its ports for HTTPS
too; and who reads lines waits for the end of one.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from flowsonar.config import BudgetSettings, Settings
from flowsonar.model import Answer, Confidence, Endpoint, Hints, Question, Transport
from flowsonar.passive.suspects import RUNNING, SERVED
from flowsonar.probes import Prober
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.needs import needs_program
from tests.probes.special.peer import certificate_file

KEYS = 12
"""Questions a server: keys are random."""
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    ssl_certificate {certificate}; ssl_certificate_key {certificate};
    server {{ listen 127.0.0.1:{plain}; }}
    server {{ listen 127.0.0.1:{secure} ssl; }}
    server {{ listen 127.0.0.1:{redirecting} ssl; error_page 497 https://$host:$server_port$request_uri; }}
}}
"""


def _free_ports(number: int) -> list[int]:
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


@contextmanager
def _serving(command: Sequence[str | Path], ports: Sequence[int]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for port in ports:
            for _ in range(500):
                assert process.poll() is None, "the server ended"
                with socket.socket() as tried:
                    if tried.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            else:
                raise AssertionError("the server does not listen")
        yield
    finally:
        process.terminate()
        process.wait()


def _ask(port: int, candidates: tuple[str, ...], times: int = KEYS) -> list[Answer]:
    async def ask() -> list[Answer]:
        signatures = load_signatures()
        prober = Prober(
            signatures, Matcher(signatures), Settings(budget=BudgetSettings(control=False)), audit=lambda _entry: None
        )
        hints = Hints(midstream=True, candidates=candidates)
        question = Question(endpoint=Endpoint(Transport.TCP, "127.0.0.1", port), hints=hints)
        try:
            return [await prober.ask(question) for _ in range(times)]
        finally:
            await prober.close()

    return asyncio.run(ask())


def _label(answer: Answer) -> str:
    """What was found, innermost last, as the verdicts weigh it: what is inside TLS is the flow's."""
    found = [piece for piece in answer.evidence if piece.confidence is Confidence.CONFIRMED and piece.service]
    inside = [piece for piece in found if piece.over is not None]
    return ", ".join(
        sorted({f"{piece.service} over {piece.over}" if piece.over else piece.service for piece in inside or found})
    )


def _usual_connections(answers: list[Answer]) -> float:
    """How many connections an answer took; of several, as a server that is late once costs one more."""
    return median(answer.connections for answer in answers)


@needs_program("nginx")
def test_nginx_answers_a_key_in_clear_on_ports_for_https_too(tmp_path: Path) -> None:
    plain, secure, redirecting = ports = _free_ports(3)
    path = tmp_path / "nginx.conf"
    path.write_text(
        NGINX.format(
            folder=tmp_path, certificate=certificate_file(), plain=plain, secure=secure, redirecting=redirecting
        )
    )
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or "nginx"
    with _serving([nginx, "-e", tmp_path / "errors", "-c", path], ports):
        for port in (secure, redirecting):
            answers = _ask(port, RUNNING)
            assert {_label(answer) for answer in answers} == {"http over tls"}
            assert all(any(piece.over is None and piece.service for piece in one.evidence) for one in answers)
            assert {_label(answer) for answer in _ask(port, SERVED, times=1)} == {"http over tls"}
        assert {_label(answer) for answer in _ask(plain, RUNNING)} == {"http"}
        assert _usual_connections(_ask(plain, RUNNING)) == 2


def test_who_reads_lines_answers_a_key(tmp_path: Path) -> None:
    (port,) = _free_ports(1)
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", tmp_path, str(port)]
    with _serving(command, [port]):
        answers = _ask(port, RUNNING)
    assert {_label(answer) for answer in answers} == {"http"}
    assert _usual_connections(answers) == 2
