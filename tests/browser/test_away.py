"""What goes away while a page is open: the service, the sketch. The page says so and goes on."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from tests.browser.browsing import REFUSED, UNREACHABLE
from tests.browser.conftest import Open
from tests.end_to_end.workers import Service, serving
from tests.redis_servers import closing, standalone

SPEC = {"kind": "vector", "shape": {"n": 1000}, "seed": 7}


def make(service: Service, name: str, **more: object) -> None:
    """A sketch made by somebody else."""
    service.call("PUT", f"/v1/sketches/{name}", json={**SPEC, **more}).raise_for_status()


def test_the_service_goes_and_comes_back(tmp_path: Path, opened: Open) -> None:
    with serving(tmp_path, 1) as service:
        make(service, "kept")
        tab = opened(service, "/sketches/kept").at("kept")
        other = opened(service).at("Sketches")
        banner = tab.page.get_by_role("banner")
        expect(tab.fact("Increments")).to_have_text("0")
        expect(banner).to_contain_text("Ready")
        expect(other.page.get_by_role("link", name="kept")).to_be_visible()
        port = int(service.url.rpartition(":")[2])
    for one in (tab, other):
        one.expects(UNREACHABLE)
        expect(one.page.get_by_role("alert").first).to_contain_text("does not answer")
        expect(one.page.get_by_role("banner")).to_contain_text("Unreachable")
    # What it said last is still there, and a question is answered with the reason.
    expect(tab.fact("Increments")).to_have_text("0")
    expect(other.page.get_by_role("link", name="kept")).to_be_visible()
    tab.button("Draw").click()
    expect(tab.panel("Draw").get_by_role("alert")).to_contain_text("No answer from the service")
    tab.check_accessible()
    with serving(tmp_path, 1, port=port) as service:
        update = {"index": [1], "delta": [1]}
        service.call("POST", "/v1/sketches/kept/updates", json=update).raise_for_status()
        for one in (tab, other):
            expect(one.page.get_by_role("banner")).to_contain_text("Ready")
            expect(one.page.get_by_text("The service does not answer")).to_have_count(0)
        expect(tab.fact("Increments")).to_have_text("1")
        tab.button("Draw").click()
        expect(tab.page.get_by_role("region", name="The draws as a table")).to_be_visible()


def test_the_store_goes_and_comes_back(tmp_path: Path, opened: Open) -> None:
    with (
        closing(standalone()) as redis,
        serving(tmp_path, 1, store=redis.url, redis_retry_seconds=0.5) as service,
    ):
        make(service, "stored")
        tab = opened(service, "/sketches/stored").at("stored")
        expect(tab.fact("Increments")).to_have_text("0")
        tab.expects(REFUSED.format(status=503))
        redis.kill()
        expect(tab.page.get_by_role("banner")).to_contain_text("Not ready")
        expect(tab.page.get_by_role("alert").first).to_contain_text("not ready")
        tab.button("Draw").click()
        expect(tab.panel("Draw").get_by_role("alert")).to_contain_text("store_unavailable")
        expect(tab.fact("Increments")).to_have_text("0")
        redis.restart()
        expect(tab.page.get_by_role("banner")).to_contain_text("Ready")
        expect(tab.page.get_by_text("The service is not ready")).to_have_count(0)
        make(service, "stored")  # it may have kept nothing
        update = {"index": [1], "delta": [1]}
        service.call("POST", "/v1/sketches/stored/updates", json=update).raise_for_status()
        expect(tab.fact("Increments")).to_have_text("1")


def test_a_form_outlives_the_service(tmp_path: Path, opened: Open) -> None:
    with serving(tmp_path, 1) as service:
        tab = opened(service, "/new").at("New sketch")
        tab.page.get_by_label("Name").fill("typed")
        tab.page.get_by_label("Length n").fill("1000")
        expect(tab.fact("Method")).to_contain_text("exact")
        port = int(service.url.rpartition(":")[2])
    tab.expects(UNREACHABLE)
    tab.button("Create sketch").click()
    expect(tab.page.get_by_role("main")).to_contain_text("No answer from the service")
    expect(tab.page.get_by_label("Name")).to_have_value("typed")
    with serving(tmp_path, 1, port=port) as service:
        expect(tab.page.get_by_role("banner")).to_contain_text("Ready")
        expect(tab.page.get_by_label("Length n")).to_have_value("1000")
        tab.button("Create sketch").click()
        tab.at("typed")


@pytest.mark.parametrize(
    # Long enough that the page hears of the end before it comes: it asks every two seconds.
    ("ttl", "title"),
    [(None, "This sketch was deleted"), (6.0, "This sketch has expired")],
)
def test_a_sketch_goes_while_its_page_is_open(
    service: Service, opened: Open, ttl: float | None, title: str
) -> None:
    make(service, "going")
    tab = opened(service, "/sketches/going").at("going")
    expect(tab.fact("Expires")).to_have_text("never")
    tab.expects(REFUSED.format(status=404))
    if ttl is None:
        service.call("DELETE", "/v1/sketches/going").raise_for_status()
    else:
        answer = service.call("PATCH", "/v1/sketches/going", json={"ttl_seconds": ttl})
        answer.raise_for_status()
        expect(tab.fact("Expires")).to_contain_text("in ")
    expect(tab.page.get_by_role("heading", name=title)).to_be_visible()
    expect(tab.button("Draw")).to_have_count(0)
    tab.check_accessible()
    tab.page.get_by_role("link", name="All sketches", exact=True).click()
    tab.at("Sketches")


def test_a_sketch_is_made_anew_while_its_page_is_open(service: Service, opened: Open) -> None:
    make(service, "anew")
    service.call("POST", "/v1/sketches/anew/updates", json={"index": [1], "delta": [1]})
    tab = opened(service, "/sketches/anew").at("anew")
    expect(tab.fact("Increments")).to_have_text("1")
    version = tab.fact("Version").inner_text()
    tab.expects(REFUSED.format(status=404))  # if it looks in between
    service.call("DELETE", "/v1/sketches/anew").raise_for_status()
    make(service, "anew", samples=5)
    expect(tab.fact("Version")).not_to_have_text(version)
    expect(tab.fact("Increments")).to_have_text("0")
    expect(tab.page.get_by_label("Count")).to_have_value("5")


def test_a_deletion_that_somebody_else_was_first_with(service: Service, opened: Open) -> None:
    make(service, "twice")
    tab = opened(service, "/sketches/twice").at("twice")
    tab.expects(REFUSED.format(status=404))
    tab.button("Delete…").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("twice")
    service.call("DELETE", "/v1/sketches/twice").raise_for_status()
    # Either the dialog hears of it, or the page sees it first and there is nothing to click.
    with suppress(PlaywrightTimeout):
        dialog.get_by_role("button", name="Delete it").click(timeout=1000)
    expect(tab.page.get_by_role("heading", level=1)).to_have_text(re.compile("twice|Sketches"))
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
