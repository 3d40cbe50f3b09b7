"""The use cases: what one can do with named sketches, free of transport and framework."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Self, TypeVar

from service import sketch_plans
from service import sketch_requests as requests
from service.compaction import Compactor
from service.errors import BacklogFull, Conflict, NotFound
from service.materializer import Identity, Materializer
from service.metrics import Metrics
from service.pool import BoundedPool
from service.ports import Appended, Clock, Entry, Idempotency, Record, SketchKey, Store
from service.quotas import Quotas
from service.settings import Settings
from service.sketch_answers import (
    Acknowledgement,
    Asked,
    EstimateAnswer,
    Info,
    NormAnswer,
    SampleAnswer,
    SampleRequest,
    estimates_of,
    info_of,
    infos_of,
    norms_of,
    sample_of,
    version_of,
)
from service.sketch_identities import Identities, is_long, no_such_sketch, off_loop
from service.sketch_requests import F64, U64
from sketch_core.batch import Columns
from sketch_core.codec import from_snapshot, to_snapshot
from sketch_core.results import Sample
from sketch_core.sketch import Sketch
from sketch_core.spec import Spec

__all__ = ["Acknowledgement", "Info", "SampleAnswer", "SampleRequest", "Sketches"]

T = TypeVar("T")


class Sketches:
    """Every method takes the tenant first and raises service.errors only.

    An idempotency_key is one that sketch_requests.check_key has let through: the
    transports ask it before they read a body.

    Core errors are translated with their pointers: InvalidSpec, InvalidBatch,
    InvalidQuery -> InvalidRequest; DrawsExhausted -> InvalidRequest (code
    draws_exhausted); IncompatibleSketches -> Conflict (code incompatible_sketches);
    InvalidSnapshot -> InvalidRequest (code invalid_snapshot).
    """

    def __init__(
        self,
        store: Store,
        materializer: Materializer,
        compactor: Compactor,
        pool: BoundedPool,
        metrics: Metrics,
        settings: Settings,
        clock: Clock,
        quotas: Quotas | None = None,
    ) -> None:
        self._store = store
        self._materializer = materializer
        self._compactor = compactor
        self._pool = pool
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._quotas = quotas if quotas is not None else Quotas.none()
        self._identities = Identities(store, pool)

    @classmethod
    def over(
        cls,
        store: Store,
        pool: BoundedPool,
        metrics: Metrics,
        settings: Settings,
        clock: Clock,
        quotas: Quotas | None = None,
    ) -> Self:
        """The use cases over a store, with a cache and a compactor of their own."""
        materializer = Materializer(
            store,
            pool,
            metrics,
            cache_bytes=settings.cache_bytes,
            chunk_bytes=settings.fold_chunk_bytes,
        )
        compactor = Compactor(store, materializer, pool, metrics, settings)
        return cls(store, materializer, compactor, pool, metrics, settings, clock, quotas)

    async def close(self) -> None:
        """End the background work. Pool and store are their owner's to close, after this."""
        await self._compactor.close()
        await self._materializer.close()

    # Sketches by name

    def plan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The body of POST /v1/plan. request: a spec as sent (ttl_seconds allowed)."""
        return sketch_plans.plan_json(request, self._settings)

    async def create(self, tenant: str, name: str, request: Mapping[str, Any]) -> tuple[Info, bool]:
        """Create, or find the same. request: the spec as sent. Returns (info, is it new)."""
        key = SketchKey(tenant, requests.check_name(name))
        now, long = self._clock.now(), sketch_plans.has_long_x(request)
        plan, wanted = await off_loop(
            self._pool, long, sketch_plans.new_record, request, self._settings, key, now
        )
        stored, new = await self._store.create(wanted, self._quotas.allowance(tenant))
        long = long or is_long(stored)
        if not new and not await off_loop(self._pool, long, sketch_plans.is_same, plan, stored):
            raise Conflict("a sketch of this name has another spec", code="spec_differs")
        return await self._info(stored), new

    async def get(self, tenant: str, name: str) -> Info:
        return await self._info(await self._identities.record(requests.key_of(tenant, name)))

    async def check_known(self, tenant: str, name: str) -> None:
        """Raise NotFound for what neither this process nor the store knows: a cheap hint."""
        await self._identities.check(requests.key_of(tenant, name))

    async def delete(self, tenant: str, name: str) -> None:
        key = requests.key_of(tenant, name)
        if not await self._store.delete(key):
            raise no_such_sketch()
        if (identity := self._identities.forget(key)) is not None:
            self._materializer.forget(identity)

    async def set_ttl(self, tenant: str, name: str, ttl_seconds: float | None) -> Info:
        ttl = sketch_plans.read_ttl(ttl_seconds, self._settings)
        record = await self._store.set_ttl(requests.key_of(tenant, name), ttl)
        if record is None:
            raise no_such_sketch()
        return await self._info(record)

    async def seal(
        self, tenant: str, name: str, operand: str, *, idempotency_key: str | None = None
    ) -> Info:
        digest = requests.digest_of("seal", operand)
        once = requests.idempotency(idempotency_key, digest, self._settings)

        async def attempt(identity: Identity) -> Info:
            requests.check_operand(identity.spec, operand, "/operand")
            if operand == identity.spec.fixed_operand:
                return await self.get(tenant, name)  # sealed since creation
            return await self._info(
                await self._store.seal(identity.key, identity.incarnation, operand, once)
            )

        return await self._identities.act(requests.key_of(tenant, name), attempt)

    # Changes

    async def update(
        self, tenant: str, name: str, columns: Columns, *, idempotency_key: str | None = None
    ) -> Acknowledgement:
        """Validate against the spec, append, return once durable."""
        with self._metrics.update() as observed:

            async def attempt(identity: Identity) -> Acknowledgement:
                observed.of(identity.incarnation, identity.spec.kind)
                prepared = await self._prepare(identity, columns, idempotency_key is not None)
                once = requests.idempotency(idempotency_key, prepared.body_digest, self._settings)
                async with self._quotas.updates(tenant, prepared.coordinates) as payment:
                    appended = await self._append(identity, prepared.entry(), once)
                    payment.replayed = appended.replayed
                observed.coordinates = prepared.coordinates
                if appended.replayed:
                    observed.outcome = "replayed"
                return Acknowledgement(appended.updates, version_of(identity, appended.position))

            return await self._identities.act(requests.key_of(tenant, name), attempt)

    async def merge(
        self,
        tenant: str,
        name: str,
        source: str,
        operands: Collection[str] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Acknowledgement:
        """Add another sketch of the tenant as it is now. The acknowledgement's accepted is 0."""

        async def attempt(identity: Identity) -> Acknowledgement:
            wanted = requests.check_operands(identity.spec, operands)
            digest = requests.digest_of("merge", source, *sorted(wanted))
            once = requests.idempotency(idempotency_key, digest, self._settings)
            # A retry is answered though its source may be gone by now.
            first = await self._recall(identity, once)
            if first is not None:
                return first
            data = await self._source_state(tenant, source, identity)
            return await self._append_state(identity, data, wanted, once)

        return await self._identities.act(requests.key_of(tenant, name), attempt)

    async def add_snapshot(
        self,
        tenant: str,
        name: str,
        data: bytes,
        operands: Collection[str] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Acknowledgement:
        """Add a state made elsewhere; it is read whole before anything is logged."""

        async def attempt(identity: Identity) -> Acknowledgement:
            wanted = requests.check_operands(identity.spec, operands)
            digest = await self._pool.run(requests.digest_of, "add_snapshot", data, *sorted(wanted))
            once = requests.idempotency(idempotency_key, digest, self._settings)
            first = await self._recall(identity, once)
            if first is not None:
                return first
            with requests.translated():
                await self._pool.run(from_snapshot, data, identity.spec)
            return await self._append_state(identity, data, wanted, once)

        return await self._identities.act(requests.key_of(tenant, name), attempt)

    # Questions

    async def sample(self, tenant: str, name: str, request: SampleRequest) -> SampleAnswer:
        """Draw from the sketch at its head."""

        def count(spec: Spec) -> int:
            return spec.samples if request.count is None else request.count

        def check(spec: Spec) -> None:
            answers = requests.check_queries(spec, request.queries, self._settings)
            requests.check_count(spec, count(spec), answers, self._settings)

        def draw(sketch: Sketch) -> list[Sample]:
            return sketch.sample(
                count(sketch.spec),
                replacement=request.replacement,
                draw=request.draw,
                queries=request.queries,
            )

        asked = await self._ask(tenant, name, draw, check)
        return sample_of(asked)

    async def estimate(
        self, tenant: str, name: str, index: U64, queries: F64 | None = None
    ) -> tuple[list[EstimateAnswer], str]:
        """(one answer a query or one, version). index: (b,), of a tensor (b, 2)."""

        def check(spec: Spec) -> None:
            answers = requests.check_queries(spec, queries, self._settings)
            requests.check_indices(len(index), answers, self._settings)

        asked = await self._ask(
            tenant,
            name,
            lambda held: held.estimate(requests.index_of(held.spec, index), queries=queries),
            check,
        )
        return estimates_of(asked), asked.version

    async def norm(
        self, tenant: str, name: str, power: float | None = None, queries: F64 | None = None
    ) -> tuple[list[NormAnswer], str]:
        """(one answer a query or one, version)."""
        asked = await self._ask(
            tenant,
            name,
            lambda sketch: sketch.norm(power, queries=queries),
            lambda spec: requests.check_queries(spec, queries, self._settings),
        )
        return norms_of(asked), asked.version

    async def snapshot(self, tenant: str, name: str) -> tuple[bytes, str]:
        """(canonical bytes, version)."""

        async def attempt(identity: Identity) -> tuple[bytes, str]:
            data, position = await self._materializer.query(identity, to_snapshot)
            return data, version_of(identity, position)

        return await self._identities.act(requests.key_of(tenant, name), attempt)

    # Steps

    async def _ask(
        self,
        tenant: str,
        name: str,
        question: Callable[[Sketch], T],
        check: Callable[[Spec], object],
    ) -> Asked[T]:
        """The answer of a sketch at its head. check: refuses before anything is folded."""

        def ask(sketch: Sketch) -> tuple[T, bool]:
            return question(sketch), sketch.exact  # together: of the very same state

        with self._metrics.sample() as observed:

            async def attempt(identity: Identity) -> Asked[T]:
                observed.of(identity.incarnation, identity.spec.kind)
                check(identity.spec)
                with requests.translated():
                    (answer, exact), position = await self._materializer.query(identity, ask)
                return Asked(answer, exact, identity, version_of(identity, position))

            return await self._identities.act(requests.key_of(tenant, name), attempt)

    async def _prepare(
        self, identity: Identity, columns: Columns, keyed: bool
    ) -> requests.Prepared:
        numbers = requests.check_numbers(columns, self._settings)
        self._quotas.check_batch(identity.key.tenant, numbers)
        with requests.translated():
            spec = identity.spec
            long = requests.is_long_batch(columns, keyed) or requests.has_long_x(spec)
            return await off_loop(self._pool, long, requests.prepare, spec, columns, keyed)

    async def _append(self, identity: Identity, entry: Entry, once: Idempotency | None) -> Appended:
        try:
            appended = await self._store.append(
                identity.key,
                identity.incarnation,
                entry,
                once,
                max_log_bytes=self._settings.max_log_bytes,
            )
        except BacklogFull:
            # A process that starts on a full log hears of it in no other way.
            self._compactor.consider(identity, self._settings.max_log_bytes)
            raise
        self._compactor.consider(identity, appended.log_bytes)
        return appended

    async def _recall(self, identity: Identity, once: Idempotency | None) -> Acknowledgement | None:
        if once is not None:
            first = await self._store.recall(identity.key, identity.incarnation, once)
        if once is None or first is None:
            return None
        return Acknowledgement(first.updates, version_of(identity, first.position))

    async def _append_state(
        self, identity: Identity, data: bytes, operands: frozenset[str], once: Idempotency | None
    ) -> Acknowledgement:
        appended = await self._append(identity, requests.state_entry(data, operands), once)
        return Acknowledgement(appended.updates, version_of(identity, appended.position))

    async def _source_state(self, tenant: str, source: str, target: Identity) -> bytes:
        async def attempt(found: Identity) -> bytes:
            specs = found.spec, target.spec
            long = any(requests.has_long_x(spec) for spec in specs)
            if not await off_loop(self._pool, long, requests.may_merge, *specs):
                raise Conflict(
                    "the two sketches' kind, shape, power, seed, sizes, x or X differ",
                    code="incompatible_sketches",
                )
            data, _ = await self._materializer.query(found, to_snapshot)
            return data

        try:
            return await self._identities.act(requests.key_of(tenant, source), attempt)
        except NotFound as error:
            raise NotFound("no such source sketch", pointer="/source") from error

    async def _info(self, record: Record) -> Info:
        return info_of(await self._identities.of(record), record)

    # Last, so that `list` is still the builtin type in the signatures above.

    async def list(
        self,
        tenant: str,
        *,
        prefix: str = "",
        contains: str = "",
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Info], str | None]:
        """(infos by name, the cursor of the next page or None)."""
        requests.check_limit(limit, self._settings)
        records = await self._store.list(
            tenant,
            prefix=requests.check_prefix(prefix),
            contains=requests.check_contains(contains),
            limit=limit + 1,
            after=requests.read_cursor(cursor),
            max_bytes=requests.PAGE_BYTES,
        )
        page, more = requests.cut_page(records, limit)
        identities = await self._identities.of_page(page)
        infos = await off_loop(self._pool, len(page) > 1, infos_of, identities, page)
        return infos, requests.write_cursor(infos[-1].name) if more else None
