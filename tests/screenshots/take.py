"""A real service with content, a real browser, and a picture of each page."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from service.settings import Settings
from tests.screenshots import content
from tests.screenshots.pictures import MOST_BYTES, Picture
from tests.service.http_rig import running

_ADMIN_KEY: Final = "a-key-that-only-this-service-has-for-a-minute"
_ARGUMENTS: Final = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: Dots a CSS pixel: sharp on the screens of today.
_SCALE: Final = 2
_PATIENCE_MS: Final = 20_000


class NoBrowser(Exception):
    """There is nothing to take pictures with."""


def take(pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """Write folder/NAME.png for each picture. Raises NoBrowser, ValueError for one too large."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise NoBrowser("chromium is not installed; tests/system_packages.sh does where it may")
    settings = Settings(store="memory://", bootstrap_admin_key=_ADMIN_KEY)
    with running(settings) as service, sync_playwright() as playwright:
        url = str(service.client.base_url).rstrip("/")
        key = content.key_of_tenant(url, _ADMIN_KEY)
        content.fill(url, key)
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        try:
            return [_take(browser, url, key, one, folder) for one in pictures]
        finally:
            browser.close()


def _take(browser: Browser, url: str, key: str, picture: Picture, folder: Path) -> Path:
    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height},
        device_scale_factor=_SCALE,
        color_scheme="dark" if picture.dark else "light",
        reduced_motion="reduce",
        locale="en-GB",
    )
    try:
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        name = picture.streaming
        with content.streaming(url, key, name) if name else contextlib.nullcontext():
            _open(page, f"{url}/dashboard{picture.address}", key)
            picture.prepare(page)
            page.mouse.move(0, 0)  # nothing is to look as if it were pointed at
            path = folder / f"{picture.name}.png"
            path.write_bytes(_compressed(page.screenshot()))
    finally:
        context.close()
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path.name} has {size} bytes, over {MOST_BYTES}")
    return path


def _open(page: Page, address: str, key: str) -> None:
    page.goto(address)
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Open").click()
    page.get_by_role("button", name="Forget key").wait_for()


def _compressed(png: bytes) -> bytes:
    """The same picture in 256 colours: the page has few, and each is kept however small it is."""
    found = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
        few.save(found, "PNG", optimize=True)
    return found.getvalue()
