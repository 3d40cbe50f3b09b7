"""Log lines: JSON or text, each with the request it belongs to, and never with a secret.

A line is made where it is logged and written by a thread: whoever reads standard error may
stop reading, and then only lines are lost, which the next one that gets through says. The
event loop never waits for a reader.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TextIO

from service.random_ids import new_id
from service.settings import Settings

#: Lines that wait for a reader of standard error; more are dropped, and counted.
_MOST_WAITING: Final = 10_000
#: How long the end of the process waits for such a reader.
_LAST_SECONDS: Final = 1.0
#: Characters of a field, which may be a client's words.
_LONGEST_FIELD: Final = 2048
#: What keys look like, in a header, a URL or by themselves, and passwords in URLs. The lengths
#: are bounded so that no text takes long to search.
_SECRETS: Final = (
    (re.compile(r"(skd_[0-9a-f]{16}_)[\w-]+"), r"\1***"),
    (re.compile(r"(?i)\b(bearer|basic)(\s|%20|\+)[^\s\"',\\]+"), r"\1\2***"),
    (re.compile(r"(?i)((?:password|key|token)=)[^&\s\"',\\]+"), r"\1***"),
    (re.compile(r"(\w://)[^\s\"']{0,256}@"), r"\1***@"),
)
#: What would forge a line, or play with a terminal.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


#: Request ids of callers that are safe to send back and to log.
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


@dataclass(slots=True)
class Caller:
    """Whom the lines of the current request belong to. key: the public id of an access key."""

    request_id: str
    tenant: str = ""
    key: str = ""


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def request_id(given: str | None) -> str:
    """The id that a caller gave its request where that is safe to repeat, else a new one."""
    if given is not None and _SANE_ID.fullmatch(given):
        return given
    return new_id()


@contextmanager
def request(request_id: str) -> Iterator[Caller]:
    """Lines logged in here, and in tasks and pool jobs begun in here, carry the request's id."""
    caller = Caller(request_id)
    token = _caller.set(caller)
    try:
        yield caller
    finally:
        _caller.reset(token)


def identify(tenant: str, key: str = "") -> None:
    """Say whose request this is, once that is known. key: the public id, never the secret."""
    caller = _caller.get()
    if caller is not None:
        caller.tenant, caller.key = tenant, key


def redacted(text: str) -> str:
    """The text without what looks like an access key in a header, or a password in a URL."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class JsonLine(logging.Formatter):
    """One JSON object a line. `extra={"fields": {...}}` adds fields of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
            **_whose(),
            **_fields(record),
            "process": record.process,
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = type(record.exc_info[1]).__name__
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLine(logging.Formatter):
    """For people: time, level, logger, message, fields; a traceback below, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        more = " ".join(f"{name}={value}" for name, value in (_whose() | _fields(record)).items())
        head = f"{_moment(record.created)} {record.levelname} {record.name} {record.getMessage()}"
        line = _CONTROLS.sub(_escape, redacted(f"{head} {more}".rstrip()))
        if record.exc_info and record.exc_info[1] is not None:
            below = redacted(self.formatException(record.exc_info)).splitlines()
            line += "".join(f"\n    {_CONTROLS.sub(_escape, one)}" for one in below)
        return line


def _moment(seconds: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"


def _whose() -> dict[str, Any]:
    caller = _caller.get()
    if caller is None:
        return {}
    known = {"request_id": caller.request_id, "tenant": caller.tenant, "key": caller.key}
    # A client names its request as it likes, also by what should have gone into another header.
    return {name: redacted(value) for name, value in known.items() if value}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {
        name: redacted(value[:_LONGEST_FIELD]) if isinstance(value, str) else value
        for name, value in fields.items()
    }


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class WaitingLines(logging.Handler):
    """Makes a line at once, for it knows the request, and lets a thread write it."""

    def __init__(self, stream: TextIO, most: int = _MOST_WAITING) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._most = most
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="sketchd-log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line, or drop it where too many wait already."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a line that cannot be made must not fail its request
            self.handleError(record)
            return
        if self._lines.qsize() >= self._most:  # under the handler's lock
            self._dropped += 1
            return
        if self._dropped:
            self._lines.put(self._loss())
        self._lines.put(line)

    def _loss(self) -> str:
        count, self._dropped = self._dropped, 0
        text = f"{count} lines were dropped: nobody read them in time"
        record = logging.LogRecord("sketchd.logs", logging.WARNING, "", 0, text, None, None)
        return self.format(record)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            # A reader that has gone away is no reason to stop serving.
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(line + "\n")  # one call: lines of several processes stay whole
                self._stream.flush()

    def close(self) -> None:
        """Write what waits, unless nobody reads it."""
        self._lines.put(None)
        self._writer.join(_LAST_SECONDS)
        super().close()


def configure(settings: Settings, stream: TextIO | None = None) -> logging.Handler:
    """Send every logger's lines to standard error as the settings say. Returns the handler."""
    stream = stream if stream is not None else sys.stderr
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not stream.isatty()
    )
    handler = WaitingLines(stream)
    handler.setFormatter(JsonLine() if as_json else TextLine())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # Its lines about starting and stopping say what ours say.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.captureWarnings(True)
    sys.excepthook = _last_words
    return handler


def _last_words(
    kind: type[BaseException], failure: BaseException, trace: TracebackType | None
) -> None:
    logging.getLogger("sketchd").critical(
        "ended by what nobody caught", exc_info=(kind, failure, trace)
    )


def leave_now(status: int) -> None:
    """End the process at once, with what has been logged so far."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, WaitingLines):
            handler.close()
    os._exit(status)
