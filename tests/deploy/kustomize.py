"""Manifests as a real kustomize builds them, from a copy of deploy/ with secrets filled in."""

from __future__ import annotations

import base64
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "deploy" / "kubernetes"
#: What a person would fill in.
BOOTSTRAP_KEY: Final = "0123456789abcdef0123456789abcdef0123456789abcdef"
SECRETS: Final = {
    "SKETCHD_STORE": "rediss://sketchd:a%2Fb@redis.example:6380/0",
    "SKETCHD_BOOTSTRAP_ADMIN_KEY": BOOTSTRAP_KEY,
    "REDIS_PASSWORD": "fedcba9876543210fedcba9876543210",
}
Document = dict[str, Any]
#: In C where PyYAML was built so: ten times as fast.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Variant:
    """Something a person could apply: a folder, components on top of it, and patches (YAML)."""

    folder: str
    components: tuple[str, ...] = ()
    patches: str = ""

    def __str__(self) -> str:
        return "+".join((self.folder.rpartition("/")[2], *self.components))


SMALL: Final = Variant("overlays/small")
PRODUCTION: Final = Variant("overlays/production")
#: Everything that is to be applied. The base alone is built too, and has no Secret.
OVERLAYS: Final = (
    SMALL,
    Variant("overlays/small", ("autoscaling", "prometheus-operator", "grafana-dashboards")),
    Variant("overlays/small", ("backup",)),
    PRODUCTION,
    Variant("overlays/production", ("autoscaling-pool", "backup")),
    Variant("overlays/production", ("ingress-haproxy",)),
    Variant("overlays/production", ("ingress-nginx",)),
)
BASE: Final = Variant("base")


def command() -> list[str]:
    """kustomize, alone or within kubectl. Neither PyPI nor Debian brings one: skips without."""
    if found := shutil.which("kustomize"):
        return [found, "build"]
    if found := shutil.which("kubectl"):
        return [found, "kustomize"]
    pytest.skip("needs kustomize, or kubectl, on the PATH")


@functools.cache
def built(variant: Variant) -> str:
    """The manifests as YAML. kustomize has to be content: deprecated fields are warnings."""
    with tempfile.TemporaryDirectory(prefix="kustomize-") as folder:
        deploy = Path(folder) / "deploy"
        shutil.copytree(ROOT / "deploy", deploy, ignore=shutil.ignore_patterns("__pycache__"))
        kubernetes = deploy / "kubernetes"
        for example in kubernetes.glob("overlays/*/secret.env.example"):
            example.with_suffix("").write_text(_filled_in(example.read_text("utf-8")), "utf-8")
        done = subprocess.run(
            [*command(), str(_target(kubernetes, variant))],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            # kubectl looks for a cluster's configuration in HOME.
            env=os.environ | {"HOME": folder, "KUBECONFIG": ""},
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout


def _target(kubernetes: Path, variant: Variant) -> Path:
    """The folder to build: that of the variant, or one that adds its components."""
    if not variant.components and not variant.patches:
        return kubernetes / variant.folder
    trial = kubernetes / "overlays" / "trial"
    trial.mkdir()
    text = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "sketchd",
        "resources": [f"../../{variant.folder}"],
        "components": [f"../../components/{name}" for name in variant.components],
    }
    more = variant.patches and "\n" + variant.patches
    (trial / "kustomization.yaml").write_text(yaml.safe_dump(text) + more, "utf-8")
    return trial


def _filled_in(example: str) -> str:
    lines = []
    for line in example.splitlines():
        name, sign, _ = line.partition("=")
        lines.append(f"{name}={SECRETS[name]}" if sign and name in SECRETS else line)
    return "\n".join(lines) + "\n"


class Manifests:
    """Documents, found by what they are."""

    def __init__(self, text: str) -> None:
        self.documents: list[Document] = [one for one in yaml.load_all(text, Loader=_LOADER) if one]

    def kind(self, *kinds: str) -> list[Document]:
        """All of these kinds."""
        return [one for one in self.documents if one["kind"] in kinds]

    def one(self, kind: str, name: str) -> Document:
        """The one of this kind and name. Raises LookupError."""
        for document in self.kind(kind):
            if document["metadata"]["name"] == name:
                return document
        raise LookupError(f"no {kind} {name}")

    @property
    def workloads(self) -> list[Document]:
        """What makes pods."""
        return self.kind("Deployment", "StatefulSet", "CronJob")

    @property
    def service(self) -> Document:
        """The Deployment of the service itself."""
        return self.one("Deployment", "sketchd")

    def selected(self, selector: Mapping[str, Any]) -> list[Document]:
        """Workloads whose pods a selector (as of a Service) takes; {} takes all."""
        return [
            one
            for one in self.workloads
            if selector.items() <= template_of(one)["metadata"]["labels"].items()
        ]

    def environment(self, workload: Document) -> dict[str, str]:
        """Of the first container, as the kubelet would make it, $(VARIABLES) filled in.

        Raises LookupError for what is not there.
        """
        found: dict[str, str] = {}
        container = container_of(workload)
        for source in container.get("envFrom", []):
            found |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        for item in container.get("env", []):
            if "value" in item:
                found[item["name"]] = expanded(item["value"], found)
                continue
            reference = item["valueFrom"]["secretKeyRef"]
            held = secret_of(self.one("Secret", reference["name"]))
            if reference["key"] in held:
                found[item["name"]] = held[reference["key"]]
            elif not reference.get("optional"):
                raise LookupError(f"no {reference['key']} in the Secret {reference['name']}")
        return found


def template_of(workload: Document) -> Document:
    """What its pods are made from."""
    spec = workload["spec"]
    found: Document = (
        spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]
    )
    return found


def container_of(workload: Document) -> Document:
    """The only container of a workload's pods."""
    (container,) = pod_of(workload)["containers"]
    found: Document = container
    return found


def pod_of(workload: Document) -> Document:
    """The pod that a workload makes."""
    found: Document = template_of(workload)["spec"]
    return found


def secret_of(document: Document) -> dict[str, str]:
    """What a Secret holds."""
    return {
        name: base64.b64decode(text).decode() for name, text in document.get("data", {}).items()
    }


def expanded(text: str, known: Mapping[str, str]) -> str:
    """$(NAME) as the kubelet fills it in: only from what was defined before; else it stays."""
    for name, value in known.items():
        text = text.replace(f"$({name})", value)
    return text


def named(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """(Kind/name, document) of each."""
    for one in documents:
        yield f"{one['kind']}/{one['metadata']['name']}", one
