"""What the page's policy keeps from happening, and that the tests would see it happen."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.browser.browsing import PATIENCE_SECONDS
from tests.browser.conftest import Open
from tests.end_to_end.workers import Service

#: What an attacker would do with a hole in the page, and what the browser says to it.
FORBIDDEN = {
    "markup from text": (
        "document.body.innerHTML = '<img src=x onerror=\"window.broken = 1\">'", "TrustedHTML",
    ),
    "an inline script": (
        """{ const one = document.createElement("div");
             one.setAttribute("onclick", "window.broken = 1");
             document.body.append(one); one.click(); }""", "TrustedScript",
    ),
    "a script from elsewhere": (
        """{ const one = document.createElement("script");
             one.setAttribute("src", "http://127.0.0.2:1/x.js");
             document.body.append(one); }""", "TrustedScriptURL",
    ),
    "a request to elsewhere": (
        "fetch('http://127.0.0.2:1/?key').catch(() => {})", "Content Security Policy",
    ),
    "a form to elsewhere": (
        """{ const one = document.createElement("form"); one.action = "http://127.0.0.2:1/";
             document.body.append(one); one.submit(); }""", "Content Security Policy",
    ),
    "a frame": (
        """{ const one = document.createElement("iframe"); one.src = "/docs";
             document.body.append(one); }""", "Content Security Policy",
    ),
    "another base": (
        """{ const one = document.createElement("base"); one.href = "http://127.0.0.2:1/";
             document.head.append(one); }""", "Content Security Policy",
    ),
    "code from text": ("setTimeout('window.broken = 1', 0)", "TrustedScript"),
    "an error": ("setTimeout(() => { throw new Error('oops'); }, 0)", "oops"),
    "a complaint": ("console.error('something is wrong')", "something is wrong"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_must_not_happen_is_refused_and_seen(
    service: Service, opened: Open, what: str
) -> None:
    code, said = FORBIDDEN[what]
    tab = opened(service).at("Sketches")
    assert tab.unexpected() == []
    address = tab.page.url
    tab.page.evaluate(f"() => {{ try {{ {code} }} catch (error) {{ console.error(error); }} }}")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(said in fault for fault in tab.unexpected()):
        assert time.monotonic() < deadline, tab.unexpected()
        tab.page.wait_for_timeout(20)
    assert tab.page.evaluate("() => window.broken") is None
    assert tab.page.url == address
    tab.faults.clear()


def test_the_page_is_in_no_frame_of_another(service: Service, opened: Open) -> None:
    tab = opened(service).at("Sketches")
    headers = service.call("GET", "/dashboard").headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    expect(tab.page.locator("iframe, object, embed")).to_have_count(0)
