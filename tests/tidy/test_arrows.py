"""The import table holds, and would notice if it did not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tidy import arrows
from tests.tidy.tree import ROOT

FORBIDDEN = [
    ("sketch_core/count_sketch.py", "import os", "sketch_core.count_sketch may not import os"),
    ("sketch_core/codec.py", "import logging", "may not import logging"),
    ("sketch_core/vector.py", "from time import monotonic", "may not import time"),
    ("sketch_core/vector.py", "import scipy.stats", "may not import scipy.stats"),
    ("sketch_core/vector.py", "from service.errors import NotFound", "may not import service.err"),
    ("sketch_core/exact.py", "data = open('x')", "may not call open()"),
    ("service/http_api.py", "from service.store_sqlite import S", "may not import service.store_s"),
    ("service/http_api.py", "from service import store_memory", "may not import service.store_m"),
    ("service/http_api.py", "from . import store_memory", "may not import service.store_memory"),
    ("service/wire.py", "import redis.asyncio", "may not import redis.asyncio"),
    ("service/wire.py", "from service import app", "service.wire may not import service.app"),
    ("service/store_sqlite.py", "import redis", "may not import redis"),
    ("service/store_sqlite.py", "from service.sketches import Info", "import service.sketches"),
    ("service/store_memory.py", "import sketch_core.codec", "may not import sketch_core.codec"),
    ("service/store_redis.py", "from service.store_sqlite import S", "import service.store_sqlite"),
    ("service/metrics.py", "from service.store_memory import M", "import service.store_memory"),
    ("service/sketches.py", "import fastapi", "service.sketches may not import fastapi"),
    ("service/sketches.py", "def f():\n    import service.store_memory", "2: service.sketches may"),
    ("service/ports.py", "from service.sketches import Info", "may not import service.sketches"),
    ("service/demo.py", "from service.sketches import Info", "may not import service.sketches"),
    ("service/newcomer.py", "import math", "no rule in tests/tidy/arrows.py"),
]

ALLOWED = [
    ("sketch_core/vector.py", "import math\nimport numpy as np\nfrom sketch_core import hashing"),
    ("service/store_redis.py", "import redis.asyncio\nfrom service.ports import Store"),
    ("service/app.py", "import os, redis\nfrom service import store_memory, http_api"),
    (
        "service/sketches.py",
        "from sketch_core import spec\nfrom service.errors import NotFound",
    ),
]


def plant(root: Path, path: str, text: str) -> None:
    """A tree that holds little more than one module."""
    for name in ("store_memory", "http_api", "app", "sketches", "errors"):
        (root / "service").mkdir(exist_ok=True)
        (root / "service" / f"{name}.py").touch()
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(text + "\n", "utf-8")


def test_imports_follow_the_table() -> None:
    found = arrows.violations(ROOT)
    assert not found, "\n".join(found)


def test_every_module_is_seen() -> None:
    names = {name for name, _ in arrows.modules(ROOT)}
    assert {"service.ports", "sketch_core.hashing", "sketch_core"} <= names


@pytest.mark.parametrize(("path", "text", "message"), FORBIDDEN)
def test_a_forbidden_import_is_found(tmp_path: Path, path: str, text: str, message: str) -> None:
    plant(tmp_path, path, text)
    found = arrows.violations(tmp_path)
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize(("path", "text"), ALLOWED)
def test_an_allowed_import_passes(tmp_path: Path, path: str, text: str) -> None:
    plant(tmp_path, path, text)
    assert arrows.violations(tmp_path) == []
