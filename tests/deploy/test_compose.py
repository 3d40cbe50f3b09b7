"""deploy/compose.yaml: its schema, its variables, its files, and who can reach whom."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.kubernetes import memory
from service.settings import Settings, read, unrecognised
from tests.deploy.compose import FOLDER, SECRETS, TEXT, VARIABLE, NotSet, example, filled
from tests.deploy.dockerfile import stages
from tests.tidy.tree import ROOT

COMPOSE = filled(SECRETS)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
IMAGE = stages((ROOT / "Dockerfile").read_text("utf-8"))[-1]


def tool(name: str, *arguments: str) -> None:
    """Run a checker of the environment's; what it prints is the failure's reason."""
    command = [str(Path(sys.executable).parent / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def settings() -> Settings:
    """Those of the replicas: the image's variables and the file's, with compose's values."""
    return read({**IMAGE.pairs("ENV"), **SERVICES["sketchd"]["environment"]})


def seconds(text: str) -> float:
    """A duration of compose's, of seconds only."""
    assert text.endswith("s")
    return float(text[:-1])


def test_the_schema_of_compose_holds() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec",
         str(FOLDER / "compose.yaml"))  # fmt: skip


def test_the_dockerfile_has_no_findings() -> None:
    tool("hadolint", str(ROOT / "Dockerfile"))


def test_variables_of_the_replicas_are_settings() -> None:
    assert unrecognised(SERVICES["sketchd"]["environment"]) == []
    found = settings()
    assert (found.host, found.port, found.grpc_port) == ("0.0.0.0", 8080, 50051)
    assert found.store == f"redis://:{SECRETS['REDIS_PASSWORD']}@redis:6379/0"


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_it_does_not_start_without_a_secret(name: str) -> None:
    for missing in ({}, {name: ""}):
        others = {one: value for one, value in SECRETS.items() if one != name}
        with pytest.raises(NotSet, match=name):
            filled({**others, **missing})


def test_the_example_names_every_variable_with_its_default_and_no_secret() -> None:
    defaults = {name: more if kind == ":-" else "" for name, kind, more in VARIABLE.findall(TEXT)}
    assert example() == defaults
    assert [name for name, value in example().items() if not value] == [
        name for name in example() if name in SECRETS
    ]


def test_every_mounted_file_and_folder_exists() -> None:
    named = set(COMPOSE["volumes"])
    for service, what in SERVICES.items():
        for mount in what.get("volumes", ()):
            source, target, *mode = mount.split(":")
            if source in named:
                continue
            assert source.startswith("./"), mount
            assert (FOLDER / source).exists(), f"{service}: {source}"
            assert mode == ["ro"], mount
            assert target.startswith("/")
    assert (FOLDER / SERVICES["sketchd"]["build"]["context"] / "Dockerfile").exists()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_can_do_little_and_take_little(name: str) -> None:
    what = SERVICES[name]
    assert what["read_only"] is True
    assert what["cap_drop"] == ["ALL"]
    assert what["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & what.keys()
    assert what["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert what["healthcheck"]["test"]
    assert seconds(what.get("stop_grace_period", "10s")) >= 10


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"sketchd"}))
def test_other_peoples_images_are_of_one_exact_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+(-\w+)?", SERVICES[name]["image"])


def test_only_balancer_and_grafana_are_published_and_on_loopback() -> None:
    published = {name: what["ports"] for name, what in SERVICES.items() if "ports" in what}
    assert set(published) == {"balancer", "grafana"}
    for ports in published.values():
        assert all(port.startswith("127.0.0.1:") for port in ports)
    assert {name for name, what in SERVICES.items() if "edge" in what["networks"]} == set(published)


def test_redis_is_reached_by_the_replicas_alone() -> None:
    inner = {name for name, what in COMPOSE["networks"].items() if what.get("internal")}
    assert inner == set(COMPOSE["networks"]) - {"edge"}
    meets = {
        name
        for name, what in SERVICES.items()
        if set(what["networks"]) & set(SERVICES["redis"]["networks"])
    }
    assert meets == {"redis", "sketchd"}


def test_who_starts_after_whom_waits_for_its_health() -> None:
    for name, what in SERVICES.items():
        for other, how in what.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, f"{name} on {other}"


def test_a_replica_has_time_to_stop_and_room_for_its_settings() -> None:
    found, what = settings(), SERVICES["sketchd"]
    assert found.notice_seconds + found.drain_seconds < seconds(what["stop_grace_period"]) - 5
    limit = what["deploy"]["resources"]["limits"]["memory"]
    assert limit == "2g"
    # By the sum that the cluster's pods are held to: a tenant's requests end no replica.
    assert memory.limit_needed(found) <= 2 << 30
    replicas = int(what["deploy"]["replicas"])
    slots = (FOLDER / "haproxy/haproxy.cfg").read_text("utf-8").count("replica 1-32 ")
    assert 1 < replicas <= 32
    assert slots == 6


def test_an_idle_connection_outlives_the_balancers_patience() -> None:
    text = (FOLDER / "haproxy/haproxy.cfg").read_text("utf-8")
    (kept,) = re.findall(r"timeout http-keep-alive (\d+)s", text)
    assert settings().keep_alive_seconds > float(kept)
