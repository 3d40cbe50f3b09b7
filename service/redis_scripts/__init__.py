"""The Redis store's Lua scripts: one file for each atomic operation.

Those that act on a living sketch begin with alive.lua, which is put before each of them.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

from service.redis_connection import Script

#: Those that ask first whether the sketch is alive.
_ABOUT_A_SKETCH: Final = frozenset(
    """acquire_lease append compact create get mark_inexact read recall release_lease seal set_ttl
    trim""".split()
)


def load(name: str) -> Script:
    """The script `name`, ready to run."""
    here = resources.files(__name__)
    source = (here / f"{name}.lua").read_text("utf-8")
    if name in _ABOUT_A_SKETCH:
        source = (here / "alive.lua").read_text("utf-8") + source
    return Script(name, source, hashlib.sha1(source.encode()).hexdigest())
