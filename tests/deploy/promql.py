"""Reads PromQL as far as tests need it: which series an expression asks for, by which labels.

The language's words are told apart by a tokeniser, so that nothing within a string, a label
matcher, a duration or a list of labels is taken for a metric.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<range>\[[^\]]*\])
  | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
  | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![a-zA-Z_\d]))
  | (?P<duration>(?:\d+(?:ms|[smhdwy]))+)
  | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<sign>=~|!~|==|!=|<=|>=|[-+*/%^<>=(){},@])
    """,
    re.VERBOSE,
)
_OPERATORS: Final = frozenset({"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"})
#: Followed by labels in parentheses.
_LISTS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})


class InvalidExpression(Exception):
    """What this reader cannot read."""


@dataclass(frozen=True, slots=True)
class Selector:
    """One selection of series. metric: "" where only labels select.

    matchers: (label, sign, text).
    """

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()


@dataclass(slots=True)
class Expression:
    """What an expression asks for. labels: those it groups or joins by."""

    selectors: list[Selector] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)

    @property
    def metrics(self) -> set[str]:
        """The names of the metrics and recorded series."""
        return {one.metric for one in self.selectors if one.metric}


def read(text: str) -> Expression:
    """Read an expression. Raises InvalidExpression for a character that PromQL does not have."""
    found = Expression()
    tokens = [*_tokens(text), ("end", "")]
    at = 0
    while at < len(tokens):
        kind, word = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        at += 1
        if word == "{":
            matchers, at = _matchers(tokens, at)
            found.selectors.append(Selector("", matchers))
        elif kind != "word" or word.lower() in _OPERATORS:
            continue
        elif word.lower() in _LISTS:
            if following == "(":
                close = next(i for i in range(at, len(tokens)) if tokens[i][1] == ")")
                found.labels |= {name for kind, name in tokens[at:close] if kind == "word"}
                at = close + 1
        elif following == "{":
            matchers, at = _matchers(tokens, at + 1)
            found.selectors.append(Selector(word, matchers))
        elif following != "(" and not _is_aggregation(tokens, at):
            found.selectors.append(Selector(word))
    return found


def _is_aggregation(tokens: list[tuple[str, str]], at: int) -> bool:
    """Whether `by (` or `without (` follows: the word before is an operator, no metric."""
    return tokens[at][1].lower() in ("by", "without")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidExpression(f"{text[at : at + 20]!r} in {text!r}")
        at = match.end()
        if match.lastgroup != "space":
            yield str(match.lastgroup), match[0]


def _matchers(
    tokens: list[tuple[str, str]], at: int
) -> tuple[tuple[tuple[str, str, str], ...], int]:
    """The matchers from after a brace on, and where they end."""
    found = []
    while tokens[at][1] != "}":
        (_, label), (_, sign), (kind, text) = tokens[at : at + 3]
        if kind != "text":
            raise InvalidExpression(f"{label}{sign}{text}")
        found.append((label, sign, text[1:-1]))
        at += 4 if tokens[at + 3][1] == "," else 3
    return tuple(found), at + 1
