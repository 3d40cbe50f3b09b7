"""Log lines: their two forms, whose they are, and what never stands in one."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from service import logs
from service.pool import BoundedPool
from service.settings import Settings

KEY = "skd_0123456789abcdef_" + "sEcReT-" * 6


@pytest.fixture(autouse=True)
def _the_root_logger_as_before() -> Iterator[None]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level, sys.excepthook = handlers, level, hook
    logging.captureWarnings(False)
    logging.getLogger("uvicorn").setLevel(logging.NOTSET)


class Terminal(io.StringIO):
    """Claims to be one."""

    def isatty(self) -> bool:
        return True


def lines_of(stream: io.StringIO, handler: logging.Handler) -> list[str]:
    handler.close()
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("wanted", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("text", io.StringIO, False),
    ],
)
def test_lines_are_json_unless_a_person_reads(
    wanted: str, stream: type[io.StringIO], is_json: bool
) -> None:
    out = stream()
    handler = logs.configure(Settings(log_format=wanted), out)
    logging.getLogger("sketchd.x").warning("hello %d", 5, extra={"fields": {"route": "/v1/plan"}})
    [line] = lines_of(out, handler)
    if is_json:
        found = json.loads(line)
        assert found.pop("time").endswith("Z")
        assert found == {
            "level": "warning",
            "logger": "sketchd.x",
            "message": "hello 5",
            "route": "/v1/plan",
            "process": os.getpid(),
        }
    else:
        assert line.endswith("WARNING sketchd.x hello 5 route=/v1/plan")


async def test_a_line_names_its_request_whichever_task_or_thread_logs_it() -> None:
    out = io.StringIO()
    handler = logs.configure(Settings(log_format="json"), out)
    pool = BoundedPool(1, 4)
    log = logging.getLogger("deep")

    async def serve(name: str) -> None:
        with logs.request(name):
            log.info("first")
            logs.identify(f"tenant-{name}", f"key-{name}")
            await asyncio.sleep(0)
            await asyncio.create_task(asyncio.to_thread(log.info, "thread"))
            await pool.run(log.info, "pool")

    try:
        await asyncio.gather(serve("a"), serve("b"))
    finally:
        pool.close()
    log.info("outside")
    found = [json.loads(line) for line in lines_of(out, handler)]
    for name in ("a", "b"):
        own = [line for line in found if line.get("request_id") == name]
        assert [line["message"] for line in own] == ["first", "thread", "pool"]
        assert [line.get("tenant") for line in own] == [None, f"tenant-{name}", f"tenant-{name}"]
        assert own[-1]["key"] == f"key-{name}"
    assert "request_id" not in found[-1]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "said",
    [
        f"Authorization: Bearer {KEY}",
        f"headers {{'authorization': 'bearer {KEY}'}}",
        f"(b'authorization', b'Bearer {KEY}')",
        f"GET /v1/sketches/{KEY}?key={KEY}",
        "cannot open redis://someone:sEcReT-@cache:6379/0",
        "rediss://:sEcReT-/with@signs@cache:6379",
        "redis://cache?password=sEcReT-",
        "Basic sEcReT-",
    ],
)
def test_no_secret_is_written(form: str, said: str) -> None:
    out = io.StringIO()
    handler = logs.configure(Settings(log_format=form), out)
    log = logging.getLogger("sketchd.http")
    log.info(said)
    log.info("%s", said, extra={"fields": {"path": said}})
    try:
        raise ValueError(said)
    except ValueError:
        log.exception("failed")
    text = "\n".join(lines_of(out, handler))
    assert "sEcReT" not in text
    assert "***" in text
    assert "failed" in text


def test_an_exception_is_one_line_of_json_and_nothing_forges_a_line() -> None:
    out = io.StringIO()
    handler = logs.configure(Settings(log_format="json"), out)
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        logging.getLogger("x").exception("failed\n{}")
    [line] = lines_of(out, handler)
    found = json.loads(line)
    assert found["exception"] == "RuntimeError"
    assert found["traceback"].startswith("Traceback")
    assert "two\nlines" in found["traceback"]
    out = io.StringIO()
    handler = logs.configure(Settings(log_format="text"), out)
    logging.getLogger("x").info("a\nb\x1b[2J\u2028c", extra={"fields": {"path": "/a\nb"}})
    [line] = lines_of(out, handler)
    assert line.endswith(r"a\nb\x1b[2J\u2028c path=/a\nb")


def test_a_reader_who_stops_reading_costs_lines_and_no_time() -> None:
    incoming, outgoing = os.pipe()
    with os.fdopen(outgoing, "w") as stream:
        handler = logs.WaitingLines(stream, most=50)
        handler.setFormatter(logs.JsonLine())
        log = logging.getLogger("stalled")
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.INFO)
        # More than any pipe holds: with a handler that writes, this would never return.
        for _ in range(1000):
            log.info("y" * 4096)
        got = bytearray()
        reader = threading.Thread(target=lambda: _read_all(incoming, got))
        reader.start()
        while handler._lines.qsize():  # the writer catches up
            pass
        log.info("after")
        handler.close()
        log.handlers = []
    reader.join(10)
    os.close(incoming)
    messages = [json.loads(line)["message"] for line in got.splitlines()]
    assert messages[-1] == "after"
    losses = [message for message in messages if "dropped" in message]
    kept = sum(message.startswith("yyy") for message in messages)
    assert losses
    assert sum(int(loss.split()[0]) for loss in losses) == 1000 - kept


def _read_all(incoming: int, got: bytearray) -> None:
    while piece := os.read(incoming, 1 << 16):
        got += piece


def test_odd_text_does_not_take_long_to_search() -> None:
    for odd in ("://" * 30_000, "bearer " * 20_000, "key=" * 30_000, "skd_" * 30_000):
        assert len(logs.redacted(odd)) <= 2 * len(odd)


def test_a_key_sent_as_the_id_of_a_request_is_not_shown() -> None:
    out = io.StringIO()
    handler = logs.configure(Settings(log_format="json"), out)
    with logs.request(KEY):
        logging.getLogger("sketchd.x").info("hello")
    [line] = lines_of(out, handler)
    assert "sEcReT" not in line
    assert json.loads(line)["request_id"].startswith("skd_0123456789abcdef_")
