"""BitTorrent's message stream encryption proves itself without an info hash: only who knows the shared secret closes.

Specification: Message Stream Encryption (Vuze wiki): Diffie-Hellman over a prime of 768 bits with generator 2, then
SHA1("req1", S) after at most 512 bytes of padding. Default ports: none, every client has its own.
Sends: a public key of 96 random-looking bytes with random bytes behind it, at which a peer goes on waiting; then the
hash, which it finds, but no torrent for what follows, so it closes. A second connection does the same with more random
bytes, in messages of their own.
On the other side: two connections that a client counts as failed handshakes; nothing is shown or stored.
What could look the same: whoever answers random bytes with random bytes (an obfuscated proxy) does not know S: it
closes at the random bytes as well, or not at the hash.
Other servers: the key begins with a printable byte and holds no byte that ends a line or a string, and a line's end
follows the padding, so that who reads lines, or would take the first byte for TLS, answers at once.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

__all__ = ["KEY_BYTES", "Mse"]

KEY_BYTES: Final = 96
_PRIME: Final = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
    16,
)
_GENERATOR: Final = 2
_SECRET_BITS: Final = 32
"""The specification advises 160 where the secret is to protect something. Here it protects nothing, and arithmetic with
it is most of what a try costs."""
_LINE: Final = re.compile(rb"[!-~][^\x00\r\n]{95}", re.DOTALL)
"""What a key must be: of random bytes one in nine is so."""
_PATIENCE_S: Final = 0.05
"""A peer that closes at what it does not like does so at once; one that waits for more is still there after this.
With a round trip on top it outlasts the 40 ms for which Linux keeps acknowledgements back."""

_AFTER_S: Final = 0.02
"""At least so long after its key: who answers and then closes does it in one go."""


class Mse:
    """The arithmetic of one probe. Its steps stand in the signature: key, padding, hash, twice."""

    def __init__(self, pick: random.Random) -> None:
        self._pick = pick
        self._hashed: tuple[bytes, bytes] = (b"", bytes(20))  # the latest key of theirs, and its hash

    @cached_property
    def _keys(self) -> tuple[int, bytes]:
        """Our secret and the key that goes with it: the next one that reads as part of a line."""
        secret = self._pick.getrandbits(_SECRET_BITS) | 1 << (_SECRET_BITS - 1)
        power = pow(_GENERATOR, secret, _PRIME)
        while not _LINE.fullmatch(key := power.to_bytes(KEY_BYTES, "big")):
            secret, power = secret + 1, power * _GENERATOR % _PRIME
        return secret, key

    @property
    def public_key(self) -> bytes:
        """Ours, of `KEY_BYTES`."""
        return self._keys[1]

    def values(self, replies: Sequence[bytes]) -> Mapping[str, bytes]:
        """What the next step may send, after these replies: our key, and the hash for the latest key of theirs."""
        theirs = next((reply[:KEY_BYTES] for reply in reversed(replies) if len(reply) >= KEY_BYTES), b"")
        if theirs != self._hashed[0]:
            self._hashed = (theirs, self.hash(theirs) if theirs else bytes(20))
        return {"public-key": self.public_key, "hash": self._hashed[1]}

    def hash(self, theirs: bytes) -> bytes:
        """SHA1("req1", S): what tells the other side that we know the secret."""
        shared = pow(int.from_bytes(theirs, "big"), self._keys[0], _PRIME)
        return hashlib.sha1(b"req1" + shared.to_bytes(KEY_BYTES, "big"), usedforsecurity=False).digest()

    @staticmethod
    def patience_s(*, closes: bool, slowest_s: float, rtt_s: float, seconds: float, since_s: float = 0.0) -> float:
        """How long to wait for the end of the connection, `closes`, or to see that it does not come.

        A peer that took `slowest_s` to close elsewhere, a round trip of `rtt_s` at least, gets longer than that to
        prove that it does not. It began `since_s` ago, when what it may close at was sent with something before.
        """
        if closes:
            return seconds
        return min(seconds, max(_PATIENCE_S + rtt_s - since_s, 1.5 * slowest_s - since_s, _AFTER_S if since_s else 0.0))
