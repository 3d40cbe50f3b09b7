"""Trouble on the way: a service that hangs, proxies in its place, limits; what is read out."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.browsing import REFUSED
from tests.browser.conftest import Open
from tests.end_to_end.workers import Service, serving

SPEC = {"kind": "vector", "shape": {"n": 1_000_000}, "seed": 7}
#: Longer than the page waits for an answer to begin, and then some.
HANGING_SECONDS = 40
#: Collects what a screen reader would be told: every change within a live region.
_LISTEN = """() => {
  window.told = [];
  const region = "[aria-live]:not([aria-live=off]), [role=status], [role=alert], output";
  const note = (records) => {
    for (const { target } of records) {
      const element = target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement;
      const live = element?.closest(region);
      if (live) window.told.push(live.textContent.trim());
    }
  };
  new MutationObserver(note).observe(
    document.body, { subtree: true, childList: true, characterData: true });
}"""


def made(service: Service, name: str) -> str:
    """A sketch, and the place of its page."""
    service.call("PUT", f"/v1/sketches/{name}", json=SPEC).raise_for_status()
    return f"/sketches/{name}"


def looks(page: Page, times: int, path: str) -> None:
    """Wait until the page has asked for a path so many times more."""
    for _ in range(times):
        with page.expect_response(path):
            pass


def test_a_service_that_hangs_is_out_of_reach(tmp_path: Path, opened: Open) -> None:
    with serving(tmp_path, 1) as service:
        tab = opened(service, made(service, "hanging")).at("hanging")
        expect(tab.page.get_by_role("banner")).to_contain_text("Ready")
        processes = [service.process.pid, *service.workers()]
        for one in processes:
            os.kill(one, signal.SIGSTOP)
        try:
            expect(tab.page.get_by_role("banner")).to_contain_text(
                "Unreachable", timeout=1000 * HANGING_SECONDS
            )
            # What was last known stays, with its time.
            expect(tab.page.locator(".as-of")).to_contain_text(
                "as of", timeout=1000 * HANGING_SECONDS
            )
        finally:
            for one in processes:
                os.kill(one, signal.SIGCONT)
        expect(tab.page.get_by_role("banner")).to_contain_text("Ready")
        expect(tab.page.locator(".as-of")).to_have_text("")


def test_numbers_that_move_are_not_read_out(service: Service, opened: Open) -> None:
    place = made(service, "quiet")
    tab = opened(service, place).at("quiet")
    # Its name, and not the button beside it.
    expect(tab.page.get_by_role("heading", name="quiet", level=1, exact=True)).to_be_visible()
    expect(tab.fact("Update rate")).to_have_text("0/s")  # the charts are there
    tab.page.evaluate(_LISTEN)
    for at in (1, 2):
        update = {"index": [at], "delta": [1]}
        service.call("POST", f"/v1{place}/updates", json=update).raise_for_status()
        expect(tab.fact("Increments")).to_have_text(str(at))
    assert tab.page.evaluate("told") == []


def test_a_refusal_met_again_is_told_once(service: Service, opened: Open) -> None:
    tab = opened(service, made(service, "limited")).at("limited")
    tab.expects(REFUSED.format(status=429))
    answered = []

    def refuse(route: Route) -> None:
        answered.append(route)
        route.fulfill(
            status=429,
            headers={"Retry-After": "1", "X-Request-ID": f"request-{len(answered)}"},
            json={"title": "Too many", "code": "rate_limited", "detail": "over the limit"},
        )

    tab.page.route("**/v1/sketches/limited", refuse)
    alert = tab.page.get_by_role("alert")
    expect(alert).to_contain_text("request-1")
    tab.page.evaluate(_LISTEN)
    looks(tab.page, 1, "**/v1/sketches/limited")
    tab.page.wait_for_timeout(200)
    assert tab.page.evaluate("told") == []
    expect(alert).to_contain_text("request-1")
    tab.page.unroute("**/v1/sketches/limited")
    expect(alert).to_have_count(0)


def test_drawing_again_goes_on_after_a_failure(service: Service, opened: Open) -> None:
    place = made(service, "again")
    tab = opened(service, place).at("again")
    tab.expects(REFUSED.format(status=503))
    tab.page.get_by_label("again when updates come").check()
    expect(tab.panel("Draw")).to_contain_text("y is zero")
    tab.page.route(
        "**/samples", lambda route: route.fulfill(status=503, json={"detail": "busy"}), times=1
    )
    update = {"index": [5], "delta": [1]}
    service.call("POST", f"/v1{place}/updates", json=update).raise_for_status()
    # No other update comes, and yet what is shown ends as what there is.
    expect(tab.panel("Draw")).to_contain_text("1 of 16 were served")
    expect(tab.panel("Draw").get_by_role("alert")).to_have_count(0)


def test_first_refused_by_a_proxy_and_then_let_in(service: Service, opened: Open) -> None:
    tab = opened(service, None)
    tab.expects(REFUSED.format(status=503))
    for path in ("**/v1/whoami", "**/readyz"):
        tab.page.route(path, lambda route: route.fulfill(status=503, body="<h1>503</h1>"))
    tab.open().at("sketchd is not available")
    expect(tab.page.get_by_role("main")).to_contain_text("something between here and the service")
    tab.page.unroute("**/v1/whoami")
    tab.page.unroute("**/readyz")
    tab.at("Sketches")


def test_a_page_instead_of_an_answer(service: Service, opened: Open) -> None:
    tab = opened(service).at("Sketches")
    page = tab.page
    page.route("**/v1/sketches?**", lambda route: route.fulfill(body="<html>Log in</html>"))
    expect(page.get_by_role("alert")).to_contain_text("Not an answer of the service")
    page.unroute("**/v1/sketches?**")
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    "body",
    ['{"errors": "none"}', '{"errors": [null, {"loc": 1}]}', '{"detail": {"a": 1}}', "[1]", "null"],
)
def test_a_refusal_that_is_not_the_services(service: Service, opened: Open, body: str) -> None:
    tab = opened(service, made(service, "refused")).at("refused")
    tab.expects(REFUSED.format(status=502))
    tab.page.route("**/samples", lambda route: route.fulfill(status=502, body=body))
    tab.button("Draw").click()
    expect(tab.panel("Draw").get_by_role("alert")).to_contain_text("502")
    expect(tab.button("Draw")).to_be_enabled()
