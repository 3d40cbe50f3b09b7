"""A long real text as tokens: Python's own documentation, which every interpreter carries.

The text is that of `help()`: the topics of the language reference, and where
they do not suffice the docstrings of the standard library. It is the same for
every run of one interpreter; another release has another edition of it.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

I64 = npt.NDArray[np.int64]

#: Tokens of the text in a window; with the two that frame it, the 256 the model was made for.
WINDOW: Final = 254


class TextTooShort(Exception):
    """There are fewer tokens than were asked for; the message says how many."""


@dataclass(frozen=True, slots=True)
class Text:
    """tokens int64 (n,), n a multiple of WINDOW. source: what it is, in a few words.

    first, last: the tokens that frame a window.
    """

    tokens: I64
    source: str
    first: int
    last: int

    @property
    def windows(self) -> I64:
        """The model's input, int64 (n / WINDOW, WINDOW + 2): each window in its frame."""
        inner = self.tokens.reshape(-1, WINDOW)
        frame = np.ones((len(inner), 1), dtype=np.int64)
        return np.concatenate([self.first * frame, inner, self.last * frame], axis=1)


def read_text(tokenizer: Tokenizer, wanted: int, file: Path | None = None) -> Text:
    """The first `wanted` tokens, rounded up to whole windows, of `file` or of the documentation.

    Raises TextTooShort, and OSError or UnicodeDecodeError for a file that cannot be read.
    """
    pieces = iter([file.read_text("utf-8")]) if file else documentation()
    needed = -(-wanted // WINDOW) * WINDOW
    found: list[I64] = []
    count = 0
    for piece in pieces:
        ids = np.array(tokenizer.encode(piece, add_special_tokens=False).ids, dtype=np.int64)
        found.append(ids)
        count += ids.size
        if count >= needed:
            break
    else:
        raise TextTooShort(f"the text has {count:,} tokens, {needed:,} are needed")
    vocabulary = tokenizer.get_vocab()
    return Text(
        tokens=np.concatenate(found)[:needed],
        source=file.name if file else "the documentation of Python itself",
        first=vocabulary["[CLS]"],
        last=vocabulary["[SEP]"],
    )


def documentation() -> Iterator[str]:
    """The topics of `help()` in one piece, then the docstrings of one module after another."""
    from pydoc_data.topics import topics

    yield "\n\n".join(str(topics[name]) for name in sorted(topics))
    for path in sorted(Path(os.__file__).parent.glob("*.py")):
        yield "\n\n".join(_docstrings(path))


def _docstrings(path: Path) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, documented):
            yield ast.get_docstring(node) or ""
