"""Long test files are dealt out first, and those that are said to be long are there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.dealing import LONGEST, deal
from tests.tidy.tree import ROOT


def test_the_longest_files_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


@pytest.mark.parametrize("process", ["one of several", "the only one"])
def test_the_longest_come_first_and_then_those_of_most_tests(process: str) -> None:
    names = ["a.py::x", "b.py::x", "b.py::y", f"{LONGEST[1]}::x", f"{LONGEST[0]}::y"]
    items: Any = [SimpleNamespace(nodeid=name) for name in names]
    config: Any = SimpleNamespace()
    if process == "one of several":
        config.workerinput = {}
    deal(config, items)
    dealt = [item.nodeid for item in items]
    moved = [f"{LONGEST[0]}::y", f"{LONGEST[1]}::x", "b.py::x", "b.py::y", "a.py::x"]
    assert dealt == (moved if process == "one of several" else names)
