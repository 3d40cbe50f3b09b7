"""The list in a browser: nothing there yet, 250 sketches, searching, paging, odd texts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Locator, expect

from tests.browser.browsing import REFUSED, Tab
from tests.browser.conftest import Open
from tests.end_to_end.workers import Service, serving

COUNT = 250
#: What must never become an element, an attribute or a script.
ODD = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    '"><svg onload=alert(3)>',
    "javascript:alert(4)",
    "${alert(5)}{{6}}",
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with 250 sketches, head.000 to head.249, all but the first ten vectors."""
    folder: Path = tmp_path_factory.mktemp("many")
    with serving(folder, 1) as found, httpx.Client(base_url=found.url, timeout=30) as client:

        def make(at: int) -> None:
            vector = {"kind": "vector", "shape": {"n": 1000 + at}}
            matrix = {"kind": "matrix", "shape": {"n": 1000, "d": 4}, "method": "sketch"}
            client.put(
                f"/v1/sketches/head.{at:03}", json=matrix if at < 10 else vector
            ).raise_for_status()

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(make, range(COUNT)))
        yield found


def names(tab: Tab) -> Locator:
    """The links to sketches in the list."""
    return tab.page.get_by_role("table", name="Sketches").get_by_role("link")


def numbers(first: int, last: int) -> list[str]:
    """The names from one to another, both included."""
    return [f"head.{at:03}" for at in range(first, last + 1)]


def test_nothing_yet(service: Service, opened: Open) -> None:
    tab = opened(service).at("Sketches")
    page = tab.page
    expect(page.get_by_role("heading", name="No sketches yet")).to_be_visible()
    expect(page.get_by_role("table")).to_have_count(0)
    tab.check_accessible()
    page.get_by_role("link", name="Make the first one").click()
    tab.at("New sketch")
    service.call(
        "PUT", "/v1/sketches/elsewhere", json={"kind": "vector", "shape": {"n": 10}}
    ).raise_for_status()
    tab.go("/").at("Sketches")
    expect(names(tab)).to_have_text(["elsewhere"])
    row = page.get_by_role("row").nth(1)
    for text in ("vector", "n = 10", "exact", "never"):
        expect(row).to_contain_text(text)
    service.call("DELETE", "/v1/sketches/elsewhere").raise_for_status()
    expect(page.get_by_role("heading", name="No sketches yet")).to_be_visible()


def test_pages_forwards_and_back(many: Service, opened: Open) -> None:
    tab = opened(many).at("Sketches")
    page = tab.page
    expect(names(tab)).to_have_text(numbers(0, 24))
    expect(tab.button("Previous")).to_be_disabled()
    tab.button("Next").click()
    expect(names(tab)).to_have_text(numbers(25, 49))
    expect(page.get_by_role("navigation", name="Pages")).to_contain_text("26–50")
    names(tab).nth(3).click()
    tab.at("head.028")
    page.go_back()
    tab.at("Sketches")
    expect(names(tab)).to_have_text(numbers(25, 49))  # where one was
    tab.button("Previous").click()
    expect(names(tab)).to_have_text(numbers(0, 24))
    page.get_by_label("a page").select_option("100")
    expect(names(tab)).to_have_text(numbers(0, 99))
    tab.button("Next").click()
    expect(names(tab)).to_have_text(numbers(100, 199))
    tab.button("Next").click()
    expect(names(tab)).to_have_text(numbers(200, 249))
    expect(tab.button("Next")).to_be_disabled()
    tab.check_accessible()


def test_searching(many: Service, opened: Open) -> None:
    tab = opened(many).at("Sketches")
    page = tab.page
    expect(names(tab)).to_have_count(25)
    tab.button("Next").click()
    expect(names(tab)).to_have_text(numbers(25, 49))
    page.keyboard.press("/")
    page.keyboard.type("D.24")
    expect(names(tab)).to_have_text(numbers(240, 249))
    page.keyboard.type("7")
    expect(names(tab)).to_have_text(["head.247"])
    page.keyboard.press("Escape")
    expect(names(tab)).to_have_text(numbers(0, 24))
    box = page.get_by_role("searchbox", name="Search names")
    box.fill("1")
    expect(names(tab)).to_have_count(25)
    found = [f"head.{at:03}" for at in range(COUNT) if "1" in f"{at:03}"]
    expect(names(tab)).to_have_text(found[:25])
    tab.button("Next").click()
    expect(names(tab)).to_have_text(found[25:50])
    for text in ("%", "_", "*", *ODD):
        box.fill(text)
        expect(page.get_by_role("heading", name="No name holds this text")).to_be_visible()
        expect(page.locator("main code").get_by_text(text, exact=True)).to_be_visible()
    tab.button("Clear the search").click()
    expect(names(tab)).to_have_text(numbers(0, 24))


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_name_in_the_address_stays_text(service: Service, opened: Open, odd: str) -> None:
    tab = opened(service).at("Sketches")
    tab.expects(REFUSED.format(status=404), REFUSED.format(status=422))
    for name, place in ((odd, quote(odd, safe="")), (odd.replace("/", ""), odd.replace("/", ""))):
        tab.go(f"/sketches/{place}").at(name)
        expect(tab.page.locator("main img, main svg[onload], main script")).to_have_count(0)


def test_an_address_that_leads_nowhere(service: Service, opened: Open) -> None:
    tab = opened(service, "/no/such/page").at("Page not found")
    tab.check_accessible()
    tab.go("/sketches/%").at("Page not found")
    tab.page.get_by_role("link", name="All sketches", exact=True).click()
    tab.at("Sketches")
    tab.expects(REFUSED.format(status=404))
    tab.go("/sketches/missing").at("missing")
    expect(tab.page.get_by_role("heading", name="No such sketch")).to_be_visible()
    tab.check_accessible()
