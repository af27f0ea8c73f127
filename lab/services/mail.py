"""SMTP: Postfix; IMAP and POP3: Dovecot; each in clear, with STARTTLS and with TLS from the start."""

from __future__ import annotations

from lab.services.base import Client, Service, Site, Target, talk
from lab.truth import EITHER, TLS, Truth

__all__ = ["dovecot", "postfix", "start"]

_MAIN = """compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = server.lab.example
mydestination = lab.example
inet_interfaces = all
inet_protocols = all
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_peername_lookup = no
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {certificate}
smtpd_tls_security_level = may
"""
_MASTER = """{smtp} inet n - n - - smtpd
{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
verify unix - - n - 1 verify
"""
_QUEUES = "pid private public maildrop incoming active bounce defer deferred corrupt flush hold saved trace"

_DOVECOT = """protocols = imap pop3
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
listen = *, ::
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{certificate}
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%u
default_vsz_limit = 0
passdb {{
  driver = static
  args = password=lab
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail/%u
}}
mail_access_groups =
first_valid_uid = 1
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
"""


def _curl(scheme: str, *options: str) -> Client:
    def command(target: Target) -> list[str]:
        return ["curl", "-sSk", "-o", "/dev/null", *options, f"{scheme}://{target.host}:{target.port}"]

    return Client(command=command)


def _swaks(target: Target) -> list[str]:
    where = ["--server", target.address, "--port", str(target.port), "--helo", "client.lab.example"]
    return ["swaks", *where, "--from", "a@client.example", "--to", "b@lab.example", "--quit-after", "RCPT"]


def postfix(site: Site) -> None:
    """SMTP in clear and with STARTTLS, and inside TLS."""
    folder = site.folder("postfix")
    smtp, smtps = site.ports.one(), site.ports.one()
    conf = site.folder("postfix/conf")
    (conf / "main.cf").write_text(_MAIN.format(folder=folder, certificate=site.certificate))
    (conf / "master.cf").write_text(_MASTER.format(smtp=smtp, smtps=smtps))
    site.folder("postfix/data", owner="postfix")
    queue = site.folder("postfix/queue")
    for name in _QUEUES.split():
        site.folder(f"postfix/queue/{name}", owner=None if name == "pid" else "postfix")
    queue.chmod(0o755)
    site.run("/usr/lib/postfix/sbin/master", "-c", conf, "-d", name="postfix")
    verify = ("--mail-rcpt", "b@lab.example")
    session = ("--listen", "--open", r"EHLO client.lab.example\r\n", "--say", r"NOOP\r\n")
    swaks = Client(command=_swaks, families=(4,))
    site.offer(
        Service(
            name="postfix",
            transport="tcp",
            port=smtp,
            truth=Truth(service="smtp", over=EITHER),
            clients=(swaks, _curl("smtp", *verify), _curl("smtp", "--ssl-reqd", *verify)),
            sessions=(talk(*session),),
        ),
        Service(
            name="postfix-smtps",
            transport="tcp",
            port=smtps,
            truth=Truth(service="smtp", over=TLS),
            clients=(_curl("smtps", *verify),),
            sessions=(talk(*session, transport="tls"),),
        ),
    )


def dovecot(site: Site) -> None:
    """IMAP and POP3 in clear and with STARTTLS, and inside TLS."""
    folder = site.folder("dovecot")
    site.folder("dovecot/mail", owner="mail")
    imap, imaps, pop3, pop3s = (site.ports.one() for _ in range(4))
    ports = {"imap": imap, "imaps": imaps, "pop3": pop3, "pop3s": pop3s}
    (folder / "dovecot.conf").write_text(_DOVECOT.format(folder=folder, certificate=site.certificate, **ports))
    site.run("dovecot", "-F", "-c", folder / "dovecot.conf")
    user = ("--user", "lab:lab")
    sessions = {
        "imap": ("--listen", "--open", r"a1 LOGIN lab lab\r\n", "--say", r"a2 NOOP\r\n"),
        "pop3": ("--listen", "--open", r"USER lab\r\n", "--open", r"PASS lab\r\n", "--say", r"NOOP\r\n"),
    }
    for name, port in ports.items():
        inside = name.endswith("s")
        service = name.removesuffix("s")
        clear = () if inside else (_curl(name, "--ssl-reqd", *user),)
        site.offer(
            Service(
                name=f"dovecot-{name}",
                transport="tcp",
                port=port,
                truth=Truth(service=service, over=TLS if inside else EITHER),
                clients=(_curl(name, *user), *clear),
                sessions=(talk(*sessions[service], transport="tls" if inside else "tcp"),),
            )
        )


def start(site: Site) -> None:
    """Start the servers."""
    postfix(site)
    dovecot(site)
