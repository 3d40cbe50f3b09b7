"""A body while it arrives, in pieces of any size."""

from __future__ import annotations

from typing import Final

#: Bodies are collected in blocks of about so many bytes; copying more would hold up the event loop.
BLOCK_BYTES: Final = 1 << 18


class BodyBlocks:
    """Neither one buffer, which moves when it grows, nor a list of pieces, which may be tiny."""

    def __init__(self) -> None:
        self._blocks = [bytearray()]
        self.size = 0

    def add(self, piece: bytes) -> bool:
        """Append a piece. Returns whether it began another block."""
        begins = len(self._blocks[-1]) > BLOCK_BYTES
        if begins:
            self._blocks.append(bytearray())
        self._blocks[-1] += piece
        self.size += len(piece)
        return begins

    @property
    def is_short(self) -> bool:
        """Whether `take` is quick."""
        return len(self._blocks) == 1

    def take(self) -> bytes:
        """The whole; the blocks are given back."""
        whole = b"".join(self._blocks)
        while self._blocks:  # here and one by one: giving memory back takes time
            self._blocks.pop()
        return whole
