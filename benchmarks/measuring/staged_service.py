"""The service, with a clock around the steps of a request: who spends its processor time.

    python -m benchmarks.measuring.staged_service serve …

SIGUSR1 makes it write, to the file that STAGES_FILE names, an object of `cpu`, the seconds that
the process used so far, `loop`, those of the event loop's thread, and `stages`: by step the
seconds of processor time spent in it, without what another step within it took. Each thread is
timed by its own clock, so that waiting costs nothing; of a coroutine every turn counts. Wrapped
functions are slower by about a microsecond.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

FILE_VARIABLE: Final = "STAGES_FILE"
#: Steps, and the functions and methods that are them. `Class.method` of a module after a colon.
STAGES: Final[dict[str, tuple[str, ...]]] = {
    "read": (
        "service.request_bodies:update_from_json", "service.request_bodies:update_from_tensors",
        "service.request_bodies:sample_from_json", "service.grpc_context:message_of",
        "service.grpc_messages:columns_of", "service.grpc_messages:sample_of",
    ),
    "check, encode": ("service.sketch_requests:prepare",),
    "append": ("service.store_timed:TimedStore.append", "service.sqlite_writer:GroupWriter._write"),
    "fold": (
        "service.store_timed:TimedStore.read", "service.store_sqlite:_Readers._run",
        "service.materializer:_fold_entries",
    ),
    "compact": (
        "service.compaction:_freeze", "service.store_timed:TimedStore.compact",
        "service.sqlite_writer:GroupWriter._tidy",
    ),
    "decode": ("sketch_core.linear_sketch:LinearSketch.sample",),
    "write": (
        "service.answer_objects:sample_json", "service.answer_objects:sample_tensors",
        "service.grpc_answers:samples",
    ),
}  # fmt: skip

_spent: defaultdict[str, float] = defaultdict(float)
#: Taken by a signal too, in a thread that may hold it.
_lock = threading.RLock()


class _Inner(threading.local):
    """Seconds that steps within the current one took, in this thread."""

    seconds = 0.0


_inner = _Inner()


class _Turn:
    """One call of a step, or one turn of it, timed."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        self._before, _inner.seconds = _inner.seconds, 0.0
        self._started = time.thread_time()

    def __exit__(self, *_: object) -> None:
        took = time.thread_time() - self._started
        with _lock:
            _spent[self._stage] += took - _inner.seconds
        _inner.seconds = self._before + took


class _Turns:
    """An awaitable whose every turn is timed."""

    def __init__(self, stage: str, inner: Any) -> None:
        self._stage = stage
        self._inner = inner

    def __await__(self) -> Generator[Any, Any, Any]:
        turns = self._inner.__await__()
        step, value = turns.send, None
        while True:
            with _Turn(self._stage):
                try:
                    awaited = step(value)
                except StopIteration as done:
                    return done.value
            try:
                step, value = turns.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - handed on, as yield from does
                step, value = turns.throw, error


def _timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def turns(*given: Any, **named: Any) -> Any:
            return await _Turns(stage, function(*given, **named))

        return turns

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        with _Turn(stage):
            return function(*given, **named)

    return call


def _wrap(stage: str, place: str) -> None:
    """Before anything else could have taken hold of the function."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    function = getattr(owner, name)
    timed = _timed(stage, function)
    setattr(owner, name, timed)
    for known in list(sys.modules.values()):  # and whoever has
        for attribute, value in list(vars(known).items() if hasattr(known, "__dict__") else ()):
            if value is function:
                setattr(known, attribute, timed)


def _write(*_: object) -> None:
    path = Path(os.environ[FILE_VARIABLE])
    with _lock:
        # Signals are handled in the main thread, which runs the loop.
        loop = time.thread_time()
        found = {"cpu": time.process_time(), "loop": loop, "stages": dict(_spent)}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(found))
    fresh.replace(path)


def main() -> int:
    """The service's command line."""
    for stage, places in STAGES.items():
        for place in places:
            _wrap(stage, place)
    signal.signal(signal.SIGUSR1, _write)
    from service.cli import main as serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())
