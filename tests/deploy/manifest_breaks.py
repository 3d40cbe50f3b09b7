"""Manifests broken on purpose, and the words with which a rule of manifest_*.py has to notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.deploy import manifest_cluster as cluster
from tests.deploy import manifest_links as links
from tests.deploy import manifest_pods as pods
from tests.deploy.kustomize import PRODUCTION, SMALL, Manifests, Variant, container_of

Rule = Callable[[Manifests], list[str]]
Break = Callable[[Manifests], object]
INGRESS_NGINX: Final = Variant("overlays/production", ("ingress-nginx",))
INGRESS_HAPROXY: Final = Variant("overlays/production", ("ingress-haproxy",))
POOL: Final = Variant("overlays/production", ("autoscaling-pool", "backup"))
BACKUP: Final = Variant("overlays/small", ("backup",))


def put(document: Any, path: str, value: Any) -> None:
    """Set document[…][…], or take it out for None; `path` is a JSON pointer without its first /."""
    keys = (key.replace("~1", "/") for key in path.split("/"))
    *way, last = (int(key) if key.isdigit() else key for key in keys)
    for key in way:
        document = document[key]
    if value is None:
        del document[last]
    else:
        document[last] = value


def service(path: str, value: Any) -> Break:
    """In the Deployment."""
    return lambda found: put(found.service, f"spec/{path}", value)


def pod(path: str, value: Any) -> Break:
    """In the Deployment's pod."""
    return service(f"template/spec/{path}", value)


def container(path: str, value: Any) -> Break:
    """In the Deployment's container."""
    return pod(f"containers/0/{path}", value)


def of(kind: str, name: str, path: str, value: Any) -> Break:
    """In another document."""
    return lambda found: put(found.one(kind, name), path, value)


def setting(name: str, value: str) -> Break:
    """In the settings."""

    def change(found: Manifests) -> None:
        (config,) = (one for one in found.kind("ConfigMap") if "SKETCHD_HOST" in one["data"])
        config["data"][name] = value

    return change


def without(kind: str, name: str) -> Break:
    """A document left out."""

    def change(found: Manifests) -> None:
        found.documents.remove(found.one(kind, name))

    return change


def without_secrets(found: Manifests) -> None:
    """None of them."""
    for one in found.kind("Secret"):
        found.documents.remove(one)


