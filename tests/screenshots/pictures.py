"""Which pictures of the dashboard the documents show, and how each page is brought to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Page

#: A picture is to be looked at in a document, not to be waited for.
MOST_BYTES: Final = 200_000


@dataclass(frozen=True, slots=True)
class Picture:
    """name: of the file, without suffix. address: behind the #. prepare: brings the page there.

    width, height: of the window in CSS pixels. dark: the colours.
    """

    name: str
    address: str
    prepare: Callable[[Page], None]
    width: int = 1280
    height: int = 800
    dark: bool = False


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


PICTURES: Final = [
    Picture("dashboard-list", "#/", _list, height=760),
    Picture("dashboard-create", "#/new", _create, height=860, dark=True),
]
