"""The long text: long enough, the same every time, in whole framed windows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from service.attention.model import folder, read_tokenizer
from service.attention.size import FULL, QUICK
from service.attention.text import WINDOW, TextTooShort, documentation, read_text


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return read_tokenizer(folder())


def test_the_documentation_of_python_has_the_tokens_of_a_full_run(tokenizer: Tokenizer) -> None:
    assert FULL.tokens >= 100_000
    text = read_text(tokenizer, FULL.tokens)
    assert text.tokens.size == FULL.tokens
    again = read_text(tokenizer, QUICK.tokens)
    assert again.tokens.tolist() == text.tokens[: QUICK.tokens].tolist()
    assert "assert" in tokenizer.decode(again.tokens[:100].tolist())


def test_docstrings_follow_the_topics() -> None:
    pieces = documentation()
    assert "The `assert` statement" in next(pieces).replace('"assert"', "`assert`")
    assert sum(len(piece) for piece, _ in zip(pieces, range(20), strict=False)) > 20_000


def test_windows_are_framed_and_hold_the_text_in_order(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    file = tmp_path / "words.txt"
    file.write_text(" ".join(f"word number {number}." for number in range(400)), "utf-8")
    text = read_text(tokenizer, WINDOW + 1, file)
    assert text.source == "words.txt"
    assert text.tokens.size == 2 * WINDOW
    assert text.windows.shape == (2, WINDOW + 2)
    assert set(text.windows[:, 0]) == {101}
    assert set(text.windows[:, -1]) == {102}
    assert text.windows[:, 1:-1].ravel().tolist() == text.tokens.tolist()


def test_a_short_text_is_refused_with_its_length(tokenizer: Tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("one two three", "utf-8")
    with pytest.raises(TextTooShort, match="has 3 tokens, 254 are needed"):
        read_text(tokenizer, 10, file)
