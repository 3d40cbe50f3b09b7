"""The dashboard `tenants`: who has how much of what they may, and which sketches are large."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from deploy.grafana import queries, units
from deploy.grafana.alarms import alarm, alarms
from deploy.grafana.layout import Band
from deploy.grafana.panels import ORANGE, RED, Column, Panel, lines, number, rows, steps
from deploy.grafana.queries import Query, counted, level, rate, total

UID: Final = "sketchd-tenants"
TITLE: Final = "sketchd / tenants and sketches"
ABOUT: Final = "Sketches and bytes of each tenant against its quota, and the largest sketches."
VARIABLES: Final = ("instance", "tenant", "sketch", "kind", "transport")

_MEMORY: Final = "sketchd_sketch_memory_bytes"
_BYTES: Final = "sketchd_tenant_state_bytes"
_STATE: Final = 'part="state"'
_LOG: Final = 'part="log"'
_BY_TENANT: Final = "{{tenant}}"
#: Rows of the table of sketches.
_LARGEST: Final = 20
#: Sketches of the graph beside it.
_SHOWN: Final = 5
_NEAR_SKETCHES: Final = alarm("SketchdTenantNearSketchQuota")
_NEAR_BYTES: Final = alarm("SketchdTenantNearBytesQuota")
_UNLIMITED: Final = "no limit"


def bands() -> list[Band]:
    """Two screens: tenants against their quotas; sketches, and what is done to them."""
    return [
        Band(_headline(), 4),
        Band([(24, _tenants())], 8, "Tenants"),
        Band([(8, _states()), (8, _fullness()), (8, _inexact())], 7),
        Band([(14, _largest()), (10, _memory())], 11, "Sketches"),
        Band([(8, _coordinates()), (8, _batches()), (8, _questions())], 8, "Work by kind"),
    ]


def _quotas() -> Query:
    """How full the quotas are that can fill up, by tenant and resource."""
    return queries.either(
        queries.quota_used("sketchd_sketches", "sketches"),
        queries.quota_used(_BYTES, "state_bytes"),
    )


def _log_of_tenant() -> Query:
    """Log bytes by tenant, of all its sketches, whichever are chosen."""
    seen = queries.selected(_MEMORY, _LOG, free=("sketch",))
    return Query(f"sum by (tenant) (max by (tenant, sketch) ({seen}))", units.BYTES, (_MEMORY,))


def _headline() -> list[tuple[int, Panel]]:
    limited = rate("sketchd_rejected_total", where='reason=~"rate_limited|quota_exceeded"')
    inexact = level("sketchd_inexact_sketches", "tenant")
    return [
        (3, number("Tenants", counted(level("sketchd_sketches", "tenant")))),
        (3, number("Sketches", total(level("sketchd_sketches", "tenant")))),
        (3, number("State", total(level(_BYTES, "tenant")))),
        (3, number("Log", total(_log_of_tenant()))),
        (3, number(
            "Fullest quota", queries.largest(_quotas()), absent="no quotas",
            note="Of the tenants' quotas of sketches and of bytes, the one most used up.",
            thresholds=steps((0.8, ORANGE), (_NEAR_BYTES.limit, RED)),
            alarms=[_NEAR_SKETCHES, _NEAR_BYTES],
        )),
        (3, number(
            "Inexact sketches", total(inexact), thresholds=steps((1, ORANGE)), graph=False,
        )),
        (3, number("Coordinates / s", rate("sketchd_updates_total"), absent="no traffic")),
        (3, number(
            "Refused by quotas", queries.or_zero(limited), thresholds=steps((1e-9, ORANGE)),
            note="`quota_exceeded` and `rate_limited`, of all tenants.",
        )),
    ]  # fmt: skip


def _tenants() -> Panel:
    return rows(
        "Tenants against their quotas",
        {"tenant": "Tenant"},
        [
            Column("Sketches", level("sketchd_sketches", "tenant")),
            Column("Sketch limit", _limit("sketches"), absent=_UNLIMITED),
            Column("Sketches used", _used("sketchd_sketches", "sketches"), bar=True,
                   absent=_UNLIMITED, alarm=_NEAR_SKETCHES),
            Column("State", level(_BYTES, "tenant")),
            Column("State limit", _limit("state_bytes").measured(units.BYTES),
                   absent=_UNLIMITED),
            Column("State used", _used(_BYTES, "state_bytes"), bar=True, absent=_UNLIMITED,
                   alarm=_NEAR_BYTES),
            Column("Log", _log_of_tenant()),
            Column("Inexact", level("sketchd_inexact_sketches", "tenant")),
            Column("Coords / s limit", _limit("updates_per_second"), absent=_UNLIMITED),
            Column("Requests / s limit", _limit("requests_per_second"), absent=_UNLIMITED),
        ],
        sort="State",
        board=UID,
        note="As it is now. What each tenant uses of its rates is not known by tenant.",
    )  # fmt: skip


def _limit(resource: str) -> Query:
    return level("sketchd_tenant_quota", "tenant", where=f'resource="{resource}"')


def _used(name: str, resource: str) -> Query:
    used = queries.quota_used(name, resource)
    return queries.by(used, "tenant")


def _states() -> Panel:
    return lines(
        "State by tenant", level(_BYTES, "tenant").named(_BY_TENANT), stacked=True,
        note="Folded states of all its sketches; its quota of bytes limits this.",
    )  # fmt: skip


def _fullness() -> Panel:
    return lines(
        "Quotas used up",
        _quotas().named("{{tenant}}, {{resource}}"),
        limit=_NEAR_BYTES.limit,
        alarms=[_NEAR_SKETCHES, _NEAR_BYTES],
    )


def _inexact() -> Panel:
    return lines(
        "Inexact sketches by tenant",
        level("sketchd_inexact_sketches", "tenant").named(_BY_TENANT),
        alarms=alarms("SketchdExactnessLost"),
        whole=True,
    )


def _largest() -> Panel:
    each = "tenant", "sketch"
    every = f"sum by (tenant, sketch) ({level(_MEMORY, *each, 'part').expr})"
    chosen = f"topk({_LARGEST}, {every})"

    def only(part: str) -> Query:
        query = level(_MEMORY, *each, where=part)
        return replace(query, expr=f"{query.expr} and on (tenant, sketch) {chosen}")

    limit = queries.setting("max_log_bytes")
    used = Query(
        f"{only(_LOG).expr.join('()')} / on() group_left() {limit.expr}",
        units.SHARE,
        (_MEMORY, *limit.metrics),
    )
    return rows(
        "Largest sketches",
        {"tenant": "Tenant", "sketch": "Sketch"},
        [
            Column("Memory", Query(chosen, units.BYTES, (_MEMORY,)), bar=True),
            Column("State", only(_STATE), bar=True),
            Column("Log", only(_LOG), bar=True),
            Column("Log's limit used", used, bar=True, alarm=alarm("SketchdLogNearLimit")),
        ],
        sort="Memory",
        board=UID,
        note=f"The {_LARGEST} largest, as they are now, by state and log together.",
    )


def _memory() -> Panel:
    seen = queries.selected(_MEMORY)
    parts = "max by (tenant, sketch, part) ({})"
    return lines(
        "Memory of sketches over time",
        Query(
            f"{parts.format(seen)} and on (tenant, sketch) "
            f"topk({_SHOWN}, sum by (tenant, sketch) ({parts.format(f'{seen} @ end()')}))",
            units.BYTES,
            (_MEMORY,),
            "{{tenant}}/{{sketch}} {{part}}",
        ),
        note=f"Of the {_SHOWN} that are the largest in the end; choose others above.",
    )


def _coordinates() -> Panel:
    return lines(
        "Coordinates updated", rate("sketchd_updates_total", "kind").named("{{kind}}"), stacked=True
    )


def _batches() -> Panel:
    return lines(
        "Update batches",
        rate("sketchd_update_batches_total", "kind", "outcome").named("{{kind}} {{outcome}}"),
        stacked=True,
        note="`unknown`: refused before its sketch was found.",
        alarms=alarms("SketchdBatchesFailing"),
    )


def _questions() -> Panel:
    return lines(
        "Samples, estimates and norms",
        rate("sketchd_sample_duration_seconds", "kind", "outcome").named("{{kind}} {{outcome}}"),
        stacked=True,
    )
