"""Alerts fire and end in a real Prometheus over the real service, as Redis is killed and returns.

The rules are deploy/'s own; only their `for` is shortened, and scrapes and evaluations come
every second. The service is three processes' worth of real: Redis, sketchd, Prometheus.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import httpx

from tests.deploy.prometheus_process import PrometheusProcess, prometheus, scraping
from tests.deploy.prometheus_rules import FOLDER, rules
from tests.end_to_end.served import ServedProcess
from tests.redis_servers import ServerProcess, closing, standalone

#: Given up on sooner than by default, so that the test is short.
SETTINGS = {"redis_retry_seconds": 0.5, "usage_interval_seconds": 1}
_PATIENCE_SECONDS = 120.0


def hurried(folder: Path) -> list[Path]:
    """The rules, with seven seconds for all they wait for and three for what they look back."""
    found = []
    for file in sorted((FOLDER / "rules").glob("*.yml")):
        text, changes = re.subn(r"^( +for:) \w+$", r"\1 7s", file.read_text("utf-8"), flags=re.M)
        assert bool(changes) == (file.stem == "alerts")
        copy = folder / file.name
        copy.write_text(text.replace("[1m]", "[3s]"))
        found.append(copy)
    return found


async def settled(
    prometheus: PrometheusProcess, url: str, *, firing: set[str], quiet: set[str]
) -> None:
    """Wait until these fire and those do not. Meanwhile a balancer asks /readyz, and a reader reads
    a sketch, whether there is one or not.
    """
    async with httpx.AsyncClient(timeout=10) as balancer, asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            await balancer.get(f"{url}/readyz")
            await balancer.get(f"{url}/v1/sketches/visits")
            now = await asyncio.to_thread(prometheus.firing)
            if firing <= now and not quiet & now:
                return
            await asyncio.sleep(0.2)


async def test_a_store_that_dies_fires_and_one_that_returns_ends_it(tmp_path: Path) -> None:
    down = {"SketchdStoreDown", "SketchdNotReady"}
    with closing(standalone(durable=True)) as redis:
        service = ServedProcess(tmp_path / "service", SETTINGS, redis.url)
        await service.spawn()
        try:
            await service.ready()
            url = str(service.url)
            config = scraping([url.removeprefix("http://")], hurried(tmp_path))
            with prometheus(config, tmp_path / "prometheus") as found:
                found.until(lambda: found.query("sketchd_ready == 1"), "the service is ready")
                found.until(lambda: all(rule.evaluated for rule in found.rules()), "all rules")
                assert {rule.trouble for rule in found.rules()} == {""}
                assert len(found.rules()) == len(rules())
                assert found.firing() == set()
                await told_of(found, redis, url, down)
                # The service itself is gone, and nothing is known of any of this.
                await service.kill()
                gone = {"SketchdAbsent", "SketchdTargetDown"}
                found.until(lambda: gone <= found.firing(), "nobody answers")
                assert not found.firing() & down
        finally:
            await service.kill()


async def told_of(found: PrometheusProcess, redis: ServerProcess, url: str, down: set[str]) -> None:
    """Kill Redis, look at what is told, and bring it back."""
    redis.kill()
    await settled(found, url, firing=down, quiet=set())
    [alert] = [one for one in found.alerts() if one.name == "SketchdStoreDown"]
    assert alert.labels == {
        "alertname": "SketchdStoreDown", "job": "sketchd", "severity": "critical",
    }  # fmt: skip
    assert alert.annotations["summary"] == "No replica reaches the store."
    assert alert.annotations["runbook_url"].endswith("/runbook/#sketchdstoredown")
    # Nobody is ready, but that is known already; and the service itself is well.
    assert not {"SketchdNoReplicaReady", "SketchdAbsent", "SketchdRestarting"} & found.firing()
    redis.restart()
    await settled(found, url, firing=set(), quiet=down)


async def test_a_store_that_takes_nothing_is_no_replica_ready(tmp_path: Path) -> None:
    """It answers reads, and so is up and down by turns: what is told must not depend on that."""
    told = {"SketchdNoReplicaReady", "SketchdNotReady"}
    with closing(standalone()) as redis:
        service = ServedProcess(tmp_path / "service", SETTINGS, redis.url)
        await service.spawn()
        try:
            await service.ready()
            url = str(service.url)
            config = scraping([url.removeprefix("http://")], hurried(tmp_path))
            with prometheus(config, tmp_path / "prometheus") as found:
                found.until(lambda: found.query("sketchd_ready == 1"), "the service is ready")
                redis.command("CONFIG", "SET", "maxmemory", "1")
                await settled(found, url, firing=told, quiet={"SketchdStoreDown"})
                redis.command("CONFIG", "SET", "maxmemory", "0")
                await settled(found, url, firing=set(), quiet=told)
        finally:
            await service.kill()


def test_a_hurried_rule_is_the_rule_but_for_its_wait(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    hurried(tmp_path / "rules")
    same = [
        replace(rule, expression=rule.expression.replace("[3s]", "[1m]"))
        for rule in rules(tmp_path)
    ]
    assert same == rules()
