"""Tables that hashing and scaling look things up in, kept up to a bound in bytes.

Tables follow from their keys, so what is dropped is made again when it is wanted: the bound
decides how fast an answer is, never what it says.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

Table = TypeVar("Table")

#: What `bound_table_cache` starts from: some 30 scale tables, or 200 geometries of n = 2^20.
DEFAULT_BYTES: Final = 48 << 20
#: Making room drops the least recently used down to this share of the bound, so that the
#: sorting it takes is paid once for many tables.
_KEPT_SHARE: Final = 0.875


class _Entry:
    """A table, its bytes, and when it was last used, as a number that only grows."""

    __slots__ = ("bytes", "table", "used")

    def __init__(self, table: Any, size: int, used: int) -> None:
        self.table = table
        self.bytes = size
        self.used = used


class TableCache:
    """Least recently used tables up to a bound in bytes. Safe for concurrent use.

    A hit takes no lock: it reads one dictionary and writes one number.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._bytes = 0
        self._entries: dict[Hashable, _Entry] = {}
        self._clock = itertools.count()
        self._changing = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of the tables kept, as their makers reported them."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], tuple[Table, int]]) -> Table:
        """The table of a key; where it is not kept, `make` returns it and its bytes.

        Threads that miss at once may each make it. A table larger than the bound is not kept.
        """
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = next(self._clock)
            kept: Table = entry.table
            return kept
        table, size = make()
        with self._changing:
            if size <= self._bound and key not in self._entries:
                self._entries[key] = _Entry(table, size, next(self._clock))
                self._bytes += size
                self._make_room()
        return table

    def rebound(self, bound: int) -> None:
        """Keep at most this many bytes from now on."""
        with self._changing:
            self._bound = bound
            self._make_room()

    def clear(self) -> None:
        """Keep nothing of what there is."""
        with self._changing:
            self._entries.clear()
            self._bytes = 0

    def _make_room(self) -> None:
        if self._bytes <= self._bound:
            return
        *older, newest = sorted(self._entries.items(), key=lambda item: item[1].used)
        enough = max(_KEPT_SHARE * self._bound, newest[1].bytes)
        for key, entry in older:
            if self._bytes <= enough:
                return
            del self._entries[key]
            self._bytes -= entry.bytes
        if self._bytes > self._bound:
            self._entries.clear()
            self._bytes = 0


#: The cache of this process.
TABLES: Final = TableCache(DEFAULT_BYTES)


def bound_table_cache(size: int) -> None:
    """Keep at most this many bytes of tables in this process; DEFAULT_BYTES until called.

    size: at least 0. Raises ValueError below. Speed depends on it, answers do not: at 0 every
    use makes its tables again.
    """
    if size < 0:
        raise ValueError("the tables of a cache cannot take less than nothing")
    TABLES.rebound(size)
