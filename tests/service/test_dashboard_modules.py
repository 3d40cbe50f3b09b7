"""The dashboard's modules that draw nothing, called in the browser they are written for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from service.http_dashboard import dashboard
from service.settings import Settings
from tests.programs import needed
from tests.service.http_rig import running

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    chromium = needed("chromium")
    with running(Settings(store="memory://")) as service, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        tab = browser.new_page(timezone_id="UTC")
        tab.goto(f"{str(service.client.base_url).rstrip('/')}/dashboard")
        yield tab
        browser.close()


def call(page: Page, module: str, function: str, *arguments: object) -> Any:
    """What a function of a module returns; a BigInt comes as "123n"."""
    script = """async ([path, name, values]) => {
      const module = await import(path);
      const found = await module[name](...values);
      return typeof found === "bigint" ? `${found}n` : found;
    }"""
    path = f"/dashboard/assets/{dashboard().digest}/{module}"
    return page.evaluate(script, [path, function, list(arguments)])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"n": 9007199254740993}', {"n": "9007199254740993"}),
        ("[9007199254740991, -9007199254740993]", [9007199254740991, "-9007199254740993"]),
        ('["12345678901234567890", "a\\"9007199254740993"]',
         ["12345678901234567890", 'a"9007199254740993']),
        ("[0.12345678901234567, 1e300, 1.5]", [0.12345678901234567, 1e300, 1.5]),
        ("null", None),
    ],
)  # fmt: skip
def test_reading_json_keeps_every_digit(page: Page, text: str, value: object) -> None:
    assert call(page, "json.js", "readJson", text) == value


def test_writing_json_keeps_every_digit(page: Page) -> None:
    script = """async (path) => {
      const { writeJson, typedNumber } = await import(path);
      return writeJson({
        n: typedNumber("9223372036854775807"), seed: typedNumber("7"), none: undefined,
        text: "9007199254740993", list: [typedNumber("2^60")],
      });
    }"""
    written = page.evaluate(script, f"/dashboard/assets/{dashboard().digest}/json.js")
    assert json.loads(written) == {
        "n": 9223372036854775807, "seed": 7, "text": "9007199254740993", "list": [2**60]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,000,000", 1000000), ("1 000", 1000), ("1_000", 1000), ("1e6", 1000000), ("2^20", 1048576),
     (" -3 ", -3), ("0.5", 0.5), ("2^63", "9223372036854775808n"), ("1,00", "1,00"),
     ("many", "many"), ("9007199254740993", "9007199254740993n"), ("", None)],
)  # fmt: skip
def test_numbers_are_read_as_people_type_them(page: Page, text: str, number: object) -> None:
    assert call(page, "json.js", "typedNumber", text) == number


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [("bytes", 226560, "227\u00a0KB"), ("bytes", 999, "999\u00a0B"),
     ("bytes", 999_999, "1\u00a0MB"), ("bytes", None, "–"),
     ("count", "9223372036854775807", "9,223,372,036,854,775,807"),
     ("count", 0, "0"), ("rate", 1234.5, "1,235/s"), ("rate", 0.25, "0.25/s"),
     ("seconds", 0.0011, "1.1\u00a0ms"), ("seconds", 4.2e-05, "42\u00a0µs"),
     ("seconds", 5400, "1\u00a0h 30\u00a0min"), ("probability", 0.1234, "12.3\u00a0%"),
     ("probability", 3e-9, "3e-7\u00a0%"), ("probability", 1.25e-5, "0.00125\u00a0%"),
     ("probability", 1, "100\u00a0%"), ("probability", 0.99993, ">99.9\u00a0%"),
     ("probability", 0, "0\u00a0%"), ("until", None, "never"),
     ("until", "2001-01-01T00:00:00Z", "expired"), ("law", {"power": 2.0}, "|y|²"),
     ("factor", 1.44, "1.4"), ("factor", 563.4, "563"),
     ("factor", 9.4e13, "94 trillion"), ("bytes", 2**63 * 8, "73.8\u00a0EB"),
     ("law", {"power": 1.5}, "|y|^1.5"), ("law", {"softmax": {"temperature": 2}},
      "softmax, T\u00a0=\u00a02")],
)  # fmt: skip
def test_numbers_are_shown_as_people_read_them(
    page: Page, function: str, value: object, shown: str
) -> None:
    assert call(page, "format.js", function, value) == shown


@pytest.mark.parametrize(
    ("seconds", "failures", "waits", "pause"),
    [(2, 0, 0, 2), (600, 0, 0, 600),  # as agreed, however long
     (2, 1, 0, 4), (2, 9, 0, 15), (600, 1, 0, 15),
     (2, 1, 30, 30), (2, 9, 3, 15), (2, 1, 86400, 300)],
)  # fmt: skip
def test_how_long_until_the_next_question(
    page: Page, seconds: float, failures: int, waits: float, pause: float
) -> None:
    assert call(page, "polling.js", "pause", seconds, failures, waits) == pause


def test_times_to_come_do_not_show_idle_units(page: Page) -> None:
    now = 1_000_000_000_000
    for seconds, shown in [(90, "in 1\u00a0min 30\u00a0s"), (5400, "in 1\u00a0h 30\u00a0min"),
                           (86340, "in 1\u00a0d"), (40 * 86400 + 5, "in 40\u00a0d")]:  # fmt: skip
        script = "([at, now]) => new Date(now + 1000 * at).toISOString()"
        iso = page.evaluate(script, [seconds, now])
        assert call(page, "format.js", "until", iso, now) == shown


def test_the_form_becomes_the_spec_that_is_meant(page: Page) -> None:
    script = """async ([path, typed]) => {
      const { BLANK, specOf } = await import(path);
      return specOf({ ...BLANK, ...typed });
    }"""
    path = f"/dashboard/assets/{dashboard().digest}/spec_fields.js"

    def spec(**typed: str) -> Any:
        return page.evaluate(script, [path, typed])

    assert spec() is None
    assert spec(n="1e6") == {"kind": "vector", "shape": {"n": 1000000}}
    assert spec(kind="matrix", n="10", d="2", method="exact", law="softmax", fixed="1, -2.5") == {
        "kind": "matrix", "shape": {"n": 10, "d": 2}, "method": "exact",
        "distribution": {"softmax": {"temperature": 1}}, "x": [1, -2.5],
    }  # fmt: skip
    tensor = {"kind": "tensor", "n1": "9", "d1": "2", "n2": "8", "d2": "3"}
    assert spec(**tensor, fixed="1 0 0\n0 1 0", second_width="64", ttl="2", ttlUnit="60") == {
        "kind": "tensor", "shape": {"n1": 9, "d1": 2, "n2": 8, "d2": 3}, "second_width": 64,
        "X": [[1, 0, 0], [0, 1, 0]], "ttl_seconds": 120,
    }  # fmt: skip
    # What is no number is for the service to refuse, at its field.
    assert spec(n="5", samples="many") == {"kind": "vector", "shape": {"n": 5}, "samples": "many"}


@pytest.mark.parametrize(
    ("hash_", "route"),
    [("", {"page": "list"}), ("#/", {"page": "list"}), ("#/new", {"page": "create"}),
     ("#/sketches/a.b:c", {"page": "sketch", "name": "a.b:c"}),
     ("#/sketches/%3Cb%3E", {"page": "sketch", "name": "<b>"}),
     ("#/sketches/", {"page": "missing"}), ("#/sketches/%", {"page": "missing"}),
     ("#/sketches/a/b", {"page": "missing"})],
)  # fmt: skip
def test_addresses_lead_to_pages(page: Page, hash_: str, route: dict[str, str]) -> None:
    assert call(page, "router.js", "routeOf", hash_) == route