_ROUTE = "spec/rules/0/http/paths/0"
_NOTES = "metadata/annotations"
#: (What is broken, in which variant, the rule that has to notice, its words.)
BREAKS: Final[list[tuple[Break, Variant, Rule, str]]] = [
    (service("selector/matchLabels", {"a": "b"}), SMALL, links.selectors, "its own pods"),
    (
        pod("topologySpreadConstraints/0/labelSelector/matchLabels", {"a": "b"}),
        SMALL, links.selectors, "spread by labels",
    ),
    (of("Service", "sketchd", "spec/selector", {"a": "b"}), SMALL, links.selectors, "selects 0"),
    (of("Service", "sketchd", "spec/selector", {}), SMALL, links.selectors, "selects 2"),
    (
        of("Service", "sketchd-redis", "spec/clusterIP", "10.0.0.1"),
        SMALL, links.selectors, "not headless",
    ),
    (
        of("PodDisruptionBudget", "sketchd", "spec/selector/matchLabels", {"a": "b"}),
        SMALL, links.selectors, "no workload",
    ),
    (
        of("NetworkPolicy", "redis-from-sketchd", "spec/podSelector/matchLabels", {"a": "b"}),
        SMALL, links.selectors, "no pods",
    ),
    (
        of("ServiceMonitor", "sketchd", "spec/selector/matchLabels",
           {"app.kubernetes.io/name": "sketchd"}),
        PRODUCTION, links.selectors, "scraped as often",
    ),
    (container("readinessProbe/httpGet/port", "web"), SMALL, links.ports, "asks port web"),
    (
        of("StatefulSet", "sketchd-redis", "spec/template/spec/containers/0/livenessProbe", None),
        SMALL, links.ports, "no livenessProbe",
    ),
    (
        of("CronJob", "sketchd-backup",
           "spec/jobTemplate/spec/template/spec/volumes/0/persistentVolumeClaim/claimName", "x"),
        BACKUP, links.references, "no PersistentVolumeClaim x",
    ),
    (
        of("CronJob", "sketchd-backup",
           "spec/jobTemplate/spec/template/spec/securityContext/runAsNonRoot", False),
        BACKUP, pods.hardening, "CronJob/sketchd-backup: it may run as root",
    ),
    (
        of("CronJob", "sketchd-backup",
           "spec/jobTemplate/spec/template/metadata/labels/app.kubernetes.io~1component",
           "service"),
        BACKUP, links.selectors, "selects 2 workloads",
    ),
    (of("Service", "sketchd", "spec/ports/0/targetPort", "web"), SMALL, links.ports, "port web"),
    (of("Service", "sketchd", "spec/ports/1/appProtocol", None), SMALL, links.ports, "speaks"),
    (
        of("Service", "sketchd-headless", "spec/ports/0/port", 80),
        SMALL, links.ports, "pods listen on 8080",
    ),
    (
        of("NetworkPolicy", "sketchd-from-clients", "spec/ingress/0/ports/0/port", "web"),
        SMALL, links.ports, "lets in to port web",
    ),
    (
        of("NetworkPolicy", "sketchd-to-redis", "spec/egress/0/ports/0/port", "http"),
        SMALL, links.ports, "lets out to port http",
    ),
    (
        of("Ingress", "sketchd", f"{_ROUTE}/backend/service/port/name", "web"),
        INGRESS_NGINX, links.ports, "leads to port web",
    ),
    (of("Ingress", "sketchd", "spec/tls", []), INGRESS_NGINX, links.ports, "has no TLS"),
    (
        of("ServiceMonitor", "sketchd", "spec/endpoints/0/port", "metrics"),
        PRODUCTION, links.ports, "scrapes port metrics",
    ),
    (
        of("ServiceMonitor", "sketchd", "spec/jobLabel", "app.kubernetes.io/component"),
        PRODUCTION, links.ports, "its job is pods",
    ),
    (pod("serviceAccountName", "other"), SMALL, links.references, "no ServiceAccount other"),
    (pod("priorityClassName", "high"), SMALL, links.references, "no PriorityClass high"),
    (
        container("envFrom/0/configMapRef/name", "sketchd-settings"),
        SMALL, links.references, "no ConfigMap sketchd-settings",
    ),
    (
        without_secrets,
        PRODUCTION, links.references, "no Secret",
    ),
    (
        of("Service", "sketchd", "metadata/namespace", "default"),
        SMALL, links.references, "namespace default",
    ),
    (
        of("Service", "sketchd", "metadata/labels", {}),
        SMALL, links.references, "no label app.kubernetes.io/name",
    ),
    (setting("SKETCHD_CASH_BYTES", "1"), SMALL, pods.environment, "SKETCHD_CASH_BYTES is no set"),
    (setting("SKETCHD_POOL_THREADS", "0"), SMALL, pods.environment, "SKETCHD_POOL_THREADS must"),
    (setting("SKETCHD_PORT", "80"), SMALL, pods.environment, "not where the service listens"),
    (setting("SKETCHD_KEEP_ALIVE_SECONDS", "5"), SMALL, pods.environment, "sends into it"),
    (setting("SKETCHD_HOST", "127.0.0.1"), SMALL, pods.environment, "nobody reaches it"),
    (
        lambda found: container_of(found.service)["env"].reverse(),
        SMALL, pods.environment, "not defined before",
    ),
    (
        lambda found: container_of(found.service)["env"].pop(),
        PRODUCTION, pods.environment, "no bootstrap key",
    ),
    (
        lambda found: container_of(found.service)["env"].append({"name": "TZ", "value": "CET"}),
        SMALL, pods.environment, "TZ is neither",
    ),
    (container("readinessProbe/httpGet/path", "/health"), SMALL, pods.probes, "no route"),
    (container("livenessProbe/httpGet/path", "/readyz"), SMALL, pods.probes, "must not ask"),
    (container("readinessProbe/timeoutSeconds", 1), SMALL, pods.probes, "gives up before"),
    (container("readinessProbe/failureThreshold", 1), SMALL, pods.probes, "a failover"),
    (container("livenessProbe/failureThreshold", 1), SMALL, pods.probes, "is restarted"),
    (container("startupProbe/failureThreshold", 3), SMALL, pods.probes, "slow start"),
    (container("lifecycle", {}), SMALL, pods.stop, "SIGTERM comes before"),
    (pod("terminationGracePeriodSeconds", 30), SMALL, pods.stop, "killed after 30 s"),
    (setting("SKETCHD_DRAIN_SECONDS", "120"), SMALL, pods.stop, "may take 145"),
    (setting("SKETCHD_NOTICE_SECONDS", "0"), SMALL, pods.stop, "without a word"),
    (service("strategy/rollingUpdate/maxUnavailable", 1), SMALL, pods.stop, "successor"),
    (container("resources/limits", {"cpu": "1"}), SMALL, pods.resources, "no limit of memory"),
    (container("resources/limits/cpu", "1"), SMALL, pods.resources, "throttled"),
    (container("resources/limits/memory", "1700Mi"), SMALL, pods.resources, "no margin"),
    (container("resources/requests/memory", "1Gi"), SMALL, pods.resources, "asks for less"),
    (container("resources/requests/cpu", "100m"), SMALL, pods.resources, "next to no"),
    (setting("SKETCHD_CACHE_BYTES", "1073741824"), SMALL, pods.resources, "no margin"),
    (setting("SKETCHD_WORKERS", "2"), SMALL, pods.resources, "no margin"),
    (
        of("StatefulSet", "sketchd-redis",
           "spec/template/spec/containers/0/resources/limits/memory", "1536Mi"),
        SMALL, pods.resources, "no room to copy",
    ),
    (pod("securityContext/runAsUser", 0), SMALL, pods.hardening, "as root"),
    (pod("securityContext/seccompProfile", None), SMALL, pods.hardening, "seccomp"),
    (
        container("securityContext/readOnlyRootFilesystem", False),
        SMALL, pods.hardening, "can be written",
    ),
    (container("securityContext/capabilities/add", ["NET_RAW"]), SMALL, pods.hardening, "capabil"),
    (container("securityContext/privileged", True), SMALL, pods.hardening, "privileged"),
    (
        container("securityContext/allowPrivilegeEscalation", None),
        SMALL, pods.hardening, "gain rights",
    ),
    (pod("automountServiceAccountToken", True), SMALL, pods.hardening, "a token"),
    (pod("enableServiceLinks", None), SMALL, pods.hardening, "Services write"),
    (pod("hostNetwork", True), SMALL, pods.hardening, "the node's"),
    (pod("volumes", [{"name": "x", "hostPath": {"path": "/"}}]), SMALL, pods.hardening, "mounts"),
    (container("image", "sketchd:latest"), SMALL, pods.images, "not pinned"),
    (container("image", "localhost:5000/sketchd"), SMALL, pods.images, "not pinned"),
    (container("image", "sketchd:0.0.9"), SMALL, pods.images, "is not version"),
    (
        container("env/1", {"name": "SKETCHD_STORE", "value": "redis://:hunter2@redis:6379"}),
        SMALL, pods.secrets, "is written down",
    ),
    (
        lambda found: container_of(found.service)["env"].append(
            {"name": "SKETCHD_BOOTSTRAP_ADMIN_KEY", "value": "x" * 32}
        ),
        SMALL, pods.secrets, "SKETCHD_BOOTSTRAP_ADMIN_KEY is written down",
    ),
    (
        lambda found: put(
            found.one("Namespace", "sketchd"), "metadata/labels/password",
            found.environment(found.service)["REDIS_PASSWORD"],
        ),
        SMALL, pods.secrets, "shows REDIS_PASSWORD",
    ),
    (service("replicas", 1), SMALL, cluster.replicas, "an outage"),
    (service("replicas", 3), PRODUCTION, cluster.replicas, "what the autoscaler decided"),
    (
        of("HorizontalPodAutoscaler", "sketchd", "spec/minReplicas", 1),
        PRODUCTION, cluster.replicas, "an outage",
    ),
    (
        of("HorizontalPodAutoscaler", "sketchd", "spec/maxReplicas", 3),
        PRODUCTION, cluster.replicas, "nothing to do",
    ),
    (
        of("HorizontalPodAutoscaler", "sketchd", "spec/scaleTargetRef/name", "other"),
        PRODUCTION, cluster.replicas, "scales nothing",
    ),
    (
        of("HorizontalPodAutoscaler", "sketchd", "spec/metrics/0/resource/name", "memory"),
        PRODUCTION, cluster.replicas, "scales by memory",
    ),
    (
        of("HorizontalPodAutoscaler", "sketchd", "spec/metrics/1/pods/metric/name", "jobs"),
        POOL, cluster.replicas, "no metric",
    ),
    (
        of("HorizontalPodAutoscaler", "sketchd", "spec/metrics/1/pods/target/averageValue", "3"),
        POOL, cluster.replicas, "already",
    ),
    (
        of("PodDisruptionBudget", "sketchd", "spec/maxUnavailable", 0),
        SMALL, cluster.replicas, "blocked",
    ),
    (
        of("PodDisruptionBudget", "sketchd", "spec/unhealthyPodEvictionPolicy", None),
        SMALL, cluster.replicas, "while Redis is away",
    ),
    (without("NetworkPolicy", "default-deny"), SMALL, cluster.network, "not named"),
    (without("NetworkPolicy", "sketchd-to-dns"), SMALL, cluster.network, "resolve no names"),
    (without("NetworkPolicy", "sketchd-to-redis"), PRODUCTION, cluster.network, "not reach Redis"),
    (
        of("NetworkPolicy", "sketchd-from-clients", "spec/ingress/0/from", []),
        SMALL, cluster.network, "lets anybody",
    ),
    (
        of("NetworkPolicy", "sketchd-to-redis", "spec/egress/0/to/0/ipBlock/cidr", "0.0.0.0/0"),
        PRODUCTION, cluster.network, "whole world",
    ),
    (
        without("NetworkPolicy", "solver-from-ingress"),
        INGRESS_HAPROXY, cluster.network, "cannot be asked to prove",
    ),
    (
        of("Ingress", "sketchd", "spec/rules/0/http/paths/1/path", "/"),
        INGRESS_NGINX, cluster.ingress, "/metrics goes to sketchd",
    ),
    (
        of("Ingress", "sketchd-sketches", f"{_ROUTE}/path", "/v1/([A-Za-z0-9._:-]+)/(.+)"),
        INGRESS_NGINX, cluster.ingress, "/v1/admin/keys goes to sketchd-sketches",
    ),
    (
        of("Ingress", "sketchd-sketches",
           f"{_NOTES}", {"nginx.ingress.kubernetes.io/use-regex": "true"}),
        INGRESS_NGINX, cluster.ingress, "go to any pod",
    ),
    (
        setting("SKETCHD_MAX_BODY_BYTES", "16777216"),
        INGRESS_NGINX, cluster.ingress, "Ingress/sketchd: refuses bodies",
    ),
    (
        lambda found: found.one("Ingress", "sketchd")["spec"]["rules"][0]["http"]["paths"].pop(0),
        INGRESS_HAPROXY, cluster.ingress, "/v1/sketches goes to sketchd-sketches",
    ),
    (
        of("Ingress", "sketchd-sketches", f"{_NOTES}", {}),
        INGRESS_HAPROXY, cluster.ingress, "one pod more moves every sketch",
    ),
    (
        of("ServiceMonitor", "sketchd", "spec/endpoints/0/interval", "60s"),
        PRODUCTION, cluster.monitoring, "every 60s",
    ),
    (
        of("PrometheusRule", "sketchd", "spec/groups", []),
        PRODUCTION, cluster.monitoring, "has no groups",
    ),
    (
        of("ConfigMap", "sketchd-dashboard-store", "data/store.json", "{}"),
        PRODUCTION, cluster.monitoring, "no dashboard",
    ),
]  # fmt: skip
