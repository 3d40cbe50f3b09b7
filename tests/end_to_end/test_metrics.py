"""Metrics say what was done: known traffic to a real service, of one worker and of three."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metric_families,
)

from service.metrics_catalogue import METRICS, OTHER
from tests.end_to_end.workers import Scraped, Service, parsed, serving, until

#: The interface's names.
CONTRACT = {
    "sketchd_update_duration_seconds": ("histogram", {"transport", "kind", "outcome"}),
    "sketchd_sample_duration_seconds": ("histogram", {"transport", "kind", "outcome"}),
    "sketchd_updates_total": ("counter", {"kind"}),
    "sketchd_update_batches_total": ("counter", {"kind", "outcome"}),
    "sketchd_sketch_memory_bytes": ("gauge", {"tenant", "sketch", "part"}),
    "sketchd_sketches": ("gauge", {"tenant"}),
    "sketchd_fold_duration_seconds": ("histogram", set()),
    "sketchd_log_backlog_updates": ("gauge", set()),
    "sketchd_compactions_total": ("counter", {"outcome"}),
    "sketchd_store_duration_seconds": ("histogram", {"operation", "outcome"}),
    "sketchd_store_up": ("gauge", set()),
    "sketchd_rejected_total": ("counter", {"reason"}),
    "sketchd_ready": ("gauge", set()),
    "sketchd_tenant_quota": ("gauge", {"tenant", "resource"}),
    "sketchd_inexact_sketches": ("gauge", {"tenant"}),
    "process_cpu_seconds_total": ("counter", set()),
    "process_resident_memory_bytes": ("gauge", set()),
    "process_open_fds": ("gauge", set()),
    "process_max_fds": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
}
SPECS = {
    "vector": {"kind": "vector", "shape": {"n": 1000}, "seed": 1},
    "matrix": {"kind": "matrix", "shape": {"n": 1000, "d": 2}, "seed": 1},
    "tensor": {"kind": "tensor", "shape": {"n1": 50, "n2": 50, "d1": 2, "d2": 2}, "seed": 1},
}
UPDATES: dict[str, dict[str, object]] = {
    "vector": {"index": [1, 2, 3], "delta": [1, 2, 3]},
    "matrix": {"operand": "A", "row": [1, 2], "values": [[1, 2], [3, 4]]},
    "tensor": {"operand": "A1", "row": [1], "column": [0], "delta": [2]},
}
COORDINATES = {"vector": 3, "matrix": 4, "tensor": 1}
QUESTIONS: dict[str, dict[str, object]] = {
    "vector": {},
    "matrix": {"x": [1, 1]},
    "tensor": {"X": [[1, 0], [0, 1]]},
}
TIMES = 4
#: A vector gets one more, as a part of a batch request.
BACKLOG = TIMES * sum(COORDINATES.values()) + COORDINATES["vector"]


@pytest.fixture(scope="module", params=[1, 3], ids=["one worker", "three workers"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("metrics")
    settings = {"usage_interval_seconds": 0.1, "metrics_largest_sketches": 2}
    with serving(folder, request.param, **settings) as found:
        yield found


def traffic(service: Service) -> None:
    """Updates that succeed, repeat and are refused, questions, bad requests, and deletions."""
    for name, spec in SPECS.items():
        assert service.call("PUT", f"/v1/sketches/{name}", json=spec).status_code == 201
        path = f"/v1/sketches/{name}"
        for at in range(TIMES):
            for _ in range(2):  # the second is a replay
                answer = service.call(
                    "POST", f"{path}/updates", json=UPDATES[name],
                    headers={"Idempotency-Key": f"{name}-{at}"},
                )  # fmt: skip
                assert answer.status_code == 200, answer.text
            assert service.call("POST", f"{path}/samples", json=QUESTIONS[name]).status_code == 200
            # Refused by the use case, before it, and before anything was read.
            assert _status(service, f"{path}/updates", UPDATES[name] | {"odd": 1}) == 422
            assert _status(service, f"{path}/updates", b"{not json") == 400
            assert _status(service, f"{path}/samples", {"count": -1}) == 422
        assert _status(service, f"{path}/updates", b"x", "text/plain") == 415
    assert _status(service, "/v1/sketches/nobody/updates", UPDATES["vector"]) == 404
    assert _status(service, "/v1/sketches/nobody/samples", {}) == 404
    assert _status(service, "/v1/sketches/vector/estimates", {"index": [1]}) == 200
    assert _status(service, "/v1/sketches/vector/norm", {}) == 200
    parts = [
        {"sketch": "vector", **UPDATES["vector"]},
        {"sketch": "vector", "index": [5000], "delta": [1]},
        {"sketch": "vector", "index": 7},
        {"sketch": "gone", **UPDATES["vector"]},
    ]
    assert _status(service, "/v1/updates", {"updates": parts}) == 200
    assert _status(service, "/v1/updates", {"updates": 3}) == 422
    assert service.call("GET", "/v1/sketches/vector/updates").status_code == 405
    assert service.call("GET", "/secret-path").status_code == 404
    assert service.call("PROPFIND", "/healthz").status_code == 405
    assert service.call("HEAD", "/healthz").status_code == 200


def _status(service: Service, path: str, body: object, kind: str = "application/json") -> int:
    sent: dict[str, object] = (
        {"content": body, "headers": {"content-type": kind}}
        if isinstance(body, bytes)
        else {"json": body}
    )
    return service.call("POST", path, **sent).status_code


@pytest.fixture(scope="module")
def scraped(service: Service) -> Scraped:
    """After the traffic, and after every worker has looked at the store."""
    traffic(service)
    until(lambda: service.scrape()("sketchd_log_backlog_updates") == BACKLOG, "a look at all of it")
    return service.scrape()


def test_the_names_types_and_labels_are_the_interfaces(scraped: Scraped) -> None:
    for name, one in METRICS.items():
        family = name.removesuffix("_total")
        assert scraped.types[family] == one.kind, name
        assert scraped.helps[family] == one.meaning, name
    for name, (kind, labels) in CONTRACT.items():
        assert (METRICS[name].kind, set(METRICS[name].labels)) == (kind, labels)


def test_batches_and_coordinates_are_those_sent(scraped: Scraped) -> None:
    for kind, coordinates in COORDINATES.items():
        more = 1 if kind == "vector" else 0  # a part of the batch request
        assert scraped("sketchd_updates_total", kind=kind) == coordinates * (TIMES + more)
        for outcome, count in (("ok", TIMES + more), ("replayed", TIMES), ("invalid", more)):
            assert scraped("sketchd_update_batches_total", kind=kind, outcome=outcome) == count, (
                kind, outcome,
            )  # fmt: skip
    unknown = {"kind": "unknown"}
    kinds = len(SPECS)
    for outcome, count in (
        ("invalid", 2 * TIMES * kinds + 2),  # an odd field, no JSON; a part, and no list of parts
        ("refused", kinds),
        ("not_found", 2),
    ):
        assert scraped("sketchd_update_batches_total", outcome=outcome, **unknown) == count, outcome


def test_every_request_is_timed_once_failures_included(scraped: Scraped) -> None:
    name = "sketchd_update_duration_seconds"
    for labels in (
        {"outcome": "ok"}, {"outcome": "invalid"}, {"outcome": "refused"}, {"kind": "unknown"},
    ):  # fmt: skip
        batches = scraped("sketchd_update_batches_total", **labels)
        assert scraped(f"{name}_count", transport="http", **labels) == batches > 0
        assert scraped(f"{name}_bucket", le="+Inf", transport="http", **labels) == batches
    kinds = len(SPECS)
    single = kinds * (4 * TIMES + 1) + 1  # ok, replayed, two refused; a content type; no sketch
    assert scraped(f"{name}_count") == single + 4 + 1  # four parts, and a request without
    routed = {"route": "/v1/sketches/{name}/updates", "method": "POST"}
    assert scraped("sketchd_http_requests_total", **routed) == single
    name = "sketchd_sample_duration_seconds"
    assert scraped(f"{name}_count", outcome="ok") == TIMES * kinds + 2
    assert scraped(f"{name}_count", outcome="invalid") == TIMES * kinds
    assert scraped(f"{name}_count", outcome="not_found") == 1
    assert scraped(f"{name}_count") == 2 * TIMES * kinds + 3


def test_requests_are_counted_by_template_and_never_by_path(scraped: Scraped) -> None:
    name = "sketchd_http_requests_total"
    assert scraped(name, route="/v1/sketches/{name}", method="PUT", status="2xx") == 3
    assert scraped(name, route="unmatched", method="GET", status="4xx") == 1
    assert scraped(name, route="/healthz", method="HEAD", status="2xx") == 1
    assert scraped(name, route="/healthz", method="other", status="4xx") == 1
    assert scraped(name, route="/v1/sketches/{name}/updates", method="GET", status="4xx") == 1
    assert scraped.labels(name, "status") <= {"2xx", "3xx", "4xx", "5xx", "none"}
    for label in scraped.labels(name, "route"):
        assert "secret" not in label
        assert not label.endswith("/vector")


def test_refusals_are_counted_by_code(scraped: Scraped) -> None:
    kinds = len(SPECS)
    for reason, count in (
        ("sketch_not_found", 3),
        ("route_not_found", 1),
        ("method_not_allowed", 2),
        ("unsupported_media_type", kinds),
    ):
        assert scraped("sketchd_rejected_total", reason=reason) == count, reason
    every_4xx = scraped("sketchd_http_requests_total", status="4xx")
    refused_parts = 3
    assert scraped("sketchd_rejected_total") == every_4xx + refused_parts


def test_what_the_store_holds_is_not_added_up(service: Service, scraped: Scraped) -> None:
    assert scraped("sketchd_sketches", tenant="default") == len(SPECS)
    infos = [service.call("GET", f"/v1/sketches/{name}").json() for name in SPECS]
    state = sum(info["memory_bytes"]["state"] for info in infos)
    assert scraped("sketchd_sketch_memory_bytes", part="state") == state
    assert scraped("sketchd_tenant_state_bytes", tenant="default") == state
    # Two by name, as the setting says, and the rest as one.
    shown = scraped.labels("sketchd_sketch_memory_bytes", "sketch")
    assert OTHER in shown
    assert len(shown) == 3
    assert scraped("sketchd_idempotency_keys") == TIMES * len(SPECS)
    assert scraped("sketchd_log_backlog_updates") == BACKLOG
    assert scraped("sketchd_store_up") == 1
    assert scraped("sketchd_inexact_sketches", tenant="default") == 0
    assert scraped("sketchd_build_info") == 1


def test_what_processes_have_is_there(service: Service, scraped: Scraped) -> None:
    assert scraped("sketchd_cache_bytes") > 0
    assert scraped("sketchd_pool_jobs") == 0
    assert scraped("sketchd_bodies_in_flight_bytes") == 0
    assert scraped("sketchd_event_loop_lag_seconds_count") > 0
    assert scraped("sketchd_workers") == max(1, len(service.workers()))
    assert scraped("sketchd_worker_restarts_total") == 0
    assert scraped("sketchd_store_duration_seconds_count", operation="append", outcome="ok") > 0
    assert scraped("sketchd_fold_duration_seconds_count") > 0
    assert scraped("sketchd_setting", setting="workers") == max(1, len(service.workers()))
    assert scraped("process_cpu_seconds_total") > 0
    assert 0 < scraped("process_open_fds") < scraped("process_max_fds")
    assert time.time() - 3600 < scraped("process_start_time_seconds") < time.time()


@pytest.mark.usefixtures("scraped")
def test_it_is_ready_and_a_tenants_limits_are_shown(service: Service) -> None:
    path = "/v1/admin/tenants/acme"
    assert service.call("PUT", path, json={"sketches": 7}).status_code == 201
    until(
        lambda: service.scrape()("sketchd_tenant_quota", tenant="acme", resource="sketches") == 7,
        "the new tenant's limit",
    )
    until(lambda: service.scrape()("sketchd_ready") == 1, "every worker has asked the store")
    assert service.call("DELETE", path).status_code == 204
    until(lambda: not service.scrape().labels("sketchd_tenant_quota", "tenant"), "no limit")


@pytest.mark.usefixtures("scraped")
def test_openmetrics_where_it_is_asked_for(service: Service) -> None:
    plain = service.call("GET", "/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    answer = service.call(
        "GET", "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = open_metric_families(answer.text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in found}
    assert set(families) == {name.removesuffix("_total") for name in METRICS}
    here = parsed(plain.text)
    [sample] = [
        sample
        for sample in families["sketchd_updates"].samples
        if sample.labels == {"kind": "matrix"}
    ]
    assert sample.value == here("sketchd_updates_total", kind="matrix")


@pytest.mark.usefixtures("scraped")
def test_a_deleted_sketch_leaves_no_series(service: Service) -> None:
    """Last, for it takes away what the others look at."""
    for name in SPECS:
        assert service.call("DELETE", f"/v1/sketches/{name}").status_code == 204
    until(
        lambda: not service.scrape().labels("sketchd_sketch_memory_bytes", "sketch"),
        "no memory of any sketch",
    )
    # From now on no worker may show it again.
    for _ in range(10):
        later = service.scrape()
        assert not later.labels("sketchd_sketch_memory_bytes", "sketch")
        assert later("sketchd_sketches") == 0
