"""What schemas do not know of manifests: that names, labels and ports lead somewhere.

Each function returns what is wrong, in words; nothing where all is well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.deploy.kustomize import Document, Manifests, container_of, named, pod_of, template_of

NAMESPACE: Final = "sketchd"
_CLUSTER_WIDE: Final = frozenset({"Namespace", "PriorityClass"})
#: Pods that cert-manager starts, and ends, in the namespace of a certificate.
SOLVERS: Final = {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}}


def selectors(found: Manifests) -> list[str]:
    """Every selector takes pods, and those it is meant for."""
    return [*_of_workloads(found), *_of_others(found)]


def _of_workloads(found: Manifests) -> Iterator[str]:
    for label, one in named(found.workloads):
        template = template_of(one)["metadata"]["labels"]
        selector = one["spec"].get("selector", {}).get("matchLabels", {})
        if one["kind"] != "CronJob" and not selector.items() <= template.items():
            yield f"{label}: its selector does not take its own pods"
        for spread in pod_of(one).get("topologySpreadConstraints", []):
            if not spread["labelSelector"]["matchLabels"].items() <= template.items():
                yield f"{label}: it is spread by labels its pods do not have"
        if one["kind"] == "StatefulSet":
            service = found.one("Service", one["spec"]["serviceName"])
            if service["spec"].get("clusterIP") != "None":
                yield f"{label}: its Service is not headless"


def _of_others(found: Manifests) -> Iterator[str]:
    for label, one in named(found.documents):
        spec = one.get("spec", {})
        if one["kind"] == "Service" and len(found.selected(spec["selector"])) != 1:
            yield f"{label}: selects {len(found.selected(spec['selector']))} workloads"
        if one["kind"] == "PodDisruptionBudget" and (
            len(found.selected(spec["selector"]["matchLabels"])) != 1
        ):
            yield f"{label}: selects no workload, or several"
        if (
            one["kind"] == "NetworkPolicy"
            and spec["podSelector"] != SOLVERS
            and not found.selected(spec["podSelector"].get("matchLabels", {}))
        ):
            yield f"{label}: selects no pods"
        if one["kind"] == "ServiceMonitor":
            wanted = spec["selector"]["matchLabels"].items()
            services = [
                service
                for service in found.kind("Service")
                if wanted <= service["metadata"]["labels"].items()
            ]
            if len(services) != 1:
                yield f"{label}: selects {len(services)} Services, so pods are scraped as often"


def ports(found: Manifests) -> list[str]:
    """Every port that something names is there."""
    return [*_probed(found), *_served(found), *_allowed(found), *_entered(found), *_scraped(found)]


def _names(workload: Document) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container_of(workload).get("ports", [])}


def _probed(found: Manifests) -> Iterator[str]:
    for label, one in named(found.workloads):
        container = container_of(one)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if one["kind"] == "CronJob":
                continue
            if probe not in container:
                yield f"{label}: has no {probe}"
                continue
            asked = container[probe]
            target = asked.get("httpGet") or asked.get("tcpSocket")
            if target is not None and target["port"] not in _names(one):
                yield f"{label}: {probe} asks port {target['port']}, which it does not have"


def _served(found: Manifests) -> Iterator[str]:
    for label, one in named(found.kind("Service")):
        for workload in found.selected(one["spec"]["selector"]):
            own = _names(workload)
            for port in one["spec"]["ports"]:
                if port["targetPort"] not in own:
                    yield f"{label}: leads to port {port['targetPort']}, which nobody has"
                elif one["spec"].get("clusterIP") == "None" and port["port"] != own[port["name"]]:
                    # Headless: nobody translates the one into the other.
                    yield f"{label}: says {port['port']}, but pods listen on {own[port['name']]}"
                if not port.get("appProtocol"):
                    yield f"{label}: does not say what port {port['name']} speaks"


def _allowed(found: Manifests) -> Iterator[str]:
    for label, one in named(found.kind("NetworkPolicy")):
        spec = one["spec"]
        takers = found.selected(spec["podSelector"].get("matchLabels", {}))
        for rule in spec.get("ingress", []):
            yield from (
                f"{label}: lets in to port {port}, which {taker['metadata']['name']} does not have"
                for port in _numbers(rule)
                for taker in takers
                if port not in _names(taker) and port not in _names(taker).values()
            )
        for rule in spec.get("egress", []):
            for peer in rule.get("to", []):
                if "podSelector" not in peer or "namespaceSelector" in peer:
                    continue
                targets = found.selected(peer["podSelector"]["matchLabels"])
                open_there = [name for one in targets for name in _names(one)]
                yield from (
                    f"{label}: lets out to port {port}, which is not there"
                    for port in _numbers(rule)
                    if port not in open_there
                )


def _numbers(rule: Document) -> list[Any]:
    return [port["port"] for port in rule.get("ports", [])]


def _entered(found: Manifests) -> Iterator[str]:
    for label, one in named(found.kind("Ingress")):
        covered = {host for tls in one["spec"].get("tls", []) for host in tls["hosts"]}
        for rule in one["spec"]["rules"]:
            if rule["host"] not in covered:
                yield f"{label}: {rule['host']} has no TLS, and keys would travel in the open"
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = found.one("Service", backend["name"])
                if backend["port"]["name"] not in [one["name"] for one in service["spec"]["ports"]]:
                    yield f"{label}: leads to port {backend['port']['name']}, which is not there"


def _scraped(found: Manifests) -> Iterator[str]:
    for label, one in named(found.kind("ServiceMonitor")):
        wanted = one["spec"]["selector"]["matchLabels"].items()
        for service in found.kind("Service"):
            if not wanted <= service["metadata"]["labels"].items():
                continue
            known = [port["name"] for port in service["spec"]["ports"]]
            for endpoint in one["spec"]["endpoints"]:
                if endpoint["port"] not in known:
                    yield f"{label}: scrapes port {endpoint['port']}, which is not there"
            job = service["metadata"]["labels"].get(one["spec"]["jobLabel"])
            if job != "sketchd":
                yield f"{label}: its job is {job}, where rules and dashboards say sketchd"


def references(found: Manifests) -> list[str]:
    """What pods refer to is there, all of it in one namespace, under its recommended labels."""
    return [*_referred(found), *_placed(found)]


def _referred(found: Manifests) -> Iterator[str]:
    for label, one in named(found.workloads):
        pod = pod_of(one)
        wanted = [("ServiceAccount", pod["serviceAccountName"])]
        wanted += [
            ("ConfigMap", volume["configMap"]["name"])
            for volume in pod.get("volumes", [])
            if "configMap" in volume
        ]
        if "priorityClassName" in pod:
            wanted.append(("PriorityClass", pod["priorityClassName"]))
        wanted += [
            ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
            for volume in pod.get("volumes", [])
            if "persistentVolumeClaim" in volume
        ]
        for kind, name in wanted:
            try:
                found.one(kind, name)
            except LookupError as error:
                yield f"{label}: {error}"
        try:
            found.environment(one)
        except LookupError as error:
            yield f"{label}: {error}"


def _placed(found: Manifests) -> Iterator[str]:
    for label, one in named(found.documents):
        metadata = one["metadata"]
        if one["kind"] not in _CLUSTER_WIDE and metadata.get("namespace") != NAMESPACE:
            yield f"{label}: is in namespace {metadata.get('namespace')}"
        if one["kind"] in ("Deployment", "StatefulSet", "CronJob", "Service", "Ingress"):
            for name in ("name", "component", "part-of"):
                if f"app.kubernetes.io/{name}" not in metadata.get("labels", {}):
                    yield f"{label}: has no label app.kubernetes.io/{name}"
