"""What a command imports: counted, for time cannot be tested. The program is to be there at once."""

import os
import struct
import subprocess
import sys
from pathlib import Path

from tests.needs import needs_native

HEAVY = {
    *("asyncio", "uvloop", "ssl", "socket", "sqlite3", "cryptography", "hyperscan", "re2", "orjson", "rich", "pyarrow"),
    *("tomllib", "pickle", "flowsonar.signatures.language", "flowsonar.signatures.matcher", "flowsonar.probes.prober"),
    *("flowsonar.passive.reader", "flowsonar.verdicts.tracker", "flowsonar.app.watching", "flowsonar.outputs.eve"),
}


def _imported(*arguments: str, cache: Path | None = None) -> set[str]:
    environment = dict(os.environ)
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flowsonar", *arguments],
        capture_output=True,
        timeout=60,
        env=environment,
        check=True,
    )
    return {line.rpartition(b"|")[2].strip().decode() for line in result.stderr.splitlines() if line.count(b"|") == 2}


def test_help_imports_no_command() -> None:
    imported = _imported("--help")
    assert not imported & HEAVY
    assert not {name for name in imported if name.startswith(("flowsonar.app", "flowsonar.signatures"))}
    assert len({name for name in imported if name.startswith("flowsonar.")}) < 12
    assert len(imported) < 150


@needs_native()
def test_a_capture_of_known_shapes_needs_no_python_side(tmp_path: Path) -> None:
    query = bytes.fromhex("beef01000001000000000000076578616d706c65036f72670000010001")
    datagram = struct.pack(">HHHH", 40000, 53, 8 + len(query), 0) + query
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
    packet = ip + datagram
    capture = tmp_path / "one.pcap"
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    capture.write_bytes(head + struct.pack("<IIII", 1_700_000_000, 0, len(packet), len(packet)) + packet)
    _imported("read", str(capture), "--json")
    imported = _imported("read", str(capture), "--json")
    assert not imported & HEAVY
    assert len({name for name in imported if name.startswith("flowsonar.")}) < 50
    assert len(imported) < 190
