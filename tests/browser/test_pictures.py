"""The pictures of a sketch's page: where marks stand, what can be read from them, every digit."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.browsing import REFUSED
from tests.browser.conftest import ADMIN, Open
from tests.end_to_end.workers import Service

#: Over 2^53, where a double has lost the last digits.
HUGE = "9223372036854775806"
ODD = "9007199254740993"


def made(service: Service, name: str, spec: dict[str, Any], *updates: dict[str, Any]) -> str:
    """The page of a new sketch into which this was streamed."""
    service.call("PUT", f"/v1/sketches/{name}", json=spec).raise_for_status()
    for update in updates:
        service.call("POST", f"/v1/sketches/{name}/updates", json=update).raise_for_status()
    return f"/sketches/{name}"


def small(service: Service, name: str) -> str:
    """A vector whose law is known: 36 % of it at 10, 64 % at 700."""
    spec = {"kind": "vector", "shape": {"n": 1000}, "method": "exact"}
    return made(service, name, spec, {"index": [10, 700], "delta": [3, -4]})


def test_no_digit_of_a_coordinate_is_lost(service: Service, opened: Open) -> None:
    spec = {"kind": "vector", "shape": {"n": 2**63 - 1}, "seed": 2**64 - 1}
    update = {"index": [HUGE, ODD, 5], "delta": [3, -4, 1]}
    tab = opened(service, made(service, "pictures.huge", spec, update))
    page = tab.page
    expect(tab.fact("Shape")).to_have_text("n = 9,223,372,036,854,775,807")
    expect(tab.fact("seed")).to_have_text("18446744073709551615")
    tab.button("Draw").click()
    drawn = page.get_by_role("region", name="The draws as a table")
    for index in ("9,223,372,036,854,775,806", "9,007,199,254,740,993", "5"):
        expect(drawn.get_by_role("rowheader", name=index, exact=True)).to_be_visible()
    page.get_by_text("As JSON", exact=True).click()
    expect(tab.panel("Draw").locator("pre").last).to_contain_text(f'"{HUGE}"')

    page.get_by_label("Coordinates").fill(f'[{HUGE}, "{ODD}", 9007199254740992]')
    with page.expect_request("**/estimates") as asked:
        tab.button("Estimate").click()
    assert asked.value.post_data == f'{{"index":[{HUGE},{ODD},9007199254740992]}}'
    estimates = page.get_by_role("region", name="Estimates")
    neighbour = estimates.get_by_role("row", name="9,007,199,254,740,992")
    expect(neighbour.get_by_role("cell").first).to_have_text("0")
    page.get_by_text("The spec as JSON").click()
    spec_shown = json.loads(page.get_by_text('"magnitude"').inner_text())
    assert (spec_shown["shape"]["n"], spec_shown["seed"]) == (2**63 - 1, 2**64 - 1)
    plan = service.call("POST", "/v1/plan", json=spec_shown).raise_for_status().json()
    assert (
        plan["memory_bytes"]
        == service.call("GET", "/v1/sketches/pictures.huge").json()["memory_bytes"]["state"]
    )


def test_bars_are_read_by_keyboard_and_by_pointing(service: Service, opened: Open) -> None:
    tab = opened(service, small(service, "pictures.bars"))
    page = tab.page
    page.get_by_label("Count").fill("2")
    tab.button("Draw").click()
    plot = page.get_by_role("group", name="Probability by coordinate")
    reading = plot.locator(".plot-reading")
    largest = "2 different; the largest is index 700: value -4, probability 64 %"
    expect(reading).to_have_text(largest)
    plot.focus()
    for key, text in (
        ("ArrowRight", "index 10: value 3, probability 36 %"),
        ("ArrowRight", "index 700: value -4, probability 64 %"),
        ("ArrowRight", "index 700: value -4, probability 64 %"),
        ("Home", "index 10: value 3, probability 36 %"),
        ("End", "index 700: value -4, probability 64 %"),
        ("Escape", largest),
    ):
        page.keyboard.press(key)
        expect(reading).to_have_text(text)
        # Read out is only what was asked for.
        expect(plot.locator("output")).to_have_text("" if key == "Escape" else text)
    box = plot.locator("svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 60)
    expect(reading).to_have_text("index 10: value 3, probability 36 %")
    page.get_by_text("Largest first").click()
    plot.focus()
    page.keyboard.press("Home")
    expect(reading).to_have_text("index 700: value -4, probability 64 %")
    expect(tab.panel("Draw").get_by_role("figure")).to_contain_text("y < 0")


def test_the_list_of_draws_is_sorted_by_its_heads(service: Service, opened: Open) -> None:
    tab = opened(service, small(service, "pictures.sorted"))
    tab.page.get_by_label("Count").fill("2")
    tab.button("Draw").click()
    drawn = tab.page.get_by_role("region", name="The draws as a table")
    heads = drawn.get_by_role("rowheader")
    for column, first, second in (
        ("Index", ["10", "700"], ["700", "10"]),
        ("Probability", ["700", "10"], ["10", "700"]),
        ("Value", ["700", "10"], ["10", "700"]),
    ):
        head = drawn.get_by_role("columnheader", name=column)
        for order, state in ((first, "ascending"), (second, "descending")):
            head.get_by_role("button").click()
            expect(heads).to_have_text(order)
            expect(head).to_have_attribute("aria-sort", state)


def test_ten_thousand_draws_are_few_elements(service: Service, opened: Open) -> None:
    spec = {"kind": "vector", "shape": {"n": 20_000}, "method": "exact"}
    update = {"index": list(range(20_000)), "delta": [1 + at % 7 for at in range(20_000)]}
    tab = opened(service, made(service, "pictures.many", spec, update))
    tab.page.get_by_label("Count").fill("10000")
    tab.button("Draw").click()
    panel = tab.panel("Draw")
    expect(panel).to_contain_text("All 10,000 draws were served.")
    expect(panel.locator(".plot-reading")).to_contain_text("10,000 different")
    # 100 rows of 5 cells, and paths that hold all bars: nothing grows with the count.
    assert panel.locator("*").count() < 1000
    rows = tab.page.get_by_role("region", name="The draws as a table").get_by_role("row")
    expect(rows).to_have_count(101)
    panel.get_by_role("button", name="Next").click()
    expect(panel).to_contain_text("101 to 200 of 10,000")
    expect(rows.nth(1).get_by_role("cell").first).to_have_text("101")


def test_pairs_stand_on_the_map(service: Service, opened: Open) -> None:
    shape = {"n1": 1000, "n2": 4000, "d1": 1, "d2": 1}
    place = made(
        service,
        "pictures.pairs",
        {"kind": "tensor", "shape": shape, "method": "exact"},
        {"operand": "A1", "row": [250, 750], "values": [[3], [1]]},
        {"operand": "A2", "row": [1000], "values": [[2]]},
    )
    tab = opened(service, place)
    page = tab.page
    page.get_by_label("Query X").fill("1, 2")
    expect(page.get_by_text("2 numbers are given; 1 × 1 are expected.")).to_be_visible()
    expect(tab.button("Draw")).to_be_disabled()
    page.get_by_label("Query X").fill("1")
    page.get_by_label("Count").fill("400")
    tab.button("Draw").click()
    # One column of pairs would be lost on the whole map: their own range is shown first.
    expect(page.get_by_role("radio", name="Drawn range")).to_be_checked()
    page.get_by_text("Whole map").click()
    plot = page.get_by_role("group", name="Map of the pairs drawn")
    plot.focus()
    page.keyboard.press("Home")
    expect(plot.locator("output")).to_have_text(
        re.compile(r"^\(250, 1,000\): value 6, probability 90\s%, drawn \d+ times\s*$")
    )
    frame = plot.locator(".map-frame")
    point = plot.locator("circle.point")
    number = "(one, names) => names.map((name) => Number(one.getAttribute(name)))"
    left, top, width, height = frame.evaluate(number, ["x", "y", "width", "height"])
    across, down = point.evaluate(number, ["cx", "cy"])
    assert (across - left) / width == pytest.approx(0.25, abs=0.01)
    assert (down - top) / height == pytest.approx(0.25, abs=0.01)
    page.get_by_text("Drawn range").click()
    plot.focus()
    page.keyboard.press("Home")
    assert (point.evaluate(number, ["cy"])[0] - top) / height < 0.1


def test_a_chart_is_a_table_too(service: Service, opened: Open) -> None:
    tab = opened(service, small(service, "pictures.table"))
    figure = tab.page.get_by_role("figure", name="Memory (bytes)")
    expect(figure.locator(".plot-reading")).to_contain_text("state 8 KB")
    figure.get_by_role("button", name="Table").click()
    row = figure.get_by_role("row").nth(1)
    expect(row.get_by_role("cell").first).to_have_text("8 KB")
    figure.get_by_role("button", name="Chart").click()
    expect(figure.locator(".plot-reading")).to_be_visible()
    size = tab.page.get_by_role("figure", name="Size against the dense operands")
    expect(size).to_contain_text("The exact method holds the dense operands themselves")


def test_several_queries_are_looked_at_one_by_one(service: Service, opened: Open) -> None:
    place = made(
        service,
        "pictures.queries",
        {"kind": "matrix", "shape": {"n": 100, "d": 2}, "method": "exact"},
        {"operand": "A", "row": [3, 8], "values": [[2, 0], [0, 5]]},
    )
    tab = opened(service, place)
    page = tab.page
    tab.expects(REFUSED.format(status=422))
    tab.button("Draw").click()  # x is needed, and was not given
    expect(tab.panel("Query")).to_contain_text("is required")
    expect(tab.panel("Draw")).to_contain_text("The query above: is required")
    page.get_by_label("Query x").fill("1 0\n0 1")
    expect(tab.panel("Query")).to_contain_text("2 queries of 2 numbers given.")
    page.get_by_label("Count").fill("1")
    tab.button("Draw").click()
    rows = page.get_by_role("region", name="The draws as a table").get_by_role("rowheader")
    expect(rows).to_have_text(["3"])
    tab.panel("Draw").get_by_label("Query").select_option("1")
    expect(rows).to_have_text(["8"])
    tab.button("Norm").click()
    expect(tab.panel("Norm").locator("strong")).to_have_text(["2", "5"])


def test_the_refused_coordinate_is_named(service: Service, opened: Open) -> None:
    tab = opened(service, small(service, "pictures.refused"))
    tab.expects(REFUSED.format(status=422))
    tab.page.get_by_label("Coordinates").fill("5 99999")
    tab.button("Estimate").click()
    expect(tab.panel("Estimate")).to_contain_text("99,999: must be below 1000")


def test_who_may_only_read_is_offered_no_changes(keyed: Service, opened: Open) -> None:
    admin = {"Authorization": f"Bearer {ADMIN}"}
    spec = {"kind": "vector", "shape": {"n": 1000}}
    keyed.call("PUT", "/v1/sketches/pictures.read", json=spec, headers=admin).raise_for_status()
    body = {"tenant": "default", "role": "read", "label": "looks"}
    key = keyed.call("POST", "/v1/admin/keys", json=body, headers=admin).json()["key"]
    tab = opened(keyed, None)
    tab.expects(REFUSED.format(status=401))
    tab.open("/sketches/pictures.read").enter_key(key).at("pictures.read")
    tab.button("Draw").click()
    expect(tab.panel("Draw")).to_contain_text("nothing to draw")
    expect(tab.button("Seal…")).to_have_count(0)
    expect(tab.button("Delete…")).to_have_count(0)
    tab.page.get_by_text("As curl").first.click()
    command = tab.panel("Draw").locator("pre").first
    expect(command).to_contain_text("Bearer $SKETCHD_KEY")
    expect(command).not_to_contain_text(key)
