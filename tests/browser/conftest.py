"""A Chromium a file, a tab a test, and the services they look at. A failure leaves a picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.browsing import Tab
from tests.end_to_end.workers import ROOT, Service, serving
from tests.programs import needed

#: As root it needs no sandbox to start; the rest keeps it from asking the world for anything.
_ARGUMENTS: Final = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
ADMIN: Final = "the-first-admin-key-of-a-service-in-a-browser-test"
#: Where pictures of failures go, out of what is checked in.
_PICTURES: Final = ROOT / "build" / "browser"
_FAILED: Final = pytest.StashKey[bool]()

Open = Callable[..., Tab]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know that their test has failed."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window. Of a module: playwright keeps a loop running."""
    program = needed("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens tabs, each in a profile of its own; none may end with a fault nobody expected."""
    tabs: list[Tab] = []

    def open_tab(service: Service, place: str | None = "/", **profile: Any) -> Tab:
        viewport = profile.pop("viewport", {"width": 1280, "height": 900})
        context = chromium.new_context(viewport=viewport, locale="en-GB", **profile)
        tabs.append(Tab(context.new_page(), service.url))
        return tabs[-1] if place is None else tabs[-1].open(place)

    yield open_tab
    faults = [fault for tab in tabs for fault in tab.unexpected()]
    if faults or request.node.stash.get(_FAILED, False):
        _PICTURES.mkdir(parents=True, exist_ok=True)
        for at, tab in enumerate(tabs):
            name = re.sub(r"[^\w.-]+", "-", request.node.name)
            tab.page.screenshot(path=_PICTURES / f"{name}-{at}.png", full_page=True)
    for tab in tabs:
        tab.page.context.close()
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without keys."""
    with serving(tmp_path_factory.mktemp("open"), 1) as found:
        yield found


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that demands keys; ADMIN is one."""
    folder: Path = tmp_path_factory.mktemp("keyed")
    with serving(folder, 1, bootstrap_admin_key=ADMIN, access_refresh_seconds=0.1) as found:
        yield found
