"""What schemas do not know of pods: their settings, probes, end, memory and rights.

Each function returns what is wrong, in words; nothing where all is well.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator
from typing import Final

from deploy.kubernetes import memory
from service import app, health, http_access, settings
from service.settings import InvalidSetting, Settings
from tests.deploy.kustomize import ROOT, Document, Manifests, container_of, named, pod_of
from tests.deploy.quantities import quantity

VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
#: Beyond the drain: uvicorn waits a second more, a supervisor five, and the store is closed.
_CLOSING_SECONDS: Final = 10
#: How long ingress-nginx keeps a connection to a pod that is not used; HAProxy's is shorter.
_CONTROLLERS_KEEP_SECONDS: Final = 60
_EXPANDED: Final = re.compile(r"\$\((\w+)\)")


def read(found: Manifests) -> Settings:
    """The settings a pod of the service would have."""
    return settings.read(found.environment(found.service))


def environment(found: Manifests) -> list[str]:
    """Every variable is a setting within its bounds, or makes one; ports are those of the pod."""
    own = found.environment(found.service)
    unknown = settings.unrecognised(own)
    wrong = [f"{name} is no setting" for name in unknown]
    for name, value in own.items():
        if not name.startswith(settings.PREFIX) and value not in own.get("SKETCHD_STORE", ""):
            wrong.append(f"{name} is neither a setting nor part of one")
        if _EXPANDED.search(value):
            wrong.append(f"{name} refers to a variable that is not defined before it")
    try:
        as_set = read(found)
    except InvalidSetting as error:
        return [*wrong, str(error)]
    listening = {
        port["name"]: port["containerPort"] for port in container_of(found.service)["ports"]
    }
    if listening != {"http": as_set.port, "grpc": as_set.grpc_port}:
        wrong.append(f"the pod's ports are {listening}, which is not where the service listens")
    if as_set.host != "0.0.0.0":
        wrong.append(f"the service listens on {as_set.host}, where nobody reaches it")
    if float(own.get("SKETCHD_KEEP_ALIVE_SECONDS", 0)) <= _CONTROLLERS_KEEP_SECONDS:
        wrong.append("a connection is closed while an ingress controller sends into it")
    if not as_set.bootstrap_admin_key:
        wrong.append("no bootstrap key: nobody could make the first one")
    if not as_set.store.startswith("redis"):
        wrong.append("the store is not one that pods can share")
    return wrong


def probes(found: Manifests) -> list[str]:
    """They ask open routes, and their patience agrees with what the service may take."""
    pod = container_of(found.service)
    start, ready, alive = (pod[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))
    as_set = read(found)
    wrong = [
        f"a probe asks {probe['httpGet']['path']}, which is no route that is open"
        for probe in (start, ready, alive)
        if not _is_open(probe["httpGet"]["path"])
    ]
    if ready["httpGet"]["path"] != "/readyz" or alive["httpGet"]["path"] != "/healthz":
        wrong.append("liveness must not ask the store, readiness must")
    if ready["timeoutSeconds"] <= health._PING_SECONDS:
        wrong.append("the readiness probe gives up before the service does")
    if _patience(ready) <= as_set.redis_retry_seconds:
        wrong.append("a failover of Redis takes every pod out while requests still wait it out")
    if _patience(alive) < 2 * _patience(ready):
        wrong.append("a pod is restarted when it should only be left out")
    if _patience(start) < as_set.redis_retry_seconds + 30:
        wrong.append("a slow start is taken for a failed one")
    return wrong


def _patience(probe: Document) -> float:
    return float(probe["periodSeconds"] * probe["failureThreshold"])


@functools.cache
def _routes() -> frozenset[str]:
    made = app.create_app(Settings(store="memory://"))
    return frozenset(route.path for route in made.routes if hasattr(route, "path"))


def _is_open(path: str) -> bool:
    return path in _routes() and http_access.ROLES[("GET", path)] is None


def stop(found: Manifests) -> list[str]:
    """A pod hears of its end in time, and no pod goes before another is there."""
    wrong = []
    service = found.service
    pause = container_of(service).get("lifecycle", {}).get("preStop", {}).get("sleep", {})
    seconds = pause.get("seconds", 0)
    if seconds < 5:
        wrong.append("SIGTERM comes before Services and controllers have heard of the pod's end")
    own = read(found)
    if own.notice_seconds < 1:
        wrong.append("connections that clients keep are hung up on, without a word before")
    needed = seconds + own.notice_seconds + own.drain_seconds + _CLOSING_SECONDS
    grace = pod_of(service)["terminationGracePeriodSeconds"]
    if grace < needed:
        wrong.append(f"killed after {grace} s, where a stop may take {needed:g}")
    rolling = service["spec"]["strategy"]["rollingUpdate"]
    if rolling["maxUnavailable"] != 0:
        wrong.append("an update takes a pod away before its successor is ready")
    return wrong


def resources(found: Manifests) -> list[str]:
    """Memory as asked for is the limit, and above what the settings let the service hold."""
    wrong = []
    for label, one in named(found.workloads):
        given = container_of(one)["resources"]
        if "memory" not in given.get("limits", {}):
            wrong.append(f"{label}: no limit of memory")
        elif given["limits"]["memory"] != given["requests"]["memory"]:
            wrong.append(f"{label}: asks for less memory than it may take")
        if "cpu" in given["limits"]:
            wrong.append(f"{label}: its processors are throttled")
        if quantity(given["requests"]["cpu"]) < 0.25:
            wrong.append(f"{label}: asks for next to no processor")
    limit = quantity(container_of(found.service)["resources"]["limits"].get("memory", 0))
    if limit < memory.limit_needed(read(found)):
        wrong.append(f"may hold {memory.total(read(found))} bytes of {limit:.0f}: no margin")
    wrong += _redis(found)
    return wrong


def _redis(found: Manifests) -> Iterator[str]:
    for one in found.kind("StatefulSet"):
        limit = quantity(container_of(one)["resources"]["limits"].get("memory", 0))
        text = next(
            config["data"]["redis.conf"]
            for config in found.kind("ConfigMap")
            if "redis.conf" in config["data"]
        )
        bound = re.search(r"^maxmemory (\d+)(mb|gb)$", text, re.MULTILINE)
        size = int(bound[1]) * {"mb": 1 << 20, "gb": 1 << 30}[bound[2]] if bound else limit
        if 2 * size > limit:
            yield "Redis has no room to copy what is written while its file is rewritten"
        for line in ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction"):
            if line not in text.splitlines():
                yield f"Redis is no store of record: {line}"


def hardening(found: Manifests) -> list[str]:
    """Nothing runs as root, writes to its image, or may do what it does not need."""
    return [
        f"{label}: {fault}" for label, one in named(found.workloads) for fault in _weaknesses(one)
    ]


def _weaknesses(workload: Document) -> Iterator[str]:
    pod, container = pod_of(workload), container_of(workload)
    of_pod, of_container = pod.get("securityContext", {}), container.get("securityContext", {})
    wanted = {
        "it may run as root": of_pod.get("runAsNonRoot") is True and of_pod.get("runAsUser", 0) > 0,
        "seccomp is off": of_pod.get("seccompProfile") == {"type": "RuntimeDefault"},
        "its root file system can be written": of_container.get("readOnlyRootFilesystem") is True,
        "it may gain rights": of_container.get("allowPrivilegeEscalation") is False,
        "it is privileged": not of_container.get("privileged"),
        "it has capabilities": of_container.get("capabilities") == {"drop": ["ALL"]},
        "it gets a token of the API": pod.get("automountServiceAccountToken") is False,
        "Services write into its settings": pod.get("enableServiceLinks") is False,
        "it shares what is the node's": not any(
            pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")
        ),
        "it mounts the node's files": not any("hostPath" in one for one in pod.get("volumes", [])),
    }
    yield from (fault for fault, holds in wanted.items() if not holds)


def images(found: Manifests) -> list[str]:
    """Pinned to a version; the service's is this one's."""
    wrong = []
    for label, one in named(found.workloads):
        image = container_of(one)["image"]
        name, _, tag = image.rpartition(":")
        if not name or "/" in tag or tag == "latest" or not re.search(r"\d+\.\d+\.\d+", tag):
            wrong.append(f"{label}: {image} is not pinned to a version")
        if name.endswith("sketchd") and tag != VERSION:
            wrong.append(f"{label}: {image} is not version {VERSION}")
    return wrong


def secrets(found: Manifests) -> list[str]:
    """Keys and passwords reach pods from Secrets alone, and nothing else holds them."""
    from tests.deploy.kustomize import SECRETS

    wrong = []
    for label, one in named(found.documents):
        if one["kind"] != "Secret":
            wrong += [
                f"{label}: shows {name}" for name, value in SECRETS.items() if value in str(one)
            ]
    for label, one in named(found.workloads):
        for item in container_of(one).get("env", []):
            value = re.sub(_EXPANDED, "", item.get("value", ""))
            if re.search(r"://[^/@]*:[^/@]+@", value) or (
                re.search("KEY|PASSWORD", item["name"]) and value
            ):
                wrong.append(f"{label}: {item['name']} is written down")
    return wrong
