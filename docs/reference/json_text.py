"""JSON as a person would write it: what is short stays on one line."""

from __future__ import annotations

import json
from typing import Any, Final

_LONGEST: Final = 88


def readable(value: Any) -> str:
    """A JSON value, broken into lines only where a line would be too long."""
    return _written(value, 0, 0)


def _written(value: Any, indent: int, before: int) -> str:
    """before: columns of this line that a name, and a comma after the value, take."""
    flat = json.dumps(value, ensure_ascii=False)
    if indent + before + len(flat) <= _LONGEST or not isinstance(value, dict | list) or not value:
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, list):
        parts = [_written(item, indent + 2, 1) for item in value]
        opening, closing = "[", "]"
    else:
        names = [f"{json.dumps(name)}: " for name in value]
        parts = [
            name + _written(item, indent + 2, len(name) + 1)
            for name, item in zip(names, value.values(), strict=True)
        ]
        opening, closing = "{", "}"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{' ' * indent}{closing}"
