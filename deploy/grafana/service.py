"""The dashboard `service`: what is asked, how it is answered, and what the processes have left."""

from __future__ import annotations

from typing import Final

from deploy.grafana import queries
from deploy.grafana.alarms import alarm, alarms, budget, objective_seconds
from deploy.grafana.layout import Band
from deploy.grafana.panels import GREEN, ORANGE, PLAIN, RED, Panel, heat, lines, number, steps
from deploy.grafana.queries import (
    Query,
    added,
    buckets,
    grown,
    level,
    or_zero,
    quantile,
    rate,
    share,
)

UID: Final = "sketchd-service"
TITLE: Final = "sketchd / service"
ABOUT: Final = "Traffic, errors, latency and resources of all replicas of sketchd, or of some."
VARIABLES: Final = ("instance", "kind", "transport")

_OK: Final = 'outcome="ok"'
_UPDATES: Final = "sketchd_update_duration_seconds"
_SAMPLES: Final = "sketchd_sample_duration_seconds"
#: Requests for sketches. A stream is none, but each of its messages: it ends as UNAVAILABLE
#: whenever a replica stops, as it should. As the recording rules have it.
_ASKED: Final = {
    "sketchd_http_requests_total": 'route=~"/v1/.*"',
    "sketchd_grpc_requests_total": 'method!~"UpdateStream|SampleStream"',
    "sketchd_grpc_messages_total": "",
}
_FAULTY: Final = {
    "sketchd_http_requests_total": 'status="5xx"',
    "sketchd_grpc_requests_total": 'code=~"INTERNAL|UNAVAILABLE|UNKNOWN|DATA_LOSS"',
    "sketchd_grpc_messages_total": 'code=~"INTERNAL|UNAVAILABLE|UNKNOWN|DATA_LOSS"',
}
#: Objectives of deploy/prometheus/rules/recording.yml.
_FAILED: Final = "sketchd:requests_failed:budget"
_SLOW: Final = "job:sketchd_updates_slow:rate5m"
_ERRORS: Final = alarms("SketchdErrorBudgetBurningFast", "SketchdErrorBudgetBurningSlowly")
_LATENCY: Final = alarms("SketchdLatencyBudgetBurningFast", "SketchdLatencyBudgetBurningSlowly")
_BY_TRANSPORT: Final = "{{transport}}"


def bands() -> list[Band]:
    """Two screens: who asks and how it goes; how long it takes, and with what."""
    return [
        Band(_headline(), 4),
        Band([(12, _http()), (12, _grpc())], 7, "Traffic"),
        Band([(6, _error_ratio()), (6, _burn()), (6, _answers()), (6, _refusals())], 7),
        Band([(12, _latency("Update", _UPDATES, objective_seconds(_SLOW))),
              (12, _latency("Sample", _SAMPLES))], 8, "Latency"),
        Band([(12, heat("Durations of updates", buckets(_UPDATES, _OK))),
              (12, heat("Durations of samples", buckets(_SAMPLES, _OK)))], 7),
        Band(_resources(), 6, "Processes"),
        Band(_queues(), 6),
    ]  # fmt: skip


def faults(transport: str = "") -> Query:
    """The part of requests that ended by a fault of the service or its store.

    transport: http, grpc, or "" for both.
    """
    names = [name for name in _ASKED if transport in name]
    both = {name: ", ".join(filter(None, (_ASKED[name], _FAULTY[name]))) for name in names}
    return share(
        added(*(or_zero(rate(name, where=both[name])) for name in names)),
        added(*(or_zero(rate(name, where=_ASKED[name])) for name in names)),
    )


def _headline() -> list[tuple[int, Panel]]:
    return [
        (3, number(
            "Replicas ready", level("sketchd_ready", how="sum").named("ready"),
            queries.scraped().named("scraped"),
            note="Replicas that answer /readyz with 200, and those that Prometheus reaches.",
            thresholds=steps((1, GREEN), base=RED), graph=False,
            alarms=alarms("SketchdAbsent", "SketchdTargetDown", "SketchdNotReady",
                          "SketchdNoReplicaReady"),
        )),
        (3, number(
            "Alerts", queries.firing(), note="Alerts of sketchd that fire.",
            thresholds=steps((1, RED)), graph=False,
        )),
        (3, number(
            "Errors", faults(), absent="no traffic",
            note="The part of requests and messages that ended by a fault of the service or its "
            "store: 5xx, INTERNAL or UNAVAILABLE.",
            thresholds=steps((budget(_FAILED), ORANGE), (0.01, RED)), decimals=2, alarms=_ERRORS,
        )),
        (3, number("Update p99", quantile(0.99, _UPDATES, where=_OK), absent="no traffic")),
        (3, number("Sample p99", quantile(0.99, _SAMPLES, where=_OK), absent="no traffic")),
        (3, number("Coordinates / s", rate("sketchd_updates_total"), absent="no traffic")),
        (3, number(
            "Worker restarts", grown("sketchd_worker_restarts_total"),
            note="In the time shown.", thresholds=steps((1, RED)), graph=False, decimals=0,
            alarms=alarms("SketchdWorkersDying"),
        )),
        (3, number(
            "Version", queries.versions(), thresholds=steps(base=PLAIN), graph=False, names=True,
            note="Replicas by version; several while an upgrade runs.",
            alarms=alarms("SketchdSeveralVersions"),
        )),
    ]  # fmt: skip


