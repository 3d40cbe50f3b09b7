"""Text of schemas and protos as Markdown that code hosts and the site read alike."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(r"(?<![`\w.])([a-z]{2,}(?:_[a-z0-9]+)+)(?![`\w])")


def prose(text: str) -> str:
    """A text on one line: names with underscores as code, nothing else taken for markup."""
    parts = re.split(r"(`[^`]*`)", _NAME.sub(r"`\1`", " ".join(text.split())))
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;").replace("_", r"\_")
        for part in parts
    )


def cell(text: str) -> str:
    """Prose in a cell of a table."""
    return prose(text).replace("|", r"\|")


def heading_anchor(heading: str) -> str:
    """Where a section begins, as code hosts and the site make anchors of headings."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def between(text: str, start: str, end: str, new: str) -> str:
    """`text` with what stands between two markers replaced. Raises ValueError without them."""
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"there is no {start} … {end}")
    return f"{before}{start}{new}{end}{after}"
