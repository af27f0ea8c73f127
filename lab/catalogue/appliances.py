"""Sound, speech, scanners, buses and faxes, as programs offer them to a network."""

from __future__ import annotations

from lab.catalogue.plain import plain

__all__ = ["PROGRAMS"]

PROGRAMS = (
    plain("festival", "festival", ("sh", "-c", "exec festival --server {folder}/scm"), client=b"42\n",
        product="Festival", packages=("festival",), program="festival",
        files={"scm": "(set! server_port {port})\n(set! server_access_list '(\".*\"))\n"}),
    plain("fluidsynth", "fluidsynth",
        "fluidsynth -s -i -a file -o shell.port={port} -o audio.file.name=/dev/null", client=b"help\n",
        product="FluidSynth", packages=("fluidsynth",)),
    plain("pulseaudio", "pulseaudio",
        ("sh", "-c", ("HOME={folder} exec setpriv --reuid nobody --regid nogroup --clear-groups pulseaudio -n"
            " --exit-idle-time=-1 -L 'module-native-protocol-tcp port={port} listen=0.0.0.0'")),
        client=bytes.fromhex("0000000affffffff0000000000000000000000004c000000144c00000007"), product="PulseAudio",
        packages=("pulseaudio",), program="pulseaudio", user="nobody"),
    plain("saned", "sane", ("env", "SANE_CONFIG_DIR={folder}", "saned", "-l", "-b", "0.0.0.0", "-p", "{port}"),
        client=bytes.fromhex("0000000001000003000000046c616200"), product="saned", packages=("sane-utils",),
        program="saned", files={"saned.conf": "+\n", "dll.conf": ""}),
    plain("knxd", "eibd", "knxd -i {port} -e 0.0.1 -E 0.0.2:8 dummy", client=bytes.fromhex("0002007f"),
        product="knxd", packages=("knxd",)),
    plain("hfaxd", "hylafax", "hfaxd -d -i {port}", client=b"HELP\r\n", product="HylaFAX",
        packages=("hylafax-server",)),
    plain("openocd", "telnet",
        ("openocd", "-c", "telnet_port {port}; tcl_port disabled; gdb_port disabled; bindto 0.0.0.0", "-c",
            "adapter driver dummy; adapter speed 10; transport select jtag; jtag newtap a tap -irlen 4", "-c", "init"),
        client=b"version\r\n", product="OpenOCD", packages=("openocd",)),
    plain("owhttpd", "http", "owhttpd --foreground --fake=10,12 -p 0.0.0.0:{port}", product="owhttpd",
        packages=("owhttpd",)),
    plain("rtpengine", "rtpengine",
        "rtpengine --foreground --log-stderr --table=-1 --interface=127.0.0.1 --listen-ng=0.0.0.0:{port}",
        client=b"abc d7:command4:pinge", product="rtpengine", packages=("rtpengine-daemon",), transport="udp"),
    plain("pioneers", "pioneers", "pioneers-server-console -p {port} -x", client=b"version 0\n", product="Pioneers",
        packages=("pioneers-console",)),
    plain("searchd", "sphinx", "searchd --nodetach -c {folder}/conf", client=bytes.fromhex("00000001"),
        product="Sphinx", packages=("sphinxsearch",),
        files={"conf": "index t {\n type = rt\n path = {folder}/t\n rt_field = a\n rt_attr_uint = b\n}\n"
            "searchd {\n listen = 0.0.0.0:{port}\n pid_file = {folder}/pid\n log = {folder}/log\n binlog_path =\n}\n"}),
)  # fmt: skip
