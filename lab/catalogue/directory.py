"""Directory, log-on and file sharing: OpenLDAP, MIT Kerberos, Samba."""

from __future__ import annotations

import os
import subprocess

from lab.catalogue.entry import Entry
from lab.packages import SEARCH_PATH
from lab.services.base import Site
from lab.services.endpoint import endpoint, program
from lab.truth import EITHER

__all__ = ["PROGRAMS"]

_SLAPD = """include /etc/ldap/schema/core.schema
pidfile {folder}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {certificate}
TLSCertificateKeyFile {certificate}
database mdb
suffix "dc=lab,dc=example"
directory {folder}/data
"""
_KRB5 = """[libdefaults]
 default_realm = LAB.EXAMPLE
[realms]
 LAB.EXAMPLE = {{
  kdc = {address}:{port}
 }}
"""
_KDC = """[kdcdefaults]
 kdc_listen = {port}
 kdc_tcp_listen = {port}
[realms]
 LAB.EXAMPLE = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
 }}
"""
_SAMBA = """[global]
 workgroup = LAB
 smb ports = {port}
 private dir = {folder}
 lock directory = {folder}
 state directory = {folder}
 cache directory = {folder}
 pid directory = {folder}
 ncalrpc dir = {folder}/ncalrpc
 log file = {folder}/log
 disable netbios = yes
 load printers = no
 map to guest = Bad User
[files]
 path = {files}
 guest ok = yes
"""


def _slapd(site: Site) -> None:
    folder, port, tls = site.folder("slapd"), site.ports.one(), site.ports.one()
    (folder / "data").mkdir()
    (folder / "slapd.conf").write_text(_SLAPD.format(folder=folder, certificate=site.certificate))
    site.run("slapd", "-d", "0", "-h", f"ldap://:{port}/ ldaps://:{tls}/", "-f", folder / "slapd.conf")
    search = ("-x", "-b", "", "-s", "base")
    asks = program("ldapsearch", "-H", "ldap://{host}:{port}", *search)
    inside = program("env", "LDAPTLS_REQCERT=never", "ldapsearch", "-H", "ldaps://{host}:{port}", *search)
    endpoint(site, "slapd", port, "ldap", [asks], over=EITHER, product="OpenLDAP")
    endpoint(site, "slapd-tls", tls, "ldap", [inside], tls=True, product="OpenLDAP")


def _krb5kdc(site: Site) -> None:
    folder, port = site.folder("krb5kdc"), site.ports.one()
    conf, kdc = folder / "krb5.conf", folder / "kdc.conf"
    conf.write_text(_KRB5.format(address=site.address4, port=port))
    kdc.write_text(_KDC.format(folder=folder, port=port))
    words = [f"KRB5_CONFIG={conf}", f"KRB5_KDC_PROFILE={kdc}"]
    known = {**os.environ, "PATH": SEARCH_PATH, **dict(word.split("=", 1) for word in words)}
    subprocess.run(["kdb5_util", "create", "-s", "-P", "lab"], env=known, check=True, capture_output=True, timeout=60)
    site.run("env", *words, "krb5kdc", "-n", name="krb5kdc")
    asks = program("sh", "-c", f"echo lab | KRB5_CONFIG={conf} kinit lab@LAB.EXAMPLE", families=(4,))
    for transport in ("tcp", "udp"):
        kind = f"krb5kdc-{transport}"
        endpoint(site, kind, port, "kerberos", [asks], transport=transport, product="MIT Kerberos", families=(4,))


def _samba(site: Site) -> None:
    folder, port = site.folder("samba"), site.ports.one()
    (folder / "smb.conf").write_text(_SAMBA.format(folder=folder, port=port, files=site.files))
    site.run("smbd", "--foreground", "--no-process-group", f"--configfile={folder / 'smb.conf'}")
    lists = program("smbclient", "-N", "-p", "{port}", "-L", "{address}")
    endpoint(site, "samba", port, "smb", [lists], product="Samba")


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="slapd", start=_slapd, packages=("slapd", "ldap-utils")),
    Entry(name="krb5kdc", start=_krb5kdc, packages=("krb5-kdc", "krb5-user")),
    Entry(name="samba", start=_samba, packages=("samba", "smbclient"), program="smbd"),
)
