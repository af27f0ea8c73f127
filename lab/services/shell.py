"""SSH: OpenSSH."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.services.base import Client, Service, Site, Target
from lab.truth import Truth

__all__ = ["start"]

_SSHD = """Port {port}
AddressFamily any
HostKey {folder}/host_key
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
AuthorizedKeysFile {folder}/client_key.pub
MaxStartups 100
"""
_PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd has this folder built in; Debian's service makes it, and here no service runs."""


def start(site: Site) -> None:
    """Start the server."""
    folder = site.folder("sshd")
    port = site.ports.one()
    for name in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "sshd_config").write_text(_SSHD.format(port=port, folder=folder))
    _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    site.run("/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config")

    def ssh(*remote: str) -> Client:
        def command(target: Target) -> list[str]:
            options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
            settings = [word for option in options for word in ("-o", option)]
            key = ["-F", "none", "-i", str(folder / "client_key"), "-p", str(target.port)]
            return ["ssh", *key, *settings, f"root@{target.address}", *remote]

        return Client(command=command, lasts=len(remote) > 1)

    site.offer(
        Service(
            name="openssh",
            transport="tcp",
            port=port,
            truth=Truth(service="ssh"),
            clients=(ssh("true"),),
            sessions=(ssh("while", ":;", "do", "date;", "sleep", "0.3;", "done"),),
        )
    )
