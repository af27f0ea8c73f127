"""Live capture under what nobody would wish for, each in a network namespace of the test's own."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.needs import needs_program, needs_root

PROGRAM = """
import ipaddress, json, signal, socket, struct, subprocess, sys
from pathlib import Path

folder, watchers, flows, more = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
subprocess.run(["ip", "link", "add", "fsW0", "type", "veth", "peer", "name", "fsW1"], check=True)
for end in ("fsW0", "fsW1"):
    Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")
    subprocess.run(["ip", "link", "set", end, "up"], check=True)

def frame(number):
    # UDP from a host and port of its own; the first bytes are nobody's protocol.
    data = b"\\xf7\\xf6" + struct.pack(">I", number) + b"none"
    source = ipaddress.ip_address("10.7.0.0") + number % 50000
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(data), 0, 0, 64, 17, 0)
    head += source.packed + ipaddress.ip_address("10.8.0.1").packed
    words = struct.unpack(">10H", head)
    total = sum(words)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack(">H", total ^ 0xffff) + head[12:]
    ports = struct.pack(">HHHH", 20000 + number % 40000, 4999, 8 + len(data), 0)
    return bytes(12) + b"\\x08\\x00" + head + ports + data

running = []
for number in range(watchers):
    files = [(folder / f"{number}.{end}").open("wb") for end in ("json", "err")]
    command = [sys.executable, "-m", "flowsonar", "watch", "-i", "fsW1", "--passive", "--json", "-v", *more]
    running.append(subprocess.Popen(command, stdout=files[0], stderr=files[1]))
sockets = Path("/proc/net/packet")  # a headline, then a line a packet socket; its sixth word: whether it is bound
while sum(line.split()[5] == "1" for line in sockets.read_text().splitlines()[1:]) < watchers:
    assert all(process.poll() is None for process in running), [p.name for p in folder.iterdir()]
sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sending.bind(("fsW0", 0))
for number in range(flows):
    sending.send(frame(number))
sending.close()
for process in running:
    process.send_signal(signal.SIGINT)
print(json.dumps([process.wait(100) for process in running]))
"""


def run(folder: Path, *options: str, watchers: int = 1, flows: int) -> list[int]:
    program = textwrap.dedent(PROGRAM)
    command = ["unshare", "--net", sys.executable, "-c", program, str(folder), str(watchers), str(flows), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def ends(folder: Path, number: int = 0) -> list[dict[str, object]]:
    records = [json.loads(line) for line in (folder / f"{number}.json").read_text().splitlines()]
    return [record for record in records if record["event_type"] == "flow"]


@needs_root()
@needs_program("unshare")
@needs_program("ip")
@pytest.mark.parametrize("options", [(), ("--ends",)], ids=["verdicts", "ends"])
def test_ten_thousand_new_flows_at_once_are_all_recorded(tmp_path: Path, options: tuple[str, ...]) -> None:
    store = tmp_path / "store" / "v.db"
    assert run(tmp_path, "--store", str(store), *options, flows=10_000) == [0]
    found = ends(tmp_path)
    assert len(found) == len({record["src_ip"] for record in found}) == 10_000
    assert "Traceback" not in (tmp_path / "0.err").read_text()


@needs_root()
@needs_program("unshare")
@needs_program("ip")
def test_more_flows_than_the_table_holds_are_counted_and_recorded(tmp_path: Path) -> None:
    settings = tmp_path / "flowsonar.toml"
    settings.write_text("[flows]\ncapacity = 1000\n")
    assert run(tmp_path, "--store", str(tmp_path / "v.db"), "--config", str(settings), flows=10_000) == [0]
    found = ends(tmp_path)
    assert len(found) == 10_000, "those that made room are recorded too"
    assert sum(record["flow"]["reason"] == "evicted" for record in found) == 9_000  # type: ignore[index]
    assert "flows_evicted 9000" in (tmp_path / "0.err").read_text()


@needs_root()
@needs_program("unshare")
@needs_program("ip")
def test_two_at_once_on_one_store(tmp_path: Path) -> None:
    store = tmp_path / "store" / "v.db"
    assert run(tmp_path, "--store", str(store), watchers=2, flows=500) == [0, 0]
    for number in range(2):
        assert len(ends(tmp_path, number)) == 500
        said = (tmp_path / f"{number}.err").read_text()
        assert "Traceback" not in said
        assert "going on without" not in said, "both keep their verdicts"
    assert store.stat().st_size
