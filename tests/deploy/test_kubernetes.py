"""The manifests of deploy/kubernetes: built by kustomize, valid to Kubernetes, and sensible.

What schemas say is asked of every release of Kubernetes from the oldest that docs/kubernetes.md
names; what they do not know is in the functions of manifest_*.py, each of which has to notice a
manifest that was broken on purpose.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Final

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from kubernetes_validate.utils import all_versions  # type: ignore[import-untyped]
from packaging.version import Version

from deploy.kubernetes import memory, rules
from service import metrics_catalogue, settings
from tests.deploy import manifest_cluster as cluster
from tests.deploy import manifest_links as links
from tests.deploy import manifest_pods as pods
from tests.deploy.kustomize import (
    BASE,
    FOLDER,
    OVERLAYS,
    PRODUCTION,
    ROOT,
    SMALL,
    Document,
    Manifests,
    Variant,
    built,
    container_of,
    pod_of,
)
from tests.deploy.manifest_breaks import BREAKS, POOL, Break, Rule
from tests.deploy.quantities import quantity
from tests.programs import needed

OLDEST: Final = "1.30"
RELEASES: Final = sorted({one for one in all_versions() if Version(one) >= Version(OLDEST)})
#: Of the Prometheus operator: no schema comes with Kubernetes; see manifest_cluster.monitoring.
OF_THE_OPERATOR: Final = {"ServiceMonitor", "PrometheusRule"}
RULES: Final[tuple[Rule, ...]] = (
    links.selectors, links.ports, links.references,
    pods.environment, pods.probes, pods.stop, pods.resources, pods.hardening, pods.images,
    pods.secrets,
    cluster.replicas, cluster.network, cluster.ingress, cluster.monitoring,
)  # fmt: skip


def manifests(variant: Variant) -> Manifests:
    """As built, new each time."""
    return Manifests(built(variant))


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """Each that Kubernetes has a schema of, once, however many variants have it."""
    found = {
        json.dumps(document, sort_keys=True): document
        for variant in (BASE, *OVERLAYS)
        for document in manifests(variant).documents
        if document["kind"] not in OF_THE_OPERATOR
    }
    return list(found.values())


@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_would_take_them(release: str, documents: list[Document]) -> None:
    assert len(documents) > 20
    for document in documents:
        kubernetes_validate.validate(document, release, strict=True)


def test_an_unknown_field_is_refused() -> None:
    service = manifests(SMALL).service
    pod_of(service)["priorityClas"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError, match="priorityClas"):
        kubernetes_validate.validate(service, OLDEST, strict=True)


def test_the_oldest_release_is_the_documented_one() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    assert f"Kubernetes {OLDEST}" in text
    # The field that asks for it.
    assert "sleep" in container_of(manifests(SMALL).service)["lifecycle"]["preStop"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("variant", OVERLAYS, ids=str)
def test_they_are_sensible(variant: Variant, rule: Rule) -> None:
    assert rule(manifests(variant)) == []


@pytest.mark.parametrize(("broken", "variant", "rule", "words"), BREAKS)
def test_what_is_broken_is_noticed(broken: Break, variant: Variant, rule: Rule, words: str) -> None:
    found = manifests(variant)
    broken(found)
    faults = rule(found)
    assert any(words in fault for fault in faults), faults


def test_every_rule_can_fail() -> None:
    assert {rule for _, _, rule, _ in BREAKS} == set(RULES)


# Beside the manifests


def test_rules_live_once() -> None:
    assert rules.TARGET.read_text("utf-8") == rules.rendered()


def test_rules_become_a_manifest(tmp_path: Path) -> None:
    group = (
        "groups:\n  - name: {0}\n    rules:\n"
        "      - record: {0}:b:c\n        expr: |\n          a\n          / b\n"
    )
    for name in ("alerts", "recording"):
        (tmp_path / f"{name}.yml").write_text(group.format(name), "utf-8")
    text = rules.rendered(tmp_path)
    made = Manifests(text)
    assert cluster.monitoring(made) == []
    groups = made.one("PrometheusRule", "sketchd")["spec"]["groups"]
    assert [one["name"] for one in groups] == ["recording", "alerts"]
    assert "expr: |\n" in text
    with pytest.raises(FileNotFoundError):
        rules.rendered(tmp_path / "none")


def test_no_secret_lies_in_the_tree() -> None:
    for example in FOLDER.rglob("*.example"):
        for name, value in memory.environment(example.read_text("utf-8")).items():
            assert value == "", f"{example.name} gives {name} a value"
    assert "deploy/kubernetes/overlays/**/secret.env" in (ROOT / ".gitignore").read_text("utf-8")
    assert "kind: Secret" not in "".join(file.read_text("utf-8") for file in FOLDER.rglob("*.yaml"))


def test_the_base_has_no_secret_and_waits_for_one() -> None:
    found = manifests(BASE)
    assert found.kind("Secret") == []
    with pytest.raises(LookupError, match="no Secret sketchd"):
        found.environment(found.service)


def test_a_changed_setting_or_secret_rolls_the_pods() -> None:
    found = manifests(SMALL)
    names = [one["metadata"]["name"] for one in found.kind("ConfigMap", "Secret")]
    assert names
    assert all(re.fullmatch(r"sketchd(-\w+)?-[a-z0-9]{10}", name) for name in names), names


def test_the_adapter_serves_what_the_autoscaler_asks_for() -> None:
    file = FOLDER / "components" / "autoscaling-pool" / "adapter-rule.yaml"
    (rule,) = yaml.safe_load(file.read_text("utf-8"))["rules"]["custom"]
    (metric,) = (
        one["pods"]["metric"]["name"]
        for one in manifests(POOL).one("HorizontalPodAutoscaler", "sketchd")["spec"]["metrics"]
        if one["type"] == "Pods"
    )
    assert rule["name"]["as"] == metric
    assert re.fullmatch(rule["name"]["matches"], metric)
    assert rule["seriesQuery"].startswith(metric + "{")
    assert metrics_catalogue.METRICS[metric].kind == "gauge"


def test_the_document_sums_the_memory_up_as_it_is() -> None:
    given = settings.read(memory.environment((FOLDER / "base" / "settings.env").read_text("utf-8")))
    assert memory.table(given) in (ROOT / "docs" / "kubernetes.md").read_text("utf-8")


def test_a_limit_without_margin_is_not_enough() -> None:
    given = settings.read({})
    assert memory.limit_needed(given) > memory.total(given)
    more = copy.copy(given)
    object.__setattr__(more, "workers", 2)
    assert memory.total(more) == 2 * memory.total(given)


@pytest.mark.parametrize(
    ("text", "value"), [("2Gi", 2 << 30), ("500m", 0.5), ("1", 1), ("1500m", 1.5), ("64k", 64000)]
)
def test_quantities(text: str, value: float) -> None:
    assert quantity(text) == value
    with pytest.raises(ValueError, match="no quantity"):
        quantity("2GB")


def directives(path: Path) -> set[str]:
    """The lines of a redis.conf that say something."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def test_redis_is_configured_as_elsewhere() -> None:
    own = directives(FOLDER / "overlays" / "small" / "redis.conf")
    of_compose = directives(ROOT / "deploy" / "redis" / "redis.conf")
    assert own == of_compose | {"dir /data", "maxmemory 1gb"}


def test_the_pod_runs_as_the_user_of_the_image() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert user is not None
    context = pod_of(manifests(SMALL).service)["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user.groups()


def test_prometheus_reads_the_rules(tmp_path: Path) -> None:
    """What is in the manifest is all that the operator hands to Prometheus."""
    spec = manifests(PRODUCTION).one("PrometheusRule", "sketchd")["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(spec), "utf-8")
    asked = yaml.safe_load(
        (FOLDER / "components" / "autoscaling-pool" / "adapter-rule.yaml").read_text("utf-8")
    )["rules"]["custom"][0]
    query = asked["metricsQuery"]
    for name, value in (
        ("Series", "sketchd_pool_jobs"),
        ("LabelMatchers", 'namespace="sketchd"'),
        ("GroupBy", "pod"),
    ):
        query = query.replace(f"<<.{name}>>", value)
    of_the_adapter = {"name": "adapter", "rules": [{"record": "a:b:c", "expr": query}]}
    (tmp_path / "adapter.yml").write_text(yaml.safe_dump({"groups": [of_the_adapter]}), "utf-8")
    for file in ("rules.yml", "adapter.yml"):
        done = subprocess.run(
            [needed("promtool"), "check", "rules", str(tmp_path / file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
