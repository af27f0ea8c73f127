"""Every bound of the program with its reason. A bound that is reached is counted, never silent."""

from __future__ import annotations

from typing import Final

EVIDENCE_BYTES: Final = 256
"""Bytes kept in one piece of evidence: enough to show a banner to a person, little enough to store a million."""

EVIDENCE_ITEMS: Final = 16
"""Pieces of evidence kept per flow or endpoint; more would be the same again."""

PAYLOAD_PACKETS_TCP: Final = 3
"""Payload segments per direction that the flow table reports: a TLS hello with post-quantum keys needs two."""

PAYLOAD_PACKETS_UDP: Final = 5
"""Datagrams per direction: Skype's probe sequence and RTP's header consistency show within four."""

PAYLOAD_BYTES: Final = 2048
"""Bytes reported of one payload packet: a full Ethernet segment fits."""

UNKNOWN_DATAGRAMS: Final = 24
"""Datagrams of one endpoint that answer nothing; further ones are only held against our last question: a flood of large
ones cost a millisecond for each question put before."""

HELD_BYTES: Final = 1 << 25
"""Bytes of first messages whose rest has not come, of all flows: hellos in pieces, segments before their beginning.
Some 15,000 flows at a time; a flow that finds no room is read with what is there."""

FOLLOWED_PACKETS: Final = 4096
"""Payload packets reported of a flow that is followed (FTP control, calls), then it is released."""

FOLLOWED_DATAGRAMS: Final = 128
"""The same over UDP, where calls are followed until their media comes: by then 64 of one direction were seen."""

FOLLOWED_BYTES: Final = 512
"""Longer segments of a followed TCP flow are not reported: commands and replies are short lines."""

FLOW_CAPACITY: Final = 1 << 18
"""Flows in the table before the oldest is evicted: 64 MiB of table at 256 bytes each."""

IDLE_TIMEOUT_S: Final = 120.0
"""A flow without a packet for this long has ended (nDPI and NFStream use the same)."""

HALF_OPEN_TIMEOUT_S: Final = 30.0
"""The same for a TCP flow that nobody answered, where this is less: hosts repeat a SYN within half a minute or hardly
at all, and floods and scans must not keep the table full for two."""

ACTIVE_TIMEOUT_S: Final = 1800.0
"""A flow that lasts longer gets an interim record (NetFlow's usual value)."""

REPLY_BYTES: Final = 65536
"""Bytes read of one reply; an endless banner is cut here."""

ANNOUNCEMENTS: Final = 65536
"""Announced flows remembered; the oldest is dropped first."""

ANNOUNCEMENT_TTL_S: Final = 60
"""An announced flow that has not come within a minute will not come (FTP servers wait as long)."""

ANNOUNCED_EARLY_S: Final = 2
"""How long before its announcement a flow may have been seen, where packets of several interfaces are mixed."""

CONTROL_CONNECTIONS: Final = 4096
"""Open FTP control connections remembered; the oldest is forgotten first."""

CONTROL_SPOKE_MS: Final = 500
"""How long after the last word of an FTP control connection inside TLS a data connection may begin: a client's
thought and a round trip."""

COMPANION_WAIT_MS: Final = 250
"""How long a flow may wait until it is known whether an older one between its hosts is FTP inside TLS."""

RECENT_FLOWS: Final = 4096
"""Responders whose latest flow is remembered for announcements that come late."""

QUESTIONS_WAITING: Final = 16384
"""Endpoints asked or waiting to be asked at a time."""

FLOWS_WAITING_PER_ENDPOINT: Final = 1024
"""Flows that get the answer of one question; further ones inherit from the cache."""

TARGET_ADDRESSES: Final = 1 << 16
"""Addresses of one network expression: a /16 at a time."""

HOUSEKEEPING_S: Final = 0.25
"""The longest sleep of the live loop: idle flows, counters and the screen are looked after this often."""

DATA_PORT_WAIT_MS: Final = 1000
"""How long a port that may be FTP's for one data connection is left alone: by then the server has closed it."""

SILENCE_WAIT_MS: Final = 600
"""How long a connection on which nobody has spoken is left alone: clients that work in turns of half a second
(libtorrent, aria2) begin within it, and what they say tells what to ask. Nothing flows meanwhile."""

SILENCE_WAIT_PEERS_MS: Final = 1100
"""The same between two ports that are no service's: a peer with an upload limit may work in turns of a second (aria2,
990 ms to its first byte), and who is asked before it speaks is asked everything."""

SILENCE_WAIT_MIDDLE_MS: Final = 400
"""The same of a connection from the middle: a peer that answers at its next turn of half a second has answered within
a second of the flow's first packet."""

SEQUENCE_WAIT_MS: Final = 100
"""How long a flow may take that began with a datagram which the next ones may prove to be media, a tunnel or uTP: calls
send one every 20 ms, transfers more often."""
