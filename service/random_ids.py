"""Ids nobody else has: of log entries, and of requests that bring none.

The kernel's randomness is fetched for many at a time. Asking for it lets go of the
interpreter lock, and an event loop that does so with every request waits behind a thread
of the pool or the store each time to have it back.
"""

from __future__ import annotations

import os
from typing import Final

_ID_BYTES: Final = 16
_AT_ONCE: Final = 256
_READY: Final[list[str]] = []

# A child process would hand out the ids of its parent.
os.register_at_fork(after_in_child=_READY.clear)


def new_id() -> str:
    """16 random bytes as 32 hex digits. From any thread."""
    try:
        return _READY.pop()
    except IndexError:
        text = os.urandom(_ID_BYTES * _AT_ONCE).hex()
        ids = [text[at : at + 2 * _ID_BYTES] for at in range(0, len(text), 2 * _ID_BYTES)]
        found = ids.pop()
        _READY.extend(ids)  # whoever came meanwhile has added others
        return found
