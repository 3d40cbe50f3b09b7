"""The Redis store's Lua scripts: one file for each atomic operation.

Scripts about one sketch begin with alive.lua, which is put before each of them.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

from service.redis_connection import Script

#: Those that are about no one sketch, or about one that need not be alive.
_WITHOUT_OPENING: Final = frozenset({"delete", "forget", "reserve", "vacate"})


def load(name: str) -> Script:
    """The script `name`, ready to run."""
    here = resources.files(__name__)
    source = (here / f"{name}.lua").read_text("utf-8")
    if name not in _WITHOUT_OPENING:
        source = (here / "alive.lua").read_text("utf-8") + source
    return Script(name, source, hashlib.sha1(source.encode()).hexdigest())
