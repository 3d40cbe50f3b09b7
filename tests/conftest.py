"""One seed for every random test: printed in the header, chosen with --seed."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import hypothesis
import numpy as np
import pytest

from tests import dealing
from tests.redis_fixtures import redis_server, session_redis

__all__ = ["redis_server", "session_redis"]

DEFAULT_SEED = 20251003

# No test is timed: what a busy machine interrupts has not failed.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --seed."""
    parser.addoption(
        "--seed",
        default=str(DEFAULT_SEED),
        help="seed of the random tests: a number, or `random` for a fresh one",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Settle the seed once, so that the header can name it."""
    text = str(config.getoption("--seed"))
    config.stash[_SEED] = secrets.randbits(32) if text == "random" else int(text)
    config.option.seed = str(config.stash[_SEED])
    dealing.keep_order(config)


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat this run."""
    return f"seed: {config.stash[_SEED]} (repeat with --seed {config.stash[_SEED]})"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Seed every Hypothesis test from --seed and its name, and order the files."""
    for item in items:
        # A state machine's test is a method.
        test: Any = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
        if hypothesis.is_hypothesis_test(test):
            text = f"{config.getoption('--seed')}/{item.nodeid}"
            digest = hashlib.sha256(text.encode()).digest()
            hypothesis.seed(int.from_bytes(digest[:8], "little"))(test)
    dealing.deal(config, items)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A 63-bit seed of this test's own, derived from --seed and the test's name."""
    text = f"{request.config.stash[_SEED]}/{request.node.nodeid}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A generator of this test's own, derived from --seed and the test's name."""
    return np.random.default_rng(seed)


_SEED = pytest.StashKey[int]()
