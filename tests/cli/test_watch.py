import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.app.servers import web
from tests.cli.program import flowsonar
from tests.needs import needs_root


@needs_root()
def test_duration_ends_it_and_flows_are_recorded(tmp_path: Path) -> None:
    """On the machine's own loopback, but filtered to one port, and asking nothing."""
    with web() as port:
        process = subprocess.Popen(
            [sys.executable, "-m", "flowsonar", "watch", "-i", "lo", "--json", "--passive", "--duration", "8",
             "--store", str(tmp_path / "v.db")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            _wait_for_capture(process, tmp_path / "v.db")
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            line.request("GET", "/")
            line.getresponse().read()
            line.close()
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    records = [json.loads(one) for one in output.splitlines()]
    ours = [record for record in records if record.get("dest_port") == port and record["event_type"] == "flow"]
    assert ours
    assert {record["app_proto"] for record in ours} == {"http"}


@needs_root()
def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flowsonar", "watch", "-i", "lo", "--passive", "--json", "-v", "--store",
         str(tmp_path / "v.db")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    _wait_for_capture(process, tmp_path / "v.db")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert b"Traceback" not in errors
    assert process.returncode in (0, 130)


def test_without_privilege_one_line_says_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        command = [
            "setpriv",
            "--reuid=65534",
            "--clear-groups",
            "--bounding-set=-all",
            sys.executable,
            "-m",
            "flowsonar",
        ]
        result = subprocess.run(
            [*command, "watch", "-i", "lo"], capture_output=True, check=False, timeout=30, cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        )  # fmt: skip
    else:
        result = flowsonar("watch", "-i", "lo", home=tmp_path)
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1
    assert b"root" in result.stderr or b"CAP_NET_RAW" in result.stderr


def _wait_for_capture(process: "subprocess.Popen[bytes]", store: Path) -> None:
    while not store.exists():  # the capture stands before the store is opened
        assert process.poll() is None
