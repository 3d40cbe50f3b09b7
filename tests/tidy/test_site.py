"""The documentation as a site: built strictly, whole, and with nothing fetched from elsewhere."""

from __future__ import annotations

import functools
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.programs import needed
from tests.tidy.tree import ROOT

mkdocs_config = pytest.importorskip("mkdocs.config", reason="mkdocs needs Python below 3.15")

#: Tags and attributes whose addresses a browser fetches without being asked.
FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "use": ("href", "xlink:href"),
}
#: Kinds of <link> that only name something.
NAMING = {"canonical", "next", "prev", "alternate", "author", "license"}
_CSS_ADDRESS = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")
#: Where Markdown of a code host and of the site differ, the built page shows its source.
_UNREAD = re.compile(r"^(?:[-*] |\d+\. |\| ?-{3}|#{1,6} |```)", re.MULTILINE)


class Page(HTMLParser):
    """What a built page fetches, and the text of its paragraphs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.paragraphs: list[str] = []
        self._styles = False
        self._in_paragraph = False
        self._in_code = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.fetched += [given[name] for name in FETCHED.get(tag, ()) if given.get(name)]
        if tag == "link" and not NAMING & set(given.get("rel", "").split()):
            self.fetched.append(given.get("href", ""))
        self.fetched += addresses(given.get("style", ""))
        self._styles = tag == "style"
        self._in_code |= tag == "code"
        if tag == "p":
            self._in_paragraph = True
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        self._styles = False
        if tag == "code":
            self._in_code = False
        if tag == "p":
            self._in_paragraph = False

    def handle_data(self, data: str) -> None:
        if self._styles:
            self.fetched += addresses(data)
        if self._in_paragraph and not self._in_code:
            self.paragraphs[-1] += data


def addresses(css: str) -> list[str]:
    """What a style sheet fetches."""
    return [one or other for one, other in _CSS_ADDRESS.findall(css)]


def is_outside(address: str) -> bool:
    """Whether an address leads to another host."""
    return bool(re.match(r"(?:[a-z][a-z0-9+.-]*:)?//", address.strip(), flags=re.IGNORECASE))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A warning of the build is a failure of the fixture."""
    folder = tmp_path_factory.mktemp("site")
    done = _build(ROOT / "mkdocs.yml", folder)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARNING" not in said
    return folder


def _build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def navigated(entries: Any) -> Iterator[str]:
    """The files that a navigation names."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from navigated(value) if isinstance(value, list) else [value]


def _navigation() -> list[str]:
    from docs.reference import site_hooks

    logging.getLogger("mkdocs").setLevel(logging.ERROR)
    config = mkdocs_config.load_config(str(ROOT / "mkdocs.yml"))
    return list(navigated(site_hooks.on_config(config)["nav"]))


def test_every_page_is_in_the_navigation_once() -> None:
    pages = sorted(path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md"))
    assert sorted(_navigation()) == pages


def test_every_page_is_built(site: Path) -> None:
    for page in _navigation():
        assert (site / page).with_suffix(".html").is_file(), page
    assert list(site.rglob("*.py")) == []


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    outside = [
        f"{path.relative_to(site)}: {address}"
        for path in site.rglob("*.html")
        for address in Page(path.read_text("utf-8")).fetched
        if is_outside(address)
    ]
    outside += [
        f"{path.relative_to(site)}: {address}"
        for path in site.rglob("*.css")
        for address in addresses(path.read_text("utf-8"))
        if is_outside(address)
    ]
    assert outside == []


def test_pages_read_on_the_site_as_on_a_code_host(site: Path) -> None:
    """A list without an empty line above is a list to code hosts, and a paragraph to MkDocs."""
    unread = [
        f"{path.relative_to(site)}: {paragraph[:80]!r}"
        for path in site.rglob("*.html")
        for paragraph in Page(path.read_text("utf-8")).paragraphs
        if _UNREAD.search(paragraph)
    ]
    assert unread == []


@pytest.mark.parametrize(
    ("link", "warnings"),
    [
        ("[a page](other.md#a-place), [this](#a-page), [elsewhere](https://example.org)", 0),
        ("[a page](gone.md)", 1),
        ("[a place](other.md#gone)", 1),
        ("[a file](../README.md)", 1),
        ("[a path](/other.md)", 1),
    ],
)
def test_a_broken_link_stops_the_build(link: str, warnings: int, tmp_path: Path) -> None:
    head, _, _ = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")
    head = head.replace("hooks:\n  - docs/reference/site_hooks.py\n", "")
    (tmp_path / "mkdocs.yml").write_text(f"{head}\nnav: [index.md, other.md]\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{link}\n")
    (tmp_path / "docs" / "other.md").write_text("# Another\n\n## A place\n")
    done = _build(tmp_path / "mkdocs.yml", tmp_path / "site")
    said = done.stdout + done.stderr
    assert done.returncode == (1 if warnings else 0), said
    assert said.count("WARNING") == warnings


def test_the_reader_of_pages_reads() -> None:
    page = Page(
        '<script src="//cdn.example/a.js"></script><link rel="stylesheet" href="https://b/c.css">'
        '<link rel="canonical" href="https://example.org/"><img src="images/d.png">'
        "<style>@import 'http://e/f.css'; p {background: url(\"https://g/h.png\")}</style>"
        '<p style="background: url(//i/j.png)">Text:\n- no list</p><a href="https://k/">k</a>'
    )
    assert [address for address in page.fetched if is_outside(address)] == [
        "//cdn.example/a.js", "https://b/c.css", "http://e/f.css", "https://g/h.png", "//i/j.png",
    ]  # fmt: skip
    assert not is_outside("images/d.png")
    assert not is_outside("data:image/svg+xml;utf8,a")
    assert _UNREAD.search(page.paragraphs[0])
    assert not _UNREAD.search(
        Page("<p>Use\n<code>```sh</code>, or\n<code>- 1</code></p>").paragraphs[0]
    )


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site over HTTP: a browser lets no search run in files."""
    handler = functools.partial(Silent, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


class Silent(SimpleHTTPRequestHandler):
    """Writes no line for each request."""

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_reads_it_without_leaving_the_host(address: str, scheme: str) -> None:
    """At a phone's width: no error, nothing asked of others, no sideways scrolling; it searches."""
    from playwright.sync_api import sync_playwright

    executable = needed("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            page = browser.new_page(
                color_scheme=scheme,  # type: ignore[arg-type]
                viewport={"width": 390, "height": 800},
            )
            asked: list[str] = []
            errors: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            for name in ("index.html", "for-researchers.html", "reference/http.html"):
                page.goto(f"{address}/{name}", wait_until="load")
                assert page.locator("h1").first.inner_text()
                assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
                shown = page.evaluate("document.body.getAttribute('data-md-color-scheme')")
                assert shown == {"light": "default", "dark": "slate"}[scheme]
            page.locator("label.md-header__button[for=__search]").click()
            page.get_by_text("Type to start searching").wait_for(
                timeout=20_000
            )  # the index is read
            page.get_by_role("textbox").press_sequentially("oblivious")
            found = page.locator("a.md-search-result__link", has_text="Questions and answers")
            found.first.wait_for(state="visible", timeout=20_000)
            here = (address, "data:", "blob:")
            assert [url for url in asked if not url.startswith(here)] == []
            assert errors == []
        finally:
            browser.close()
