"""Kinds, themes and widths: pictures of tensors and matrices, both themes, a phone, axe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.browsing import Tab
from tests.browser.conftest import Open
from tests.end_to_end.workers import Service, serving

LONG = "a" * 128  # the longest name there can be
PLACES = ("/", "/new", "/sketches/vector", "/sketches/tensor", f"/sketches/{LONG}", "/no")


def put(service: Service, name: str, spec: dict[str, Any], *updates: dict[str, Any]) -> None:
    """A sketch and what was streamed into it."""
    service.call("PUT", f"/v1/sketches/{name}", json=spec).raise_for_status()
    for update in updates:
        service.call("POST", f"/v1/sketches/{name}/updates", json=update).raise_for_status()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a sketch of each kind, and one with the longest name."""
    rows = [[1, 0, 0.5, -1], [0, 2, 0, 0.25], [-3, 0, 0, 0]]
    folder: Path = tmp_path_factory.mktemp("filled")
    with serving(folder, 1) as found:
        put(
            found,
            "vector",
            {"kind": "vector", "shape": {"n": 1_000_000}, "seed": 7},
            {"index": [5, 77, 123_456], "delta": [900, -400, 250.5]},
        )
        put(
            found,
            "matrix",
            {"kind": "matrix", "shape": {"n": 1000, "d": 4}, "seed": 7},
            {"operand": "A", "row": [7, 8, 9], "values": rows},
        )
        put(
            found,
            "tensor",
            {"kind": "tensor", "shape": {"n1": 2000, "n2": 3000, "d1": 2, "d2": 3}, "seed": 7},
            {"operand": "A1", "row": [700, 800], "values": [[1, 0], [0, 3]]},
            {"operand": "A2", "row": [900, 400], "values": [[1, 0, 0], [0, 0.5, 2]]},
        )
        put(
            found,
            LONG,
            {"kind": "vector", "shape": {"n": 10}, "ttl_seconds": 86400},
            {"index": [1, 2], "delta": [1e6, -1e6]},
        )
        yield found  # fmt: skip


def drawn(tab: Tab) -> list[str]:
    """The coordinates of the table of draws, once there is one."""
    table = tab.page.get_by_role("region", name="The draws as a table")
    expect(table).to_be_visible()
    return table.get_by_role("rowheader").all_inner_texts()


def test_a_matrix_is_asked_with_one_query_and_with_several(filled: Service, opened: Open) -> None:
    tab = opened(filled, "/sketches/matrix").at("matrix")
    query = tab.page.get_by_label("Query x")
    query.fill("1, 0, 0")
    expect(query).to_have_attribute("aria-invalid", "true")
    expect(tab.button("Draw")).to_be_disabled()
    query.fill("1 0 0 0")
    tab.page.get_by_label("Count").fill("1")
    tab.button("Draw").click()
    assert set(drawn(tab)) <= {"7", "9"}
    tab.panel("Estimate").get_by_label("Coordinates").fill("7, 9")
    tab.button("Estimate").click()
    values = tab.page.get_by_role("region", name="Estimates").get_by_role("row")
    expect(values.nth(1).get_by_role("cell").first).to_have_text("1")
    expect(values.nth(2).get_by_role("cell").first).to_have_text("-3")
    query.fill("[[1, 0, 0, 0], [0, 1, 0, 0]]")
    tab.button("Draw").click()
    which = tab.panel("Draw").get_by_label("Query")
    expect(which.get_by_role("option")).to_have_count(2)
    which.select_option("1")
    table = tab.page.get_by_role("region", name="The draws as a table")
    expect(table.get_by_role("rowheader")).to_have_text(["8"])
    tab.button("Norm").click()
    expect(tab.panel("Norm").locator("strong")).to_have_count(2)
    tab.check_accessible()


def test_a_tensor_is_shown_as_a_map_of_pairs(filled: Service, opened: Open) -> None:
    tab = opened(filled, "/sketches/tensor").at("tensor")
    query = tab.page.get_by_label("Query X")
    tab.button("the identity").click()
    expect(query).to_have_value("1, 0, 0\n0, 1, 0")
    tab.page.get_by_label("Count").fill("8")
    tab.button("Draw").click()
    pairs = drawn(tab)
    assert len(pairs) == 8
    assert all("700" in pair or "800" in pair for pair in pairs), pairs
    figure = tab.panel("Draw").get_by_role("figure", name="Pairs drawn")
    expect(figure.locator("path.dots.tone-1")).not_to_have_attribute("d", "")
    figure.get_by_text("Drawn range").click()
    expect(figure).to_contain_text("different")
    tab.check_accessible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_can_be_read(filled: Service, opened: Open, theme: str) -> None:
    tab = opened(filled, None, color_scheme=theme, reduced_motion="reduce")
    for place in PLACES:
        tab.open(place)
        ready(tab, place)
        assert is_light(tab) == (theme == "light")
        tab.check_accessible()
    for other in ("Dark theme", "Light theme"):
        tab.button(other).click()
        assert is_light(tab) == (other == "Light theme")
        tab.check_accessible()
    tab.button("Dark theme" if theme == "light" else "Light theme").click()
    tab.page.reload()
    ready(tab, PLACES[-1])
    assert is_light(tab) == (theme == "dark")  # what was chosen is kept
    tab.button("Theme of the system").click()
    assert is_light(tab) == (theme == "light")


@pytest.mark.parametrize("place", PLACES, ids=["list", "form", "vector", "tensor", "long", "none"])
def test_nothing_is_wider_than_the_window(filled: Service, opened: Open, place: str) -> None:
    tab = opened(filled, place, viewport={"width": 360, "height": 740}, has_touch=True)
    ready(tab, place)
    tab.check_accessible()
    for width in (320, 360, 412, 600, 768, 1024, 1600):
        tab.page.set_viewport_size({"width": width, "height": 740})
        tab.check_fits()


def is_light(tab: Tab) -> bool:
    """Whether the page's ground is lighter than its text."""
    colours = tab.page.evaluate(
        """() => [
          getComputedStyle(document.documentElement).backgroundColor,
          getComputedStyle(document.body).color,
        ]"""
    )
    ground, text = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    return ground > text


def ready(tab: Tab, place: str) -> None:
    """Wait until everything that a place shows is there, with a draw and a plan."""
    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
    if place.startswith("/sketches/"):
        expect(tab.fact("Increments")).to_be_visible()
        if not place.endswith("tensor"):
            tab.button("Draw").click()
            drawn(tab)
        expect(tab.panel("Size and spec")).to_contain_text("Size against the dense operands")
    elif place == "/new":
        tab.page.get_by_label("Name").fill(LONG)
        tab.page.get_by_label("Length n").fill("1000000")
        expect(tab.fact("Method")).to_contain_text("sketch")
    elif place == "/":
        expect(tab.page.get_by_role("link", name="vector")).to_be_visible()
