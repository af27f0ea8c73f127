"""Link types by number and name, and which one an interface of Linux delivers.

Numbers are the LINKTYPE_ values of https://www.tcpdump.org/linktypes.html; hardware types the ARPHRD_ ones of
linux/if_arp.h.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ETHERNET",
    "LINUX_SLL",
    "LINUX_SLL2",
    "LOOP",
    "NULL",
    "PPI",
    "PPP",
    "RAW",
    "is_ethernet_hardware",
    "is_monitor_hardware",
    "name",
    "normal",
]

NULL: Final = 0
ETHERNET: Final = 1
PPP: Final = 9
RAW: Final = 101
LOOP: Final = 108
LINUX_SLL: Final = 113
PPI: Final = 192
LINUX_SLL2: Final = 276

_NAMES: Final = {
    NULL: "BSD loopback",
    ETHERNET: "Ethernet",
    3: "AX.25",
    6: "Token Ring",
    7: "ARCNET",
    8: "SLIP",
    PPP: "PPP",
    10: "FDDI",
    50: "PPP in HDLC framing",
    51: "PPPoE",
    100: "ATM RFC 1483",
    RAW: "raw IP",
    104: "Cisco HDLC",
    105: "IEEE 802.11",
    107: "Frame Relay",
    LOOP: "OpenBSD loopback",
    LINUX_SLL: "Linux cooked v1",
    117: "pflog",
    119: "IEEE 802.11 with Prism header",
    127: "IEEE 802.11 with radiotap header",
    129: "ARCNET (Linux)",
    140: "MTP2",
    141: "MTP3",
    143: "DOCSIS",
    147: "private use 0",
    149: "private use 2",
    162: "private use 15",
    163: "IEEE 802.11 with AVS header",
    187: "Bluetooth HCI H4",
    189: "USB (Linux)",
    PPI: "Per-Packet Information",
    195: "IEEE 802.15.4",
    201: "Bluetooth HCI H4 with direction",
    203: "LAPD",
    220: "USB (Linux, padded)",
    226: "Solaris IPNET",
    227: "CAN (SocketCAN)",
    228: "raw IPv4",
    229: "raw IPv6",
    239: "NFLOG",
    240: "netANALYZER",
    247: "InfiniBand",
    249: "USBPcap",
    251: "Bluetooth LE",
    253: "Netlink",
    272: "nRF sniffer",
    LINUX_SLL2: "Linux cooked v2",
    283: "IEEE 802.15.4 with TAP header",
}

_PLATFORM: Final = {12: RAW, 14: RAW}
"""DLT_RAW as BSD systems number it; some writers put it into files in place of LINKTYPE_RAW."""

_ETHERNET_HARDWARE: Final = frozenset({1, 772})
"""ARPHRD_ETHER, ARPHRD_LOOPBACK."""

_MONITOR_HARDWARE: Final = frozenset({801, 802, 803, 805, 824, 280})
"""IEEE 802.11 in its three monitor forms, IEEE 802.15.4 monitor, netlink monitor, CAN: no IP packets from these."""


def normal(linktype: int) -> int:
    """The LINKTYPE_ number for what a file header says: without the FCS bits above bit 15, platform values mapped."""
    linktype &= 0xFFFF  # draft-ietf-opsawg-pcap, 4: the upper bits tell of a frame check sequence
    return _PLATFORM.get(linktype, linktype)


def name(linktype: int) -> str:
    """The link type for people; `link type N` where the number has no name here."""
    return _NAMES.get(linktype, f"link type {linktype}")


def is_ethernet_hardware(hardware: int) -> bool:
    """Whether frames of this ARPHRD_ type start with an Ethernet header; others are read from the network layer on."""
    return hardware in _ETHERNET_HARDWARE


def is_monitor_hardware(hardware: int) -> bool:
    """Whether an interface of this ARPHRD_ type never carries IP packets as such (radio monitors, CAN, netlink)."""
    return hardware in _MONITOR_HARDWARE