def _http() -> Panel:
    return lines(
        "HTTP requests by route",
        queries.nonzero(rate("sketchd_http_requests_total", "method", "route")).named(
            "{{method}} {{route}}"
        ),
        aside=True,
    )


def _grpc() -> Panel:
    return lines(
        "RPCs and messages of streams by method",
        queries.or_none(rate("sketchd_grpc_requests_total", "method"), "method").named(
            "{{method}}"
        ),
        queries.nonzero(rate("sketchd_grpc_messages_total", "method")).named(
            "{{method}}, messages"
        ),
        unit="ops",
        aside=True,
    )


def _error_ratio() -> Panel:
    return lines(
        "Error ratio",
        faults("http").named("http"),
        faults("grpc").named("grpc"),
        note="Requests under /v1, calls and messages of streams that ended by a fault of the "
        "service or its store: 5xx of HTTP; INTERNAL, UNAVAILABLE and the like of gRPC. The dashed "
        "line is what the objective allows.",
        limit=budget(_FAILED),
        alarms=_ERRORS,
    )


def _burn() -> Panel:
    return lines(
        "How fast the budgets burn",
        *(
            queries.over_budget(f"job:sketchd_{what}:ratio_rate1h", f"sketchd:{what}:budget", name)
            for what, name in (("requests_failed", "failures"), ("updates_slow", "slow updates"))
        ),
        note="Over the last hour, as recorded by deploy/prometheus/rules/recording.yml: at 1 the "
        "budget of 30 days lasts 30 days, at 10 three. At the dashed line somebody is woken.",
        limit=alarm("SketchdErrorBudgetBurningFast").limits[0],
        alarms=[*_ERRORS, *_LATENCY],
    )


def _answers() -> Panel:
    return lines(
        "Answers by status",
        rate("sketchd_http_requests_total", "status").named("http {{status}}"),
        rate("sketchd_grpc_requests_total", "code").named("grpc {{code}}"),
        stacked=True,
    )


def _refusals() -> Panel:
    return lines(
        "Refusals by reason",
        queries.or_none(rate("sketchd_rejected_total", "reason"), "reason").named("{{reason}}"),
        stacked=True,
        note="Reasons are the codes of problems.",
        alarms=alarms(
            "SketchdOverloaded",
            "SketchdInternalErrors",
            "SketchdStoredDataDamaged",
            "SketchdLogFull",
        ),
    )


def _latency(what: str, metric: str, limit: float | None = None) -> Panel:
    return lines(
        f"{what} latency",
        quantile(0.5, metric, "transport", where=_OK).named(f"{_BY_TRANSPORT} p50"),
        quantile(0.99, metric, "transport", where=_OK).named(f"{_BY_TRANSPORT} p99"),
        limit=limit,
        logarithmic=True,
        alarms=_LATENCY if limit is not None else (),
        note="Of those that succeeded. Estimated within buckets: a value between two bounds is "
        "taken to be spread evenly.",
    )


def _resources() -> list[tuple[int, Panel]]:
    processor = rate("process_cpu_seconds_total", "instance")
    memory = level("process_resident_memory_bytes", "instance")
    lag = quantile(0.99, "sketchd_event_loop_lag_seconds", "instance")
    files = share(level("process_open_fds", "instance"), level("process_max_fds", "instance"))
    by_instance = "{{instance}}"
    late, many = alarms("SketchdEventLoopLag", "SketchdFileDescriptorsNearLimit")
    return [
        (6, lines("Processors in use", processor.named(by_instance), note="100 % is one.")),
        (6, lines("Resident memory", memory.named(by_instance), note="Of all workers.")),
        (6, lines("Event loop lag p99", lag.named(by_instance), limit=late.limit, alarms=[late])),
        (
            6,
            lines(
                "Open files",
                files.named(by_instance),
                note="Of those allowed.",
                limit=many.limit,
                alarms=[many],
            ),
        ),
    ]


def _queues() -> list[tuple[int, Panel]]:
    by_instance = "{{instance}}"
    jobs = level("sketchd_pool_jobs", "instance")
    threads = queries.setting("pool_threads")
    bodies = level("sketchd_bodies_in_flight_bytes", "instance")
    workers = level("sketchd_workers", "instance")
    age = queries.age("process_start_time_seconds", "instance")
    return [
        (
            6,
            lines(
                "Pool jobs",
                jobs.named(by_instance),
                threads.named("threads"),
                note="Waiting for a thread or running; threads are of each worker.",
                alarms=alarms("SketchdPoolSaturated"),
                whole=True,
            ),
        ),
        (6, lines("Bodies held", bodies.named(by_instance))),
        (
            6,
            lines(
                "Workers",
                workers.named(by_instance),
                queries.setting("workers").named("wanted of each"),
                alarms=alarms("SketchdWorkersDying", "SketchdWorkersMissing"),
                whole=True,
            ),
        ),
        (6, lines("Running for", age.named(by_instance), alarms=alarms("SketchdRestarting"))),
    ]
