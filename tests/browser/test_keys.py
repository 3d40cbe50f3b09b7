"""Access keys in a browser: asked for, wrong, too weak, removed, left nowhere, and guarded by the
page's policy, which is tried here too."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from playwright.sync_api import Route, expect

from tests.browser.browsing import PATIENCE_SECONDS, REFUSED, Tab
from tests.browser.conftest import ADMIN, Open
from tests.end_to_end.workers import Service

SPEC = {"kind": "vector", "shape": {"n": 1000}, "seed": 7}
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
        "fetch('http://127.0.0.2:1/?key').catch(() => {})", "connect-src",
    ),
    "a form to elsewhere": (
        """{ const one = document.createElement("form"); one.action = "http://127.0.0.2:1/";
             document.body.append(one); one.submit(); }""", "form-action",
    ),
    "a frame": (
        """{ const one = document.createElement("iframe"); one.src = "/docs";
             document.body.append(one); }""", "default-src 'none'",
    ),
    "another base": (
        """{ const one = document.createElement("base"); one.href = "http://127.0.0.2:1/";
             document.head.append(one); }""", "base-uri",
    ),
    "code from text": ("setTimeout('window.broken = 1', 0)", "TrustedScript"),
    "an error": ("setTimeout(() => { throw new Error('oops'); }, 0)", "oops"),
    "a complaint": ("console.error('something is wrong')", "something is wrong"),
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """An access key of a tenant."""

    text: str
    id: str

    @property
    def header(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.text}"}


def key_of(service: Service, tenant: str, role: str) -> Key:
    """A new key; the tenant is made if need be."""
    admin = {"authorization": f"Bearer {ADMIN}"}
    service.call("PUT", f"/v1/admin/tenants/{tenant}", headers=admin, json={}).raise_for_status()
    made = service.call(
        "POST", "/v1/admin/keys", headers=admin, json={"tenant": tenant, "role": role}
    )
    return Key(made.json()["key"], made.json()["id"])


def remove(service: Service, key: Key) -> None:
    """Let a key work no longer."""
    admin = {"authorization": f"Bearer {ADMIN}"}
    service.call("DELETE", f"/v1/admin/keys/{key.id}", headers=admin).raise_for_status()


def asked(service: Service, opened: Open, place: str = "/") -> Tab:
    """A tab that asks for a key."""
    tab = opened(service, place)
    tab.expects(REFUSED.format(status=401))
    return tab.at("Access key")


def test_a_wrong_key_is_told_and_a_right_one_opens(keyed: Service, opened: Open) -> None:
    right = key_of(keyed, "acme", "write")
    tab = asked(keyed, opened, "/new")
    page = tab.page
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    tab.check_accessible()
    tab.enter_key("")
    expect(page.get_by_label("Key", exact=True)).to_have_attribute("aria-invalid", "true")
    for wrong in (right.text[:-1] + "!", "<script>alert(1)</script>", "ключ", "x" * 600):
        tab.enter_key(wrong)
        expect(page.get_by_label("Key", exact=True)).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label("Key", exact=True)).to_have_value("")
        expect(page.get_by_role("heading", level=1)).to_have_text("Access key")
        tab.check_forgets(wrong)
    tab.enter_key(right.text)
    tab.at("New sketch")  # where one wanted to go
    expect(page.get_by_role("banner")).to_contain_text("acme")
    expect(page.get_by_role("banner")).to_contain_text("write")


def test_a_key_is_kept_in_memory_alone(keyed: Service, opened: Open) -> None:
    key = key_of(keyed, "memory", "write")
    tab = asked(keyed, opened)
    tab.enter_key(key.text).at("Sketches")
    tab.check_forgets(key.text)
    tab.check_forgets(key.text.rpartition("_")[2])
    tab.go("/new").at("New sketch")
    tab.page.get_by_label("Name").fill("memory.a")
    tab.page.get_by_label("Length n").fill("1000")
    expect(tab.panel("As a request")).to_contain_text("$SKETCHD_KEY")
    tab.check_forgets(key.text)
    tab.button("Create sketch").click()
    tab.at("memory.a")
    tab.button("Draw").click()
    tab.page.get_by_text("As curl").first.click()
    expect(tab.panel("Draw")).to_contain_text("$SKETCHD_KEY")
    tab.check_forgets(key.text)
    tab.page.go_back()
    tab.at("New sketch")
    tab.page.reload()
    tab.at("Access key")  # gone with the page
    tab.check_forgets(key.text)
    tab.enter_key(key.text).at("New sketch")
    tab.button("Forget key").click()
    tab.at("Access key")
    tab.check_forgets(key.text)


def test_who_may_only_read_is_shown_no_button_that_would_fail(keyed: Service, opened: Open) -> None:
    writer, reader = key_of(keyed, "shop", "write"), key_of(keyed, "shop", "read")
    keyed.call("PUT", "/v1/sketches/s", headers=writer.header, json=SPEC).raise_for_status()
    update = {"index": [1], "delta": [1]}
    keyed.call("POST", "/v1/sketches/s/updates", headers=writer.header, json=update)
    tab = asked(keyed, opened)
    tab.enter_key(reader.text).at("Sketches")
    page = tab.page
    expect(page.get_by_role("main").get_by_role("link", name="New sketch")).to_have_count(0)
    tab.go("/sketches/s").at("s")
    expect(tab.fact("Increments")).to_have_text("1")
    expect(tab.button("Delete…")).to_have_count(0)
    expect(tab.button("Seal…")).to_have_count(0)
    tab.button("Draw").click()
    expect(page.get_by_role("region", name="The draws as a table")).to_be_visible()
    tab.button("Norm").click()
    expect(tab.panel("Norm").locator("strong")).to_have_text("1")
    tab.go("/new").at("New sketch")
    expect(tab.button("Create sketch")).to_have_count(0)
    expect(page.get_by_role("main")).to_contain_text("role read")
    page.get_by_label("Length n").fill("1000000")
    expect(tab.fact("Method")).to_contain_text("sketch")
    tab.check_accessible()


def test_a_tenant_sees_its_own_alone(keyed: Service, opened: Open) -> None:
    mine, theirs = key_of(keyed, "mine", "read"), key_of(keyed, "theirs", "write")
    for name in ("theirs.a", "theirs.b"):
        keyed.call("PUT", f"/v1/sketches/{name}", headers=theirs.header, json=SPEC)
    tab = asked(keyed, opened)
    tab.enter_key(mine.text).at("Sketches")
    expect(tab.page.get_by_role("heading", name="No sketches yet")).to_be_visible()
    tab.expects(REFUSED.format(status=404))
    tab.go("/sketches/theirs.a").at("theirs.a")
    expect(tab.page.get_by_role("heading", name="No such sketch")).to_be_visible()


@pytest.mark.parametrize("place", ["/", "/sketches/left"])
def test_a_key_that_is_removed_while_the_page_is_open(
    keyed: Service, opened: Open, place: str
) -> None:
    keeper, going = key_of(keyed, "left", "write"), key_of(keyed, "left", "read")
    keyed.call("PUT", "/v1/sketches/left", headers=keeper.header, json=SPEC)
    tab = asked(keyed, opened, place)
    tab.enter_key(going.text).at("Sketches" if place == "/" else "left")
    expect(tab.page.get_by_text("left", exact=True).first).to_be_visible()
    remove(keyed, going)
    tab.at("Access key")
    expect(tab.page.get_by_role("main")).to_contain_text("works no longer")
    assert keyed.call("GET", "/v1/whoami", headers=going.header).status_code == 401
    tab.check_forgets(going.text)
    tab.enter_key(keeper.text).at("Sketches" if place == "/" else "left")


def test_an_answer_to_the_key_before_is_nobodys(keyed: Service, opened: Open) -> None:
    first, second = key_of(keyed, "before", "write"), key_of(keyed, "after", "read")
    tab = asked(keyed, opened)
    page, banner = tab.page, tab.page.get_by_role("banner")
    tab.enter_key(first.text).at("Sketches")
    tab.go("/new").at("New sketch")
    page.get_by_label("Name").fill("of.the.first")
    # The page asks again who it is once the service is back; that answer is late.
    held: list[Route] = []
    page.route("**/v1/whoami", lambda route: route.continue_() if held else held.append(route))
    tab.expects(REFUSED.format(status=503))
    page.route("**/readyz", lambda route: route.fulfill(status=503))
    expect(banner).to_contain_text("Not ready")
    page.unroute("**/readyz")
    expect(banner).to_contain_text("Ready")
    tab.button("Forget key").click()
    tab.enter_key(second.text).at("New sketch")
    expect(page.get_by_label("Name")).to_have_value("")
    with page.expect_response("**/v1/whoami"):
        held[0].continue_()
    page.wait_for_timeout(200)
    expect(banner).to_contain_text("after")
    assert "before" not in banner.inner_text()


def test_what_the_policy_forbids_is_refused_and_seen(keyed: Service, opened: Open) -> None:
    tab = asked(keyed, opened)
    address = tab.page.url
    for what, (code, said) in FORBIDDEN.items():
        before = len(tab.unexpected())
        tab.page.evaluate(f"() => {{ try {{ {code} }} catch (error) {{ console.error(error); }} }}")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any(said in fault for fault in tab.unexpected()[before:]):
            assert time.monotonic() < deadline, (what, tab.unexpected())
            tab.page.wait_for_timeout(20)
        assert tab.page.evaluate("() => window.broken") is None, what
        assert tab.page.url == address, what
    tab.faults.clear()
    policy = keyed.call("GET", "/dashboard").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
