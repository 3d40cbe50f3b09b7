"""Rounds of seeds, and the number of decisions a run may make.

SKETCHD_ROUNDS=20 repeats every test here with 20 seeds, each derived from
--seed, the test's name and the round. Each round may make DECISIONS decisions,
and fails by chance once in 1 / RUN_LEVEL seeds.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.statistical import decisions

ROUNDS = int(os.environ.get("SKETCHD_ROUNDS", "1"))
HERE = Path(__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat the tests of this directory; the round is part of their names, so of their seeds."""
    if ROUNDS > 1 and Path(metafunc.definition.path).parent == HERE:
        metafunc.fixturenames.append("round_number")
        metafunc.parametrize("round_number", range(ROUNDS))


@pytest.fixture
def base_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run and round, the same for all tests of a case."""
    parameters = getattr(request.node, "callspec", None)
    round_number = parameters.params.get("round_number", 0) if parameters else 0
    return int(request.config.getoption("--seed")) + 1000 * int(round_number)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hold a run to the number of decisions its level was derived for."""
    if decisions.made() > decisions.DECISIONS * ROUNDS:
        raise pytest.UsageError(
            f"{decisions.made()} decisions in a run: raise decisions.DECISIONS, "
            "which lowers the level of each"
        )
