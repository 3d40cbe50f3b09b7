"""Hypothesis without deadlines, and with the seed of --seed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "sketch_core", deadline=None, derandomize=True, database=None, max_examples=20
)
hypothesis.settings.load_profile("sketch_core")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Seed every Hypothesis test of this folder from --seed and its name."""
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        test: Any = getattr(item, "obj", None)
        if hypothesis.is_hypothesis_test(test):
            text = f"{config.getoption('--seed')}/{item.nodeid}"
            digest = hashlib.sha256(text.encode()).digest()
            hypothesis.seed(int.from_bytes(digest[:8], "little"))(test)
