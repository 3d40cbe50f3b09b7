"""Which pictures of the dashboard the documents show, and how each page is brought to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Page

from tests.screenshots import content

#: A picture is to be looked at in a document, not to be waited for.
MOST_BYTES: Final = 200_000


@dataclass(frozen=True, slots=True)
class Picture:
    """name: of the file, without suffix. address: behind the #. prepare: brings the page there.

    width, height: of the window in CSS pixels. dark: the colours. streaming: the sketch into which
    updates stream meanwhile, or None.
    """

    name: str
    address: str
    prepare: Callable[[Page], None]
    width: int = 1280
    height: int = 800
    dark: bool = False
    streaming: str | None = None


def _list(page: Page) -> None:
    page.get_by_role("link", name="clicks.by-page").wait_for()


def _create(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("llama.layer12.head3.keys")
    page.get_by_text("Matrix", exact=True).click()
    page.get_by_label("Rows of A, n").fill("2,000,000")
    page.get_by_label("Columns of A, d").fill("128")
    page.get_by_label("Samples").fill("32")
    page.get_by_text("Error of an estimate").wait_for()
    page.locator(".plan .is-stale").wait_for(state="detached")


def _draw(page: Page, count: int) -> None:
    page.get_by_label("Count").fill(str(count))
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("region", name="The draws as a table").wait_for()
    page.get_by_text("Size against the dense operands").wait_for()
    page.evaluate("document.activeElement.blur()")


def _vector(page: Page) -> None:
    # Charts of the last minutes are dull before anything has been seen of them.
    page.get_by_label("again when updates come").check()
    page.wait_for_timeout(1000 * _WATCHED_SECONDS)
    _draw(page, 24)


def _numbers_and_draws(page: Page) -> None:
    # The caption says that latencies are left out; with them it would be too long for a README.
    _vector(page)
    page.get_by_role("figure", name="Latency").evaluate(_WITHOUT)
    page.get_by_role("heading", name="Live").evaluate(_TO_TOP)


def _matrix(page: Page) -> None:
    query = content.query_of_head()
    page.get_by_label("Query x").fill(", ".join(f"{number:g}" for number in query))
    _draw(page, 32)
    page.locator("#query-heading").evaluate(_TO_TOP)


def _tensor(page: Page) -> None:
    page.get_by_role("button", name="the identity").click()
    _draw(page, 300)
    page.locator("#query-heading").evaluate(_TO_TOP)


#: How long the live charts are left to fill.
_WATCHED_SECONDS: Final = 24
_WITHOUT: Final = "(one) => { one.style.display = 'none' }"
#: Below the bar that stays at the top.
_TO_TOP: Final = "(one) => scrollTo(0, one.getBoundingClientRect().top + scrollY - 80)"

PICTURES: Final = [
    Picture("dashboard-list", "#/", _list, height=760),
    Picture("dashboard-create", "#/new", _create, height=860, dark=True),
    Picture(
        "dashboard-vector", f"#/sketches/{content.CLICKS}", _vector, height=1350,
        streaming=content.CLICKS,
    ),
    # As wide as code hosts show a README, so that its text can be read there.
    Picture(
        "dashboard-readme", f"#/sketches/{content.CLICKS}", _numbers_and_draws,
        width=960, height=1000, streaming=content.CLICKS,
    ),
    Picture("dashboard-matrix", f"#/sketches/{content.HEAD}", _matrix, height=960, dark=True),
    Picture("dashboard-tensor", f"#/sketches/{content.PAIRS}", _tensor, height=1080),
]  # fmt: skip
