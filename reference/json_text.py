"""JSON as a person would write it: what is short stays on one line."""

from __future__ import annotations

import json
from typing import Any, Final

_LONGEST: Final = 88


def readable(value: Any, indent: int = 0, longest: int = _LONGEST) -> str:
    """A JSON value, broken into lines only where a line would be longer than `longest`."""
    flat = json.dumps(value, ensure_ascii=False)
    if indent + len(flat) <= longest or not isinstance(value, dict | list) or not value:
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, list):
        parts = [readable(item, indent + 2, longest) for item in value]
        opening, closing = "[", "]"
    else:
        # One place less: a comma follows, and the name stands before.
        parts = [
            f"{json.dumps(name)}: {readable(item, indent + 2, longest - len(name) - 5)}"
            for name, item in value.items()
        ]
        opening, closing = "{", "}"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{' ' * indent}{closing}"
