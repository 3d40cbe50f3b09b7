"""The main flow in a browser: make a sketch, stream into it, draw, estimate, seal, delete."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.browsing import REFUSED, Tab
from tests.browser.conftest import Open
from tests.end_to_end.workers import Service

SPEC = {"kind": "vector", "shape": {"n": 1_000_000}, "seed": 7}
#: Three coordinates have nearly all of the law; y[77] is negative.
HEAVY = {"index": [5, 77, 123_456], "delta": [900, -400, 250.5]}


def make(service: Service, name: str, spec: dict[str, object] | None = None) -> None:
    """A sketch made by somebody else."""
    service.call("PUT", f"/v1/sketches/{name}", json=spec or SPEC).raise_for_status()


def stream(service: Service, name: str, update: dict[str, object] | None = None) -> None:
    """An update by somebody else."""
    service.call("POST", f"/v1/sketches/{name}/updates", json=update or HEAVY).raise_for_status()


def test_from_the_form_to_the_end_of_a_sketch(service: Service, opened: Open) -> None:
    tab = opened(service, "/new").at("New sketch")
    page = tab.page
    plan = tab.panel("What it would be")
    page.get_by_label("Name").fill("flow.clicks")
    page.get_by_label("Length n").fill("1000")
    expect(tab.fact("Method", plan)).to_contain_text("exact")
    page.get_by_label("Length n").fill("1000000")
    expect(tab.fact("Method", plan)).to_contain_text("sketch")
    expect(plan).to_contain_text("times smaller")
    expect(plan).to_contain_text("8 MB")
    page.get_by_text("Advanced").click()
    page.get_by_label("Seed").fill("7")
    tab.button("Create sketch").click()

    tab.at("flow.clicks")
    assert page.url.endswith("#/sketches/flow.clicks")
    assert service.call("GET", "/v1/sketches/flow.clicks").json()["seed"] == 7
    expect(tab.fact("Increments")).to_have_text("0")
    tab.button("Draw").click()
    expect(tab.panel("Draw")).to_contain_text("y is zero: there is nothing to draw.")

    stream(service, "flow.clicks")
    expect(tab.fact("Increments")).to_have_text("3")
    version = tab.fact("Version").inner_text()
    assert version == service.call("GET", "/v1/sketches/flow.clicks").json()["version"]
    for _ in range(3):
        stream(service, "flow.clicks", {"index": [1, 2], "delta": [1, 1]})
    expect(tab.fact("Increments")).to_have_text("9")
    expect(tab.fact("Update rate")).not_to_have_text("0/s")
    expect(tab.fact("Requests")).to_have_text("5")
    expect(tab.panel("Live")).to_contain_text(re.compile(r"p50\s+[\d.]+\s(ms|µs)"))

    page.get_by_label("Count").fill("3")
    tab.button("Draw").click()
    drawn = page.get_by_role("region", name="The draws as a table")
    expect(drawn.get_by_role("row")).to_have_count(4)
    for index in ("5", "77", "123,456"):
        expect(drawn.get_by_role("rowheader", name=index, exact=True)).to_be_visible()
    expect(tab.panel("Draw").get_by_role("figure")).to_contain_text("Probability of what was drawn")

    tab.panel("Estimate").get_by_label("Coordinates").fill("77, 5 999999")
    tab.button("Estimate").click()
    values = page.get_by_role("region", name="Estimates").get_by_role("row")
    expect(values).to_have_count(4)
    for at, index, value in ((1, "77", r"-(39|40)\d"), (2, "5", r"(89|90)\d")):  # of this seed
        expect(values.nth(at).get_by_role("rowheader")).to_have_text(index)
        expect(values.nth(at).get_by_role("cell").first).to_have_text(re.compile(value))
    tab.button("Norm").click()
    expect(tab.panel("Norm").locator("strong")).to_have_text(re.compile(r"1,0\d\d"))

    tab.button("Seal…").click()
    page.get_by_role("dialog").get_by_role("button", name="Seal y").click()
    expect(page.get_by_text("y sealed", exact=True)).to_be_visible()
    expect(tab.button("Seal…")).to_have_count(0)
    refused = service.call("POST", "/v1/sketches/flow.clicks/updates", json=HEAVY)
    assert refused.status_code == 409

    tab.button("Delete…").click()
    dialog = page.get_by_role("dialog", name="Delete this sketch")
    confirm = dialog.get_by_role("button", name="Delete it")
    expect(confirm).to_be_disabled()
    dialog.get_by_role("textbox").fill("flow.click")
    expect(confirm).to_be_disabled()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert service.call("GET", "/v1/sketches/flow.clicks").status_code == 200
    tab.button("Delete…").click()
    expect(dialog.get_by_role("textbox")).to_have_value("")
    dialog.get_by_role("textbox").fill("flow.clicks")
    # It may be looked at once more before the page has left it.
    tab.expects(REFUSED.format(status=404))
    confirm.click()
    tab.at("Sketches")
    assert service.call("GET", "/v1/sketches/flow.clicks").status_code == 404
    expect(page.get_by_role("link", name="flow.clicks")).to_have_count(0)


def test_the_same_with_the_keyboard_alone(service: Service, opened: Open) -> None:
    tab = opened(service).at("Sketches")
    keys = tab.page.keyboard
    keys.press("Tab")
    assert tab.focused() == "a Skip to the content"
    tab.tab_to("^a New sketch")
    keys.press("Enter")
    tab.arrived("New sketch")
    tab.tab_to("^input Name")
    keys.type("flow.keys")
    tab.tab_to("^input Vector")
    keys.press("ArrowRight")
    expect(tab.page.get_by_label("Rows of A, n")).to_be_visible()
    keys.press("ArrowLeft")
    tab.tab_to("^input Length n")
    keys.type("50")
    keys.press("Enter")
    tab.arrived("flow.keys")
    stream(service, "flow.keys", {"index": [5, 7], "delta": [9, 1]})
    tab.tab_to("^input Count")
    keys.press("Control+A")
    keys.type("2")
    keys.press("Enter")
    drawn = tab.page.get_by_role("region", name="The draws as a table")
    expect(drawn.get_by_role("row")).to_have_count(3)
    tab.tab_to("^textarea Coordinates")
    keys.type("5")
    tab.tab_to("^button Estimate")
    keys.press("Enter")
    expect(tab.page.get_by_role("region", name="Estimates").get_by_role("row")).to_have_count(2)
    for _ in range(60):
        keys.press("Shift+Tab")
        if tab.focused() == "button Delete…":
            break
    keys.press("Enter")
    expect(tab.page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    expect(tab.button("Delete…")).to_be_focused()
    keys.press("Enter")
    tab.tab_to("^input Type", 5)
    keys.type("flow.keys")
    tab.expects(REFUSED.format(status=404))
    keys.press("Enter")
    tab.arrived("Sketches")
    assert service.call("GET", "/v1/sketches/flow.keys").status_code == 404


def test_the_form_says_what_is_wrong_where_it_is_wrong(service: Service, opened: Open) -> None:
    make(service, "flow.taken")
    tab = opened(service, "/new").at("New sketch")
    page = tab.page
    tab.button("Create sketch").click()
    expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.get_by_label("Length n")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Name").fill("<b>no name</b>")
    expect(page.get_by_label("Name")).to_have_accessible_description(re.compile("letter or digit"))

    # What only the service knows.
    tab.expects(REFUSED.format(status=422), REFUSED.format(status=409))
    page.get_by_label("Name").fill("flow.taken")
    page.get_by_label("Length n").fill("0")
    expect(page.get_by_label("Length n")).to_have_accessible_description(re.compile("must be"))
    page.get_by_label("Length n").fill("many")
    expect(page.get_by_label("Length n")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Length n").fill("1000")
    expect(page.get_by_label("Length n")).not_to_have_attribute("aria-invalid", "true")
    page.get_by_label("Power p").fill("0.5")
    page.get_by_label("Sketch", exact=True).check(force=True)
    expect(page.get_by_label("Power p")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Power p").fill("2")
    expect(page.get_by_label("Power p")).not_to_have_attribute("aria-invalid", "true")
    tab.button("Create sketch").click()
    expect(page.get_by_label("Name")).to_have_accessible_description(re.compile("another spec"))
    page.get_by_label("Name").fill("flow.free")
    tab.button("Create sketch").click()
    tab.at("flow.free")


def test_questions_say_what_is_wrong_where_it_is_wrong(service: Service, opened: Open) -> None:
    make(service, "flow.asked")
    tab = opened(service, "/sketches/flow.asked").at("flow.asked")
    page = tab.page
    tab.expects(REFUSED.format(status=422))
    page.get_by_label("Count").fill("0")
    tab.button("Draw").click()
    expect(page.get_by_label("Count")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Count").fill("<img src=x onerror=alert(1)>")
    tab.button("Draw").click()
    expect(page.get_by_label("Count")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Count").fill("4")
    page.get_by_label("Draw number").fill("1")
    tab.button("Draw").click()
    expect(page.get_by_label("Draw number")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Draw number").fill("0")
    tab.button("Draw").click()
    expect(tab.panel("Draw")).to_contain_text("nothing to draw")
    page.get_by_label("Coordinates").fill("12, 1000000")
    tab.button("Estimate").click()
    expect(page.get_by_label("Coordinates")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Coordinates").fill("12, twelve")
    expect(tab.button("Estimate")).to_be_disabled()
    expect(tab.panel("Estimate")).to_contain_text("“twelve” is no coordinate")


@pytest.mark.parametrize("operand", ["A", "x"])
def test_of_several_operands_the_chosen_one_is_sealed(
    service: Service, opened: Open, operand: str
) -> None:
    name = f"flow.matrix.{operand}"
    make(service, name, {"kind": "matrix", "shape": {"n": 1000, "d": 4}, "seed": 7})
    tab = opened(service, f"/sketches/{name}").at(name)
    tab.button("Seal…").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("Operand").select_option(operand)
    dialog.get_by_role("button", name=f"Seal {operand}").click()
    expect(tab.page.get_by_text(f"{operand} sealed", exact=True)).to_be_visible()
    assert service.call("GET", f"/v1/sketches/{name}").json()["sealed"] == [operand]
    expect(tab.button("Seal…")).to_be_visible()


def test_drawing_follows_the_stream(service: Service, opened: Open) -> None:
    make(service, "flow.follow")
    stream(service, "flow.follow")
    tab: Tab = opened(service, "/sketches/flow.follow").at("flow.follow")
    tab.page.get_by_label("Count").fill("1")
    tab.page.get_by_label("again when updates come").check()
    drawn = tab.page.get_by_role("region", name="The draws as a table")
    expect(drawn.get_by_role("rowheader", name="5", exact=True)).to_be_visible()
    stream(service, "flow.follow", {"index": [5, 999_999], "delta": [-900, 5000]})
    expect(drawn.get_by_role("rowheader", name="999,999", exact=True)).to_be_visible()
