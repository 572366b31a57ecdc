"""A compact set and a compact table of 64-bit fingerprints, because a Python dict of a million keys would cost 150 MB.

Open addressing over flat arrays: 13 to 27 bytes per entry of a set, 20 to 40 of a table, whatever the keys. With a
million random fingerprints the chance that any two collide is about 3e-8.
"""

from array import array
from hashlib import blake2b

_EMPTY = 0
_MAX_LOAD = 0.6
"""Share of used slots at which the table doubles; above it, probing for a free slot gets slow."""


def fingerprint(data: bytes) -> int:
    """A 64-bit hash of `data` that is the same in every process, and never 0."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little") or 1


class FingerprintSet:
    """A set of fingerprints.

    Args:
        expected: Number of entries to make room for at once; it grows beyond it by itself.
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

    def add(self, key: int) -> bool:
        """Put `key` in; False if it was there already."""
        slot = self._slot(key)
        if self._keys[slot] == key:
            return False
        self._take(slot, key)
        return True

    def _allocate(self, capacity: int) -> None:
        self._capacity = capacity
        self._used = 0
        self._keys = array("Q", [_EMPTY]) * capacity  # from `bytes` it would be there twice for a moment

    def _slot(self, key: int) -> int:
        """Where `key` is, or the free place where it belongs."""
        keys, mask = self._keys, self._capacity - 1
        slot = key & mask
        while (found := keys[slot]) != key and found != _EMPTY:
            slot = (slot + 1) & mask
        return slot

    def _take(self, slot: int, key: int) -> int:
        """Put `key` into a free slot, after growing if need be; returns the slot that it got."""
        if self._used >= self._capacity * _MAX_LOAD:
            self._grow()
            slot = self._slot(key)
        self._keys[slot] = key
        self._used += 1
        return slot

    def _grow(self) -> None:
        keys = self._keys
        self._allocate(self._capacity * 2)
        for key in keys:
            if key != _EMPTY:
                self._keys[self._slot(key)] = key
                self._used += 1


class FingerprintTable(FingerprintSet):
    """Maps fingerprints to small counts."""

    def get(self, key: int) -> int | None:
        """The value stored for `key`, or None."""
        slot = self._slot(key)
        return self._values[slot] if self._keys[slot] == key else None

    def set(self, key: int, value: int) -> None:
        """Store `value` (0 to 2**32 - 1) for `key`."""
        slot = self._slot(key)
        if self._keys[slot] != key:
            slot = self._take(slot, key)
        self._values[slot] = value

    def number(self, key: int) -> int:
        """The place of `key` in the order of first appearance, from 0; the table is then used for nothing else."""
        slot = self._slot(key)
        if self._keys[slot] != key:
            number = self._used
            slot = self._take(slot, key)
            self._values[slot] = number
        return self._values[slot]

    def _allocate(self, capacity: int) -> None:
        super()._allocate(capacity)
        self._values = array("I", [0]) * capacity

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._allocate(self._capacity * 2)
        for key, value in zip(keys, values, strict=True):
            if key != _EMPTY:
                slot = self._slot(key)
                self._keys[slot], self._values[slot] = key, value
                self._used += 1
