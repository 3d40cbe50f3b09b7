"""Mutants follow the code: what one replaces is there, once, and the test it names exists."""

from __future__ import annotations

import pytest

from tests.mutants import MUTANTS, Mutant
from tests.tidy.tree import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_breaks_is_there(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text("utf-8")
    assert text.count(mutant.old) == 1
    path, _, name = mutant.test.partition("::")
    function = name.partition("[")[0].rpartition("::")[2]
    assert f"def {function}(" in (ROOT / path).read_text("utf-8")
