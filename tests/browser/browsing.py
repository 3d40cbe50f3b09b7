"""A person's browser: one tab of a real Chromium that notes whatever must not happen in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

#: How long anything on the page may take; most of it is there within a tenth of a second.
PATIENCE_SECONDS: Final = 30.0
#: What Chromium writes to the console by itself for each request that was not answered 2xx.
REFUSED: Final = "Failed to load resource: the server responded with a status of {status} "
UNREACHABLE: Final = "Failed to load resource: net::ERR_"
_AXE: Final = (Path(__file__).parent / "vendor" / "axe.min.js").read_text("utf-8")
#: Every place of a browser where a page can leave something, and all that is in the document.
_LEFT_BEHIND: Final = """async () => ({
  storage: [localStorage, sessionStorage].map((one) => JSON.stringify({...one})),
  cookies: document.cookie,
  databases: (await indexedDB.databases()).map((one) => one.name),
  caches: await caches.keys(),
  history: JSON.stringify(history.state),
  address: location.href,
  name: window.name,
  document: document.documentElement.outerHTML,
  fields: [...document.querySelectorAll("input, textarea, select")].map((one) => one.value),
})"""

expect.set_options(timeout=1000 * PATIENCE_SECONDS)


@dataclass
class Tab:
    """One page, and what went wrong on it.

    origin: of the service; nothing else may be asked. expected: patterns of console messages
    that this test brings about.
    """

    page: Page
    origin: str
    expected: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(1000 * PATIENCE_SECONDS)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"not caught: {error}"))
        self.page.on("crash", lambda _: self.faults.append("the tab crashed"))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("dialog", self._asked_person)

    def _said(self, message: ConsoleMessage) -> None:
        # Violations of the policy are errors here too.
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _asked(self, url: str) -> None:
        if "{0.scheme}://{0.netloc}".format(urlsplit(url)) != self.origin:
            self.faults.append(f"another place was asked: {url}")

    def _asked_person(self, dialog: Any) -> None:
        self.faults.append(f"a dialog of the browser: {dialog.message}")
        dialog.dismiss()

    def expects(self, *texts: str) -> None:
        """This test brings these console messages about; texts are how they begin."""
        self.expected += [re.escape(f"console: {text}") for text in texts]

    def unexpected(self) -> list[str]:
        """The faults that no test has announced."""
        return [
            fault
            for fault in self.faults
            if not any(re.match(pattern, fault) for pattern in self.expected)
        ]

    # Where one is

    def open(self, place: str = "/") -> Tab:
        """Load the dashboard at a place behind the #."""
        self.page.goto(f"{self.origin}/dashboard#{place}")
        return self

    def go(self, place: str) -> Tab:
        """Change the place as a link does, without loading the page again."""
        self.page.evaluate("(place) => { location.hash = place; }", place)
        return self

    def at(self, title: str) -> Tab:
        """Wait for the page of this heading."""
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(title)
        return self

    def arrived(self, title: str) -> Tab:
        """The same, and its heading has the focus, for who listens instead of looking."""
        self.at(title)
        expect(self.page.get_by_role("heading", level=1)).to_be_focused()
        return self

    def enter_key(self, key: str) -> Tab:
        """Fill in the key that is asked for."""
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.get_by_role("button", name="Open").click()
        return self

    # What is on it

    def button(self, name: str) -> Locator:
        """The button of this name, and no other that only holds it."""
        return self.page.get_by_role("button", name=name, exact=True)

    def panel(self, heading: str) -> Locator:
        """The part of the page under this heading."""
        return self.page.get_by_role("region", name=heading, exact=True)

    def fact(self, term: str, among: Locator | None = None) -> Locator:
        """What stands beside a term: the first of its descriptions."""
        within = self.page.locator("body") if among is None else among
        named = self.page.locator("dt").get_by_text(term, exact=True)
        return within.locator("dl > div").filter(has=named).locator("dd").first

    def focused(self) -> str:
        """What has the focus: its role or tag, and its name as it is read out."""
        found: str = self.page.evaluate(
            """() => {
              const one = document.activeElement;
              const label = one.labels?.[0]?.innerText ?? one.getAttribute("aria-label");
              return `${one.tagName.toLowerCase()} ${(label ?? one.innerText ?? "").trim()}`;
            }"""
        )
        return found

    def tab_to(self, wanted: str, most: int = 60) -> Tab:
        """Press Tab until something of this name has the focus."""
        passed = []
        for _ in range(most):
            self.page.keyboard.press("Tab")
            passed.append(self.focused())
            if re.search(wanted, passed[-1]):
                return self
        raise AssertionError(f"no Tab leads to {wanted}: {passed}")

    # What must hold everywhere

    def check_accessible(self) -> None:
        """Fail for what axe finds: names of controls, contrast, landmarks, roles, order."""
        self.page.evaluate(_AXE)
        found = self.page.evaluate(
            """async () => {
              const told = await axe.run(document, {resultTypes: ["violations"]});
              return told.violations.map((one) => `${one.id}: ${one.help}: ` +
                one.nodes.map((node) => `${node.html} (${node.failureSummary})`).join("; "));
            }"""
        )
        assert not found, "\n".join(found)

    def check_fits(self) -> None:
        """Fail if the page is wider than the window, or text is cut off at its edge."""
        # Charts measure their box after a frame, and are drawn anew in the next.
        self.page.evaluate(
            """async () => {
              for (let at = 0; at < 3; at += 1) await new Promise(requestAnimationFrame);
            }"""
        )
        wide, window = self.page.evaluate(
            "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        outside = self.page.evaluate(
            """() => [...document.querySelectorAll("body *")].filter((one) => {
              const box = one.getBoundingClientRect();
              if (box.width === 0 || box.right <= innerWidth + 1) return false;
              for (let up = one.parentElement; up; up = up.parentElement) {
                if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(up).overflowX)) {
                  return false;
                }
              }
              return true;
            }).map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert wide <= window, f"{wide} pixels in a window of {window}: {outside[:3]}"
        assert not outside, outside[:3]

    def check_forgets(self, secret: str) -> None:
        """Fail if a secret can be found anywhere outside the memory of the page's script."""
        for place, left in self.page.evaluate(_LEFT_BEHIND).items():
            assert secret not in str(left), place
        for cookie in self.page.context.cookies():
            assert secret not in str(cookie)
        assert secret not in str(self.page.context.storage_state())
