"""The dashboard as files: what is sent, under which headers, and what must not be in it.

What it does in a browser is tested in tests/browser.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.http_access import ROLES
from service.http_dashboard import dashboard
from service.settings import Settings
from tests.service.http_rig import Service, assert_problem, running
from tests.tidy.tree import ROOT, files

FOLDER = ROOT / "service" / "dashboard"
VENDOR = FOLDER / "vendor"
#: preact/standalone.module.js of htm 3.1.1.
VENDOR_SHA256 = "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"
OURS = [path for path in files(FOLDER) if VENDOR not in path.parents]
#: What would make HTML or code of text, or ask another host; the reason to ban each is the same.
BANNED = {
    "html of text": re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|DOMParser"
        r"|document\.write|createContextualFragment|srcdoc|setHTML"
    ),
    "code of text": re.compile(r"\beval\(|new Function\(|javascript:|import\("),
    "another host": re.compile(r"(?<![\w:])(?:https?|wss?):?//(?!www\.w3\.org/2000/svg\")|\burl\("),
    "key in storage": re.compile(r"sessionStorage|indexedDB|document\.cookie"),
    "indices that lose digits": re.compile(r"Number\(\s*index|parseInt\("),
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    # With keys: whoever has none must still get the page, for it is what asks for one.
    with running(Settings(store="memory://", bootstrap_admin_key="k" * 32)) as found:
        yield found


def linked(page: httpx.Response) -> list[str]:
    """What the page loads by itself."""
    return re.findall(r'(?:src|href)="(/dashboard/assets/[^"]+)"', page.text)


def test_everybody_gets_the_page_under_a_strict_policy(service: Service) -> None:
    page = service.client.get("/dashboard")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].split("; ") == [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
        "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        "require-trusted-types-for 'script'", "trusted-types 'none'",
    ]  # fmt: skip
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert page.headers["cache-control"] == "no-cache"
    assert all(ROLES[entry] is None for entry in ROLES if "dashboard" in entry[1])


@pytest.mark.parametrize("path", ["/", "/dashboard/"])
def test_what_one_may_type_leads_to_the_page(service: Service, path: str) -> None:
    answer = service.client.get(path)
    assert (answer.status_code, answer.headers["location"]) == (307, "/dashboard")


def test_every_file_is_sent_with_its_type(service: Service) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    sent = 0
    for name, content in dashboard().assets.items():
        answer = service.client.get(f"/dashboard/assets/{dashboard().digest}/{name}")
        assert answer.status_code == 200, name
        assert answer.content == content
        kind = answer.headers["content-type"].split(";")[0]
        assert kind == types.get(Path(name).suffix, "text/plain"), name
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "immutable" in answer.headers["cache-control"]
        sent += 1
    assert sent >= 15
    page = service.client.get("/dashboard")
    assert {path.rpartition("/")[2] for path in linked(page)} >= {"app.js", "base.css", "icon.svg"}
    assert all(service.client.get(path).status_code == 200 for path in linked(page))


def test_the_page_is_sent_again_only_when_anything_has_changed(service: Service) -> None:
    page = service.client.get("/dashboard")
    known = {"if-none-match": f'"other", W/{page.headers["etag"]}'}
    again = service.client.get("/dashboard", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == page.headers["etag"]
    assert "content-security-policy" in again.headers
    old = service.client.get("/dashboard", headers={"if-none-match": '"other"'})
    assert old.status_code == 200


def test_files_of_another_version_are_refused(service: Service) -> None:
    digest = dashboard().digest
    for path in (
        "/dashboard/assets/0123456789abcdef/app.js",
        f"/dashboard/assets/{digest}/gone.js",
        f"/dashboard/assets/{digest}/index.html",
        f"/dashboard/assets/{digest}/..%2f..%2fapp.py",
        f"/dashboard/assets/{digest}/%2e%2e/http_dashboard.py",
        f"/dashboard/assets/{digest}//etc/passwd",
    ):
        problem = service.client.get(path)
        assert "immutable" not in problem.headers.get("cache-control", "")
        # What leaves the folder is no route: who has no key is not told so.
        if problem.status_code != 401:
            assert_problem(problem, 404, "route_not_found")


def test_the_digest_is_of_every_file() -> None:
    found = dashboard()
    assert set(found.assets) == {
        path.relative_to(FOLDER).as_posix()
        for path in files(FOLDER)
        if path.suffix in (".js", ".css", ".svg", ".txt")
    }
    assert found.digest.encode() in found.page
    assert b'="assets/' not in found.page


def test_what_others_wrote_is_what_they_published() -> None:
    vendored = (VENDOR / "htm-preact.js").read_bytes()
    assert hashlib.sha256(vendored).hexdigest() == VENDOR_SHA256
    assert "Apache License" in (VENDOR / "htm-LICENSE.txt").read_text("utf-8")
    assert "MIT License" in (VENDOR / "preact-LICENSE.txt").read_text("utf-8")


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_makes_html_of_text_or_asks_another_host(path: Path) -> None:
    text = path.read_text("utf-8")
    found = [
        f"{path.name}:{number}: {reason}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), 1)
        for reason, pattern in BANNED.items()
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)
    if path.name != "theme.js" and path.name != "shell.js":
        assert "localStorage" not in text, "only the theme is remembered"
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    longest = 500 if path.suffix == ".css" else 400
    assert text.count("\n") <= longest, "a file that long has two subjects"


def test_the_ban_bites() -> None:
    lines = {
        "html of text": "element.innerHTML = name",
        "code of text": 'setTimeout(() => eval("x"))',
        "another host": 'fetch("https://elsewhere.example/x")',
        "key in storage": "sessionStorage.key = key",
        "indices that lose digits": "Number(index[0])",
    }
    for reason, line in lines.items():
        assert BANNED[reason].search(line), reason
    assert not BANNED["another host"].search('xmlns="http://www.w3.org/2000/svg"')


def test_both_ways_to_the_dark_theme_are_the_same() -> None:
    text = (FOLDER / "styles" / "base.css").read_text("utf-8")
    system, chosen = (
        re.findall(r"--?[\w-]+: [^;]+|color-scheme: \w+", text.split(selector, 1)[1].split("}")[0])
        for selector in (':root:not([data-theme="light"]) {', ':root[data-theme="dark"] {')
    )
    assert system == chosen
    assert len(system) > 20
