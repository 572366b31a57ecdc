"""A compact table of 64-bit fingerprints, because a Python dict of a million keys would cost 150 MB.

Open addressing over two flat arrays: 24 to 48 bytes per entry at most, whatever the keys. With a million random
fingerprints the chance that any two collide is about 3e-8.
"""

from array import array
from hashlib import blake2b

_EMPTY = 0
_MAX_LOAD = 0.6
"""Share of used slots at which the table doubles; above it, probing for a free slot gets slow."""


def fingerprint(data: bytes) -> int:
    """A 64-bit hash of `data` that is the same in every process, and never 0."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little") or 1


class FingerprintTable:
    """Maps fingerprints to small counts.

    Args:
        expected: Number of entries to make room for at once; the table grows beyond it by itself.
    """

    def __init__(self, expected: int = 0) -> None:
        capacity = 1024
        while capacity * _MAX_LOAD < expected:
            capacity *= 2
        self._allocate(capacity)

    def __len__(self) -> int:
        return self._used

    def __contains__(self, key: int) -> bool:
        return self._keys[self._slot(key)] == key

    def get(self, key: int) -> int | None:
        """The value stored for `key`, or None."""
        slot = self._slot(key)
        return self._values[slot] if self._keys[slot] == key else None

    def set(self, key: int, value: int) -> None:
        """Store `value` (0 to 2**32 - 1) for `key`."""
        slot = self._slot(key)
        if self._keys[slot] == _EMPTY:
            if self._used >= self._capacity * _MAX_LOAD:
                self._grow()
                slot = self._slot(key)
            self._keys[slot] = key
            self._used += 1
        self._values[slot] = value

    def add(self, key: int) -> bool:
        """Put `key` in as a set would; False if it was there already."""
        if key in self:
            return False
        self.set(key, 1)
        return True

    def _allocate(self, capacity: int) -> None:
        self._capacity = capacity
        self._used = 0
        self._keys = array("Q", bytes(8 * capacity))
        self._values = array("I", bytes(4 * capacity))

    def _slot(self, key: int) -> int:
        keys, mask = self._keys, self._capacity - 1
        slot = key & mask
        while (found := keys[slot]) != key and found != _EMPTY:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._allocate(self._capacity * 2)
        for key, value in zip(keys, values, strict=True):
            if key != _EMPTY:
                slot = self._slot(key)
                self._keys[slot], self._values[slot] = key, value
                self._used += 1
