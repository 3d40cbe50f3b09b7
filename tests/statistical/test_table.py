"""The table in docs/accuracy.md: made by the script, from the same grid as the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import distribution
from tests.statistical import decisions, grid


@pytest.fixture(scope="module")
def row() -> distribution.Row:
    position = [case.name for case in grid.SHORT].index("equal, p=1")
    return distribution.measure(False, position, 1)


def test_a_case_becomes_a_row(row: distribution.Row) -> None:
    text = distribution.table([row])
    assert f"| equal, p=1 | {row.lists} |" in text
    assert f"0 of {row.draws} draws were of coordinates that are zero" in text


@pytest.mark.statistical
def test_distances_are_those_of_an_exact_sampler(row: distribution.Row) -> None:
    """The 95 % quantile of its distances, doubled, is passed once in 10^12 seeds or less."""
    for verdict in (row.first, row.independent):
        middle, high = distribution.floor(verdict.trials)
        assert middle < high < verdict.smallest
        assert verdict.observed < 2.0 * high


def test_the_table_goes_between_the_markers(row: distribution.Row, tmp_path: Path) -> None:
    document = tmp_path / "accuracy.md"
    document.write_text(f"before\n{distribution.START}old\n{distribution.END}\nafter\n")
    distribution.write("new\n", document)
    text = document.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert "new" in text
    assert text.endswith("after\n")
    distribution.plot([row], tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_documented_table_is_of_the_long_grid() -> None:
    text = distribution.DOCUMENT.read_text("utf-8")
    for case in grid.LONG:
        assert f"| {case.name.replace(' (long)', '')} | {case.lists} |" in text, case.name


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in (*grid.SHORT, *grid.LONG)]
    assert len(set(names)) == len(names)
    assert len(names) * 9 < decisions.DECISIONS
