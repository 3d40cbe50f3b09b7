"""Where the marks of the dashboard's charts stand, and how questions are read, in a browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from service.http_dashboard import dashboard
from tests.service.test_dashboard_modules import call, page

__all__ = ["page"]

#: Over 2^53, where a double has lost the last digits.
HUGE = "9223372036854775806"
ODD = 9007199254740993


def digits(page: Page, function: str, *given: object) -> list[str]:
    """Whole numbers of any size that a function of the scales returns."""
    script = """async ([path, name, values]) => (await import(path))[name](...values).map(String)"""
    path = f"/dashboard/assets/{dashboard().digest}/chart_scales.js"
    found: list[str] = page.evaluate(script, [path, function, list(given)])
    return found


def test_marks_stand_where_the_coordinates_are(page: Page) -> None:
    def fraction(*given: object) -> float:
        found: float = call(page, "chart_scales.js", "fraction", *given)
        return found

    assert fraction(str(2**62), 0, str(2**63)) == 0.5
    assert fraction(str(ODD), str(ODD - 1), str(ODD + 1)) == 0.5
    assert fraction(250, 0, 1000) == pytest.approx(0.25, abs=1e-9)
    assert fraction(0, 0, 1) == 0
    assert digits(page, "coordinateTicks", 0, 1000, 4) == ["0", "500"]
    assert digits(page, "coordinateTicks", 0, 1, 4) == ["0"]
    narrow = digits(page, "coordinateTicks", HUGE, str(int(HUGE) + 3), 5)
    assert narrow == [str(int(HUGE) + at) for at in range(3)]
    assert digits(page, "extent", [5, HUGE, 7]) == ["5", HUGE]


def test_how_much_of_the_range_was_drawn(page: Page) -> None:
    """Draws in a corner are shown on their own range: on the whole one they would be one bar."""
    assert call(page, "chart_scales.js", "covered", [10, 250, 259], 1000) == 0.25
    assert call(page, "chart_scales.js", "covered", [0, HUGE], str(int(HUGE) + 1)) == 1
    assert call(page, "chart_scales.js", "covered", [7], 1000) == 0.001
    assert call(page, "chart_scales.js", "covered", [], 1000) == 1


@pytest.mark.parametrize("most", [1e-12, 0.003, 0.8, 1, 7, 62, 1e9, 1e300])
def test_axes_end_at_a_round_number_just_above(page: Page, most: float) -> None:
    ticks = call(page, "chart_scales.js", "ticksTo", most)
    assert ticks[0] == 0
    assert ticks[-2] < most <= ticks[-1] * 1.0001
    assert 3 <= len(ticks) <= 6


def test_an_axis_of_nothing_and_a_logarithmic_one(page: Page) -> None:
    assert call(page, "chart_scales.js", "ticksTo", 0) == [0, 1]
    assert call(page, "chart_scales.js", "decades", 0.0011, 0.048) == pytest.approx(
        [1e-3, 1e-2, 1e-1]
    )
    assert call(page, "chart_scales.js", "decades", 1e-3, 1e-3) == pytest.approx([1e-3, 1e-2])


def test_gaps_in_what_is_known_stay_gaps(page: Page) -> None:
    def point(time: float, updates: int) -> dict[str, Any]:
        return {"time": 1000 * time, "state": 10, "log": updates, "updates": updates}

    script = """async ([path, points]) => (await import(path)).columnsOf(
      points.map((one) => ({...one, updates: BigInt(one.updates)})))"""
    path = f"/dashboard/assets/{dashboard().digest}/sketch_live.js"
    points = [point(0, 0), point(2, 100), point(30, 100), point(32, 50)]
    found = page.evaluate(script, [path, points])
    assert found["times"] == [0, 2000, 16000, 30000, 32000]
    assert found["state"] == [10, 10, None, 10, 10]
    # Nothing before the first look; nothing across the gap; nothing where counting began anew.
    assert found["rate"] == [None, 50, None, None, None]


NEEDED = {"operand": "x", "rows": 1, "columns": 3}
BROKEN = "This begins like JSON and is not: a bracket or a comma is missing or too many."
TABLE = {"operand": "X", "rows": 2, "columns": 2}


@pytest.mark.parametrize(
    ("needed", "texts", "fields"),
    [
        (
            NEEDED,
            ["1, -.5, 2e3", "1;-.5;2e3\n", "1\n-.5\n2e3", "[1,-5e-1,2e3]", "1,-.5,2e3,"],
            {"x": [1, -0.5, 2000]},
        ),
        (
            NEEDED,
            ["1 2 3\n4 5 6", "1,2,3\n\n4,5,6\n", "[[1,2,3],[4,5,6]]", "\n1,2,3;\n4,5,6;"],
            {"queries": [[1, 2, 3], [4, 5, 6]]},
        ),
        (NEEDED, ["", " \n"], {}),
        (TABLE, ["1 2\n3 4", "1, 2, 3, 4", "[[1,2],[3,4]]"], {"X": [[1, 2], [3, 4]]}),
    ],
)  # fmt: skip
def test_a_query_is_read_however_it_is_written(
    page: Page, needed: object, texts: list[str], fields: object
) -> None:
    for text in texts:
        read = call(page, "sketch_query.js", "readQuery", needed, text)
        assert (read["fields"], read["problem"]) == (fields, None), text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1, 0", "2 numbers are given; 3 are expected."),
        ("1 2 3 4", "4 numbers are given; 3 are expected."),
        ("1 2 3\n5 6", "Line 2 has 2 numbers; each query has 3."),
        ("1, 2, three", "Number 1, 3 is “three”, which is no finite number."),
        ("1,, 3", "Number 1, 2 is “”, which is no finite number."),
        ("1, 2, 1e999", "Number 1, 3 is “1e999”, which is no finite number."),
        ("[1, 2, null]", "Number 3 is “null”, which is no finite number."),
        ('[1, 2, "3"]', "Number 3 is “3”, which is no finite number."),
        ("[[1, 2, 3], 5]", "Item 2 is not a list like the others."),
        ("[1, 2, 3", BROKEN),
        ("[]", "0 numbers are given; 3 are expected."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_query_is_said(page: Page, text: str, said: str) -> None:
    read = call(page, "sketch_query.js", "readQuery", NEEDED, text)
    assert (read["fields"], read["problem"]) == ({}, said)


@pytest.mark.parametrize(
    ("text", "pairs", "index", "problem"),
    [
        (f"5, {ODD}\n7", False, ["5", str(ODD), "7"], None),
        (f'["{HUGE}", 0]', False, [HUGE, "0"], None),
        ("7 9, 8 4", True, ["7,9", "8,4"], None),
        (f"[[7, {HUGE}]]", True, [f"7,{HUGE}"], None),
        ("(7, 9)\n(8, 4)", True, ["7,9", "8,4"], None),
        ("7 9 8", True, [], "3 numbers are given: pairs have two each."),
        ("-5", False, [], "“-5” is no coordinate: they are whole numbers from 0."),
        ("1.5", False, [], "“1.5” is no coordinate: they are whole numbers from 0."),
        ("", False, [], None),
    ],
)  # fmt: skip
def test_coordinates_are_read_with_every_digit(
    page: Page, text: str, pairs: bool, index: list[str], problem: str | None
) -> None:
    script = """async ([path, text, pairs]) => {
      const { index, problem } = (await import(path)).readCoordinates(text, pairs);
      return [index.map(String), problem];
    }"""
    path = f"/dashboard/assets/{dashboard().digest}/sketch_estimate.js"
    assert page.evaluate(script, [path, text, pairs]) == [index, problem]
