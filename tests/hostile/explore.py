"""Examples of a strategy, as many as told and the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st


def explore(attempt: Callable[[Any], object], strategy: st.SearchStrategy[Any], requests: int,
            seed: int) -> None:  # fmt: skip
    """Call `attempt` with so many examples, the same for the same seed.

    Not shrunk: a service that has met other requests meanwhile need not fail again, and a
    failure shows the request it met.
    """

    @settings(
        max_examples=requests,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seeded(seed)
    @given(strategy)
    def run(example: Any) -> None:
        attempt(example)

    run()
