"""The dashboard `store`: what its operations take, and whether compaction keeps up."""

from __future__ import annotations

from typing import Final

from deploy.grafana import queries, units
from deploy.grafana.alarms import alarms
from deploy.grafana.layout import Band
from deploy.grafana.panels import GREEN, ORANGE, PLAIN, RED, Panel, heat, lines, number, steps
from deploy.grafana.queries import Query, buckets, grown, level, quantile, rate, share

UID: Final = "sketchd-store"
TITLE: Final = "sketchd / store"
ABOUT: Final = (
    "The store as the replicas see it: operations, logs, compaction, folds and the cache."
)
VARIABLES: Final = ("instance",)

_SECONDS: Final = "sketchd_store_duration_seconds"
_FOLDS: Final = "sketchd_fold_duration_seconds"
_COMPACTIONS: Final = "sketchd_compactions_total"
_BACKLOG: Final = "sketchd_log_backlog_updates"
_MEMORY: Final = "sketchd_sketch_memory_bytes"
_APPEND: Final = 'operation="append"'
_READ: Final = 'operation="read"'
_WAITED: Final = 'operation=~"append|read|get|create|compact"'
#: Outcomes in which the store did not do its part; `refused` is an answer.
_FAULTS: Final = 'outcome=~"unavailable|error"'
_BY_OPERATION: Final = "{{operation}}"


def bands() -> list[Band]:
    """Two screens: the operations; the logs and what becomes of them."""
    return [
        Band(_headline(), 4),
        Band([(8, _operations()), (8, _slowest()), (8, _failures())], 8, "Operations"),
        Band([(12, heat("Durations of appends", buckets(_SECONDS, _APPEND))),
              (12, heat("Durations of reads", buckets(_SECONDS, _READ)))], 7),
        Band([(8, _backlog()), (8, _growth()), (8, _compactions())], 7, "Logs and compaction"),
        Band([(6, _folds()), (6, _fold_rate()), (6, _cache()), (6, _keys())], 7,
             "Folds, cache and idempotency"),
    ]  # fmt: skip


def _headline() -> list[tuple[int, Panel]]:
    failed = rate(_SECONDS, where=_FAULTS)
    failing, slow = alarms("SketchdStoreFailing", "SketchdStoreSlow")
    return [
        (3, number(
            "Store", level("sketchd_store_up"), thresholds=steps((1, GREEN), base=RED), graph=False,
            words={"1": "up", "0": "down"}, alarms=alarms("SketchdStoreDown"),
            note="Down where any replica says so.",
        )),
        (3, number("Operations / s", rate(_SECONDS))),
        (3, number(
            "Failed", share(queries.or_zero(failed), rate(_SECONDS)), decimals=2,
            thresholds=steps((1e-9, ORANGE), (failing.limit, RED)), alarms=[failing],
            note="The part of operations that the store did not answer.",
        )),
        (3, number(
            "Append p99", quantile(0.99, _SECONDS, where=f'{_APPEND}, outcome="ok"'),
            thresholds=steps((slow.limit, RED), base=PLAIN), alarms=[slow],
        )),
        (3, number("Read p99", quantile(0.99, _SECONDS, where=f'{_READ}, outcome="ok"'))),
        (3, number("Backlog", level(_BACKLOG), note="Coordinates.")),
        (3, number(
            "Failed compactions", grown(_COMPACTIONS, 'outcome="error"'), graph=False, decimals=0,
            thresholds=steps((1, ORANGE)), note="In the time shown.",
            alarms=alarms("SketchdCompactionFailing"),
        )),
        (3, number("Idempotency keys", level("sketchd_idempotency_keys"))),
    ]  # fmt: skip


def _operations() -> Panel:
    return lines("Operations", rate(_SECONDS, "operation").named(_BY_OPERATION), stacked=True)


def _slowest() -> Panel:
    return lines(
        "Operation latency p99",
        quantile(0.99, _SECONDS, "operation", where=_WAITED).named(_BY_OPERATION),
        note="Of what requests wait for, and of compaction. Estimated within buckets; those that "
        "failed included.",
        logarithmic=True,
    )


def _failures() -> Panel:
    failed = rate(_SECONDS, "operation", "outcome", where='outcome!="ok"')
    return lines(
        "Operations that did not end as ok",
        queries.or_none(failed, "operation").named("{{operation}} {{outcome}}"),
        note="`unavailable` and `error` are faults; `refused` is an answer, and `cancelled` a "
        "client that left.",
        stacked=True,
    )


def _backlog() -> Panel:
    return lines(
        "Coordinates that wait for compaction",
        level(_BACKLOG).named("coordinates"),
        alarms=alarms("SketchdBacklogGrowing"),
    )


def _growth() -> Panel:
    seen = queries.selected(_MEMORY, free=("tenant", "sketch"))
    parts = f"sum by (part) (max by (tenant, sketch, part) ({seen}))"
    return lines(
        "Logs and states",
        Query(parts, units.BYTES, (_MEMORY,), "{{part}}"),
        note="Of all sketches. A log is compacted when it is about as large as the state.",
        alarms=alarms("SketchdLogNearLimit", "SketchdLogFull"),
    )


def _compactions() -> Panel:
    return lines(
        "Compactions by outcome",
        queries.or_none(rate(_COMPACTIONS, "outcome"), "outcome").named("{{outcome}}"),
        stacked=True,
        note="`lost` and `held` are replicas that met; nothing is wrong.",
        alarms=alarms("SketchdCompactionFailing"),
    )


def _folds() -> Panel:
    return lines(
        "Fold latency",
        quantile(0.5, _FOLDS).named("p50"),
        quantile(0.99, _FOLDS).named("p99"),
        logarithmic=True,
    )


def _fold_rate() -> Panel:
    return lines("Folds", rate(_FOLDS, "instance").named("{{instance}}"), stacked=True)


def _cache() -> Panel:
    return lines(
        "Cache of folded states",
        level("sketchd_cache_bytes", "instance").named("{{instance}}"),
        note="At most SKETCHD_CACHE_BYTES of each worker.",
    )


def _keys() -> Panel:
    return lines("Idempotency keys remembered", level("sketchd_idempotency_keys").named("keys"))
