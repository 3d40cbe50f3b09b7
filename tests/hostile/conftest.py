"""One service for all campaigns: state that one leaves behind is what the next one meets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.ledger import Ledger
from tests.hostile.process import served

#: Small, so that going over them is cheap; compaction runs all the time.
SETTINGS = {
    "max_body_bytes": 1 << 20,
    "max_snapshot_bytes": 4 << 20,
    "max_bodies_bytes": 8 << 20,
    "max_sketch_bytes": 4 << 20,
    "max_dense_bytes": 4 << 20,
    "max_batch_updates": 20_000,
    "max_estimate_indices": 5000,
    "min_ttl_seconds": 100_000,
    "compact_min_bytes": 4096,
    "compact_ratio": 0.01,
    "fold_chunk_bytes": 8192,
    "body_seconds": 2,
}


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger over a service that runs until the last test; it must have lived all along."""
    with served(tmp_path_factory.mktemp("hostile"), **SETTINGS) as url:
        found = Ledger(url)
        yield found
        found.check_all()
        found.close()
