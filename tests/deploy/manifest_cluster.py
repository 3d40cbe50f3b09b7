"""What schemas do not know of the rest: how many pods, who may talk to whom, ways in, alerts.

Each function returns what is wrong, in words; nothing where all is well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from service import metrics_catalogue
from tests.deploy.kustomize import Document, Manifests, container_of, named
from tests.deploy.manifest_links import SOLVERS
from tests.deploy.manifest_pods import read
from tests.deploy.quantities import quantity

_NGINX: Final = "nginx.ingress.kubernetes.io"
_HAPROXY: Final = "haproxy.org"
_DNS: Final = 53
#: Where a pod of cert-manager's listens that proves whose a host is.
_SOLVER_PORT: Final = 8089


def replicas(found: Manifests) -> list[str]:
    """Never fewer than two pods; disruption budget and autoscaler are of this Deployment."""
    wrong = []
    scalers = found.kind("HorizontalPodAutoscaler")
    fewest = found.service["spec"].get("replicas", 0)
    if scalers:
        if fewest:
            wrong.append("each `apply` would undo what the autoscaler decided")
        fewest = min(one["spec"]["minReplicas"] for one in scalers)
    if fewest < 2:
        wrong.append(f"{fewest} pods: an update or a drained node is an outage")
    (budget,) = found.kind("PodDisruptionBudget")
    if budget["spec"].get("maxUnavailable") != 1:
        wrong.append("drains are either blocked or take several pods at a time")
    if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
        wrong.append("no node can be drained while Redis is away")
    return [*wrong, *(fault for one in scalers for fault in _scaling(found, one))]


def _scaling(found: Manifests, scaler: Document) -> Iterator[str]:
    target = scaler["spec"]["scaleTargetRef"]
    try:
        found.one(target["kind"], target["name"])
    except LookupError as error:
        yield f"the autoscaler scales nothing: {error}"
    if scaler["spec"]["maxReplicas"] <= scaler["spec"]["minReplicas"]:
        yield "the autoscaler has nothing to do"
    for metric in scaler["spec"]["metrics"]:
        if metric["type"] == "Resource":
            name = metric["resource"]["name"]
            if name not in container_of(found.service)["resources"]["requests"]:
                yield f"scales by {name}, of which pods request none"
            if name == "memory":
                yield "scales by memory, of which a cache takes what it gets"
            continue
        name, goal = metric["pods"]["metric"]["name"], metric["pods"]["target"]["averageValue"]
        if name not in metrics_catalogue.METRICS:
            yield f"scales by {name}, which is no metric"
        if name == "sketchd_pool_jobs" and quantity(goal) > read(found).pool_threads:
            yield "scales only when jobs wait for a thread already"


def network(found: Manifests) -> list[str]:
    """All is denied but named peers; every pod of the service finds names, and its store."""
    policies = found.kind("NetworkPolicy")
    wrong = []
    if not any(
        one["spec"]["podSelector"] == {}
        and set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not one["spec"].get("ingress")
        and not one["spec"].get("egress")
        for one in policies
    ):
        wrong.append("what is not named is let through")
    for label, one in named(policies):
        for rule in [*one["spec"].get("ingress", []), *one["spec"].get("egress", [])]:
            peers = rule.get("from") or rule.get("to")
            if not peers or not all(peers) or not rule.get("ports"):
                wrong.append(f"{label}: lets anybody through, or to any port")
            wrong += [
                f"{label}: lets the whole world through"
                for peer in peers or []
                if peer.get("ipBlock", {}).get("cidr", "").endswith("/0")
                or peer.get("namespaceSelector") == {}
            ]
    ways_out = _ways_out(found)
    if _DNS not in ways_out:
        wrong.append("pods of the service resolve no names")
    if not ways_out & {"redis", 6379}:
        wrong.append("pods of the service do not reach Redis")
    solvers = [one["spec"] for one in policies if one["spec"]["podSelector"] == SOLVERS]
    if found.kind("Ingress") and not any(
        port["port"] == _SOLVER_PORT
        for one in solvers
        for rule in one["ingress"]
        for port in rule["ports"]
    ):
        wrong.append("cert-manager cannot be asked to prove whose the host is")
    return wrong


def _ways_out(found: Manifests) -> set[object]:
    """Ports that pods of the service may reach."""
    return {
        port["port"]
        for one in found.kind("NetworkPolicy")
        if found.service in found.selected(one["spec"]["podSelector"].get("matchLabels", {}))
        for rule in one["spec"].get("egress", [])
        for port in rule["ports"]
    }


#: A path, and whether requests for it belong to the sketch they name (True), to any pod (False),
#: or to nobody who comes from outside (None).
PATHS: Final = {
    "/v1/sketches/visits": True,
    "/v1/sketches/visits/updates": True,
    "/v1/sketches/a.b:c_d-e/samples": True,
    "/v1/sketches": False,
    "/v1/updates": False,
    "/v1/admin/keys": False,
    "/dashboard": False,
    "/dashboard/assets/app.js": False,
    "/docs": False,
    "/openapi.json": False,
    "/readyz": False,
    "/": False,
    "/metrics": None,
    "/elsewhere": None,
    "/v1elsewhere": None,
}


def ingress(found: Manifests) -> list[str]:
    """Requests go where they should, with the limits the service has."""
    http = [
        one
        for one in found.kind("Ingress")
        if one["metadata"]["name"] in ("sketchd", "sketchd-sketches")
    ]
    if not http:
        return []
    wrong = [
        f"{path} goes to {taken}"
        for path, wanted in PATHS.items()
        for taken in [_taker(http, path)]
        if taken != {True: "sketchd-sketches", False: "sketchd", None: None}[wanted]
    ]
    hashed = found.one("Ingress", "sketchd-sketches")["metadata"]["annotations"]
    if f"{_NGINX}/use-regex" in hashed:
        return [*wrong, *_nginx(found, hashed)]
    if hashed.get(f"{_HAPROXY}/load-balance") != "uri depth 3":
        wrong.append("a sketch's requests go to any pod")
    if "hash-type consistent" not in hashed.get(f"{_HAPROXY}/backend-config-snippet", ""):
        wrong.append("one pod more moves every sketch")
    if hashed.get(f"{_HAPROXY}/standalone-backend") != "true":
        wrong.append("lists and batches are hashed too")
    return wrong


def _nginx(found: Manifests, hashed: Document) -> Iterator[str]:
    if hashed.get(f"{_NGINX}/upstream-hash-by") != "$1":
        yield "a sketch's requests go to any pod"
    as_set = read(found)
    for name, limit in (
        ("sketchd-sketches", as_set.max_snapshot_bytes),
        ("sketchd", as_set.max_body_bytes),
    ):
        notes = found.one("Ingress", name)["metadata"]["annotations"]
        size = notes.get(f"{_NGINX}/proxy-body-size", "1m")
        if int(size.rstrip("m")) << 20 < limit:
            yield f"Ingress/{name}: refuses bodies the service would take"


def _taker(ingresses: list[Document], path: str) -> str | None:
    """Which Ingress a path belongs to.

    Of patterns ingress-nginx tries the longest first, ignoring case, from the beginning; of plain
    paths an exact one wins, then the longest prefix of whole parts.
    """
    rules = [
        (rule, one["metadata"]["name"])
        for one in ingresses
        for host in one["spec"]["rules"]
        for rule in host["http"]["paths"]
    ]
    rules.sort(key=lambda found: (found[0]["pathType"] != "Exact", -len(found[0]["path"])))
    for rule, name in rules:
        kind, wanted = rule["pathType"], rule["path"]
        if kind == "ImplementationSpecific" and re.match(wanted, path, re.IGNORECASE):
            return str(name)
        if kind == "Exact" and path == wanted:
            return str(name)
        if kind == "Prefix" and f"{path}/".startswith(wanted.rstrip("/") + "/"):
            return str(name)
    return None


def monitoring(found: Manifests) -> list[str]:
    """What the operator's own schemas would say, as far as these documents need it; dashboards."""
    wrong = []
    for label, one in named(found.kind("ServiceMonitor", "PrometheusRule")):
        if one["apiVersion"] != "monitoring.coreos.com/v1":
            wrong.append(f"{label}: {one['apiVersion']}")
    for label, one in named(found.kind("PrometheusRule")):
        if set(one["spec"]) != {"groups"} or not one["spec"]["groups"]:
            wrong.append(f"{label}: has no groups")
        for group in one["spec"].get("groups", []):
            if not set(group) <= {"name", "interval", "rules", "limit", "labels"}:
                wrong.append(f"{label}: {sorted(group)} in a group")
            for rule in group["rules"]:
                if ("record" in rule) == ("alert" in rule) or "expr" not in rule:
                    wrong.append(f"{label}: {rule} is no rule")
    for label, one in named(found.kind("ServiceMonitor")):
        for endpoint in one["spec"]["endpoints"]:
            if (endpoint["path"], endpoint["interval"]) != ("/metrics", "15s"):
                wrong.append(f"{label}: scrapes {endpoint['path']} every {endpoint['interval']}")
    for label, one in named(found.kind("ConfigMap")):
        if one["metadata"].get("labels", {}).get("grafana_dashboard") != "1":
            continue
        for name, text in one["data"].items():
            if not name.endswith(".json") or "panels" not in json.loads(text):
                wrong.append(f"{label}: {name} is no dashboard")
            if len(text) > 1 << 20:
                wrong.append(f"{label}: {name} is too large for a ConfigMap")
    return wrong
