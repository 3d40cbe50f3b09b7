"""A name server for one test: every name leads to the addresses it holds at the moment."""

from __future__ import annotations

import socket
import struct
import threading

_HEADER = struct.Struct("!6H")
_ANSWER = struct.Struct("!HHHIH4s")
#: An answer, from who is responsible, to a question that wished for recursion.
_FLAGS = 0x8580
_A = 1


class Resolver:
    """Answers questions for A records on a loopback port. addresses: may change at any time."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    @property
    def at(self) -> str:
        """host:port."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """Answer no more."""
        # An empty question is the end: closing alone would leave the thread waiting.
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(10)
        self._socket.close()

    def _answer(self) -> None:
        while True:
            asked, who = self._socket.recvfrom(4096)
            if not asked:
                return
            self._socket.sendto(answer(asked, list(self.addresses)), who)


def answer(asked: bytes, addresses: list[str]) -> bytes:
    """The message that answers one with a single question."""
    number = _HEADER.unpack_from(asked)[0]
    end = asked.index(b"\0", _HEADER.size) + 5  # the name's end, its type and class
    question = asked[_HEADER.size : end]
    (kind,) = struct.unpack_from("!H", question, len(question) - 4)
    found = addresses if kind == _A else []
    records = [_ANSWER.pack(0xC00C, _A, 1, 1, 4, socket.inet_aton(one)) for one in found]
    return b"".join([_HEADER.pack(number, _FLAGS, 1, len(found), 0, 0), question, *records])
