"""Markdown as this project writes it: links, anchors and fenced code."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: The address that documents use, replaced by a test server's.
ADDRESS: Final = re.compile(r"\b(?:127\.0\.0\.1|localhost):8080\b")

#: The same for gRPC.
RPC_ADDRESS: Final = re.compile(r"\b(?:127\.0\.0\.1|localhost):50051\b")

_FENCE: Final = re.compile(
    r"^(?P<before>[^\n]*\n)?```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```\s*$",
    flags=re.MULTILINE | re.DOTALL,
)
_NOT_RUN: Final = re.compile(r"<!-- not run: .+ -->")
_LINK: Final = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


@dataclass(frozen=True, slots=True)
class Block:
    """Fenced code. shown: the JSON that a document prints under it as its output, or None."""

    line: int
    language: str
    text: str
    shown: str | None

    @property
    def runs(self) -> bool:
        """Whether a reader is meant to try it against a running service, or in Python."""
        return self.language == "python" or (self.language == "bash" and "curl" in self.text)


def blocks(text: str) -> list[Block]:
    """Fenced code in order; blocks under a `<!-- not run: why -->` line are left out."""
    fences = [
        match for match in _FENCE.finditer(text) if not _NOT_RUN.search(match["before"] or "")
    ]
    found = []
    for position, match in enumerate(fences):
        shown = None
        if position + 1 < len(fences):
            after = fences[position + 1]
            between = text[match.end() : after.start("language") - len("```")]
            if after["language"] == "json" and not between.strip():
                shown = after["text"]
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(line, match["language"], match["text"], shown))
    return found


def links(text: str) -> list[str]:
    """Targets of links and pictures outside fenced code."""
    return _LINK.findall(_FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.+?) *$", _FENCE.sub("", text), flags=re.MULTILINE):
        plain = re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def broken_links(path: Path) -> Iterator[str]:
    """Relative links of a document that lead nowhere."""
    text = path.read_text("utf-8")
    for target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        if not file.exists():
            yield f"{path}: {target}: no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text("utf-8")):
            yield f"{path}: {target}: no such heading"


def json_documents(text: str) -> list[Any]:
    """JSON values that follow one another."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


def differences(shown: Any, real: Any, where: str = "") -> Iterator[str]:
    """Where a shown answer is not the real one; a shown "…" stands for anything."""
    if shown == "…":
        return
    if isinstance(shown, dict) and isinstance(real, dict):
        for name in shown.keys() | real.keys():
            if name not in real or (name not in shown and "…" not in shown):
                yield f"{where}/{name}: only {'shown' if name in shown else 'real'}"
            elif name in shown:
                yield from differences(shown[name], real[name], f"{where}/{name}")
    elif isinstance(shown, list) and isinstance(real, list) and len(shown) == len(real):
        for position, (one, other) in enumerate(zip(shown, real, strict=True)):
            yield from differences(one, other, f"{where}/{position}")
    elif isinstance(shown, float) and isinstance(real, float):
        if not math.isclose(shown, real, rel_tol=1e-12):
            yield f"{where}: shown {shown!r}, really {real!r}"
    elif shown != real:
        yield f"{where}: shown {shown!r}, really {real!r}"
