"""In what order pytest-xdist deals test files out: the longest first, the shortest last.

A long file that is dealt out last keeps one process busy while the others have nothing to do.
xdist itself knows how many tests a file has, not how long they take: what waits for servers and
browsers has few, so that it would come last.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

#: Those of few tests that take a quarter of a minute and more on an idle machine, longest first.
LONGEST: Final = tuple(
    f"tests/{name}.py"
    for name in (
        "end_to_end/test_kill", "end_to_end/test_grpc", "end_to_end/test_workers",
        "deploy/test_balancer", "browser/test_away", "contract/test_store_agreement",
        "deploy/test_image", "deploy/test_prometheus_alerts", "deploy/test_kubernetes_running",
        "attention/test_attention", "benchmarks/test_reports", "end_to_end/test_replicas",
        "end_to_end/test_operating", "demo/test_demo", "end_to_end/test_failover",
        "service/test_cli_backup", "deploy/test_kubernetes_memory", "deploy/test_kubernetes_backup",
        "client/test_types",
    )
)  # fmt: skip


def deal(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order what a process of xdist has collected; elsewhere the order is pytest's own, in which
    the files of a folder share what it sets up.
    """
    if not hasattr(config, "workerinput"):
        return
    rank = {name: at for at, name in enumerate(LONGEST)}
    counts = Counter(_file(item) for item in items)

    def key(item: pytest.Item) -> tuple[int, int]:
        file = _file(item)
        return rank.get(file, len(rank)), -counts[file]

    items.sort(key=key)


def keep_order(config: pytest.Config) -> None:
    """Let the process that deals out leave the files in the order they were collected in."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
