"""The use cases over a memory store whose operations a test can hold up, count and break."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from prometheus_client import CollectorRegistry

from service.compaction import Compactor
from service.materializer import Identity, Materializer, Version
from service.metrics import Metrics
from service.pool import BoundedPool
from service.ports import Record, SketchKey, Store
from service.settings import Settings
from service.sketches import Sketches
from service.store_memory import MemoryStore
from sketch_core.batch import Columns, quantise
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec

Step = Callable[[], Awaitable[None]]


@dataclass
class SetClock:
    """A clock that goes when told to."""

    time: float = 1_000_000.0

    def now(self) -> float:
        return self.time


class SteppedStore:
    """A store with a step before and after each operation. calls: how often each was begun."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self.before: dict[str, Step] = {}
        self.after: dict[str, Step] = {}
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.inner, name)

        async def stepped(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if name in self.before:
                await self.before[name]()
            answer = await operation(*args, **kwargs)
            if name in self.after:
                await self.after[name]()
            return answer

        return stepped


@dataclass
class Rig:
    """One replica and its parts; `replica` starts another on the same store."""

    steps: SteppedStore
    store: Store
    clock: SetClock
    settings: Settings
    registry: CollectorRegistry
    pool: BoundedPool
    materializer: Materializer
    compactor: Compactor
    sketches: Sketches

    async def identity(self, name: str, tenant: str = "default") -> Identity:
        record = await self.steps.inner.get(SketchKey(tenant, name))
        assert record is not None
        return Identity(record.key, record.incarnation, Spec.from_bytes(record.spec))

    async def record(self, name: str) -> Record:
        record = await self.steps.inner.get(SketchKey("default", name))
        assert record is not None
        return record

    def cached(self, identity: Identity) -> Version | None:
        """The cached version, however old, or None."""
        return self.materializer._cached.get(identity)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def replica(inner: MemoryStore, clock: SetClock, settings: Settings) -> Rig:
    """A replica with its own cache and pool on a store that may be shared."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    steps = SteppedStore(inner)
    store = cast(Store, steps)
    pool = BoundedPool(settings.pool_threads, settings.pool_queue, depth_changed=metrics.pool_depth)
    materializer = Materializer(
        store,
        pool,
        metrics,
        cache_bytes=settings.cache_bytes,
        chunk_bytes=settings.fold_chunk_bytes,
    )
    compactor = Compactor(store, materializer, pool, metrics, settings)
    sketches = Sketches(store, materializer, compactor, pool, metrics, settings, clock)
    return Rig(steps, store, clock, settings, registry, pool, materializer, compactor, sketches)


@asynccontextmanager
async def rigged(count: int = 1, **settings: Any) -> AsyncIterator[list[Rig]]:
    """`count` replicas over one memory store; nothing is compacted unless settings say so."""
    clock = SetClock()
    inner = MemoryStore(clock)
    await inner.start()
    chosen = Settings(**{"compact_min_bytes": 1 << 40, "compact_retry_seconds": 0.001} | settings)
    rigs = [replica(inner, clock, chosen) for _ in range(count)]
    try:
        yield rigs
    finally:
        for rig in rigs:
            await rig.sketches.close()
            rig.pool.close()


VECTOR = {"kind": "vector", "shape": {"n": 1000}, "method": "sketch", "seed": 7, "width": 64}


def pairs(index: list[int], delta: list[float]) -> Columns:
    """A batch of a vector."""
    return Columns("y", index=np.array(index, np.int64), delta=np.array(delta, np.float64))


def reference(spec: Spec, batches: list[Columns]) -> Sketch:
    """What a sketch holds that was fed each batch exactly once."""
    sketch = new_sketch(spec)
    sketch.apply([quantise(spec, columns)[0] for columns in batches])
    return sketch
