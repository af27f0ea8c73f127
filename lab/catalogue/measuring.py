"""What measures lines and machines, and works for other machines: iperf, rrdcached, GKrellM, Icecream, BOINC."""

from __future__ import annotations

from lab.catalogue.plain import plain

__all__ = ["PROGRAMS"]

PROGRAMS = (
    plain("iperf3", "iperf", "iperf3 -s -p {port}", client=b"a" * 36 + b"\x00", product="iperf3", packages=("iperf3",)),
    plain("iperf", "iperf2", "iperf -s -p {port}", client=b"0" * 64, product="iperf", packages=("iperf",)),
    plain("nuttcp", "nuttcp", "nuttcp -S --nofork -P {port}", client=b"x\n", product="nuttcp", packages=("nuttcp",)),
    plain("rrdcached", "rrdcached", "rrdcached -g -l 0.0.0.0:{port} -b {folder} -p {folder}/pid", client=b"HELP\n",
        product="rrdcached", packages=("rrdcached",)),
    plain("gkrellmd", "gkrellm", "gkrellmd -P {port} -A 0.0.0.0", client=b"gkrellm 2.3.0\n", product="gkrellmd",
        packages=("gkrellmd",)),
    plain("icecc-scheduler", "icecream", "icecc-scheduler -p {port} -u nobody", client=bytes.fromhex("2b000000"),
        packages=("icecc",)),
    plain("boinc", "boinc", "boinc --gui_rpc_port {port} --allow_remote_gui_rpc --dir {folder}",
        client=b"<boinc_gui_rpc_request>\n<exchange_versions/>\n</boinc_gui_rpc_request>\n\x03",
        product="BOINC client", packages=("boinc-client",), user="nobody"),
    plain("bacula-fd", "bacula", "bacula-fd -f -c {folder}/conf", client=b"\x00\x00\x00\x19Hello Director x calling\n",
        product="Bacula file daemon", packages=("bacula-fd",),
        files={"conf": "FileDaemon { Name = x; FDport = {port}; WorkingDirectory = {folder}; "
            "Pid Directory = {folder}; }\n"
            'Director { Name = lab; Password = "lab"; }\nMessages { Name = m; director = lab = all; }\n'}),
    plain("cvs", "cvs",
        ("sh", "-c", ("cvs -d {folder}/r init; exec socat TCP-LISTEN:{port},fork,reuseaddr"
            " 'EXEC:cvs -f --allow-root={folder}/r pserver,stderr'")),
        client=b"BEGIN\n", product="CVS", packages=("cvs", "socat"), program="cvs"),
    plain("serf", "serf", "serf agent -bind 127.0.0.1:0 -rpc-addr 0.0.0.0:{port}",
        client=b"\x82\xa7Command\xa5stats\xa3Seq\x01", product="Serf", packages=("serf",)),
)  # fmt: skip
