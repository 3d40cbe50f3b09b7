"""The script of the backup component, run as its container runs it, against a real Redis."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli_backup import replacing
from tests.deploy.kustomize import FOLDER, ROOT, Manifests, Variant, built, container_of, secret_of
from tests.redis_servers import ServerProcess, closing, standalone

SCRIPT = FOLDER / "components" / "backup" / "backup.sh"


@pytest.fixture
def redis() -> Iterator[ServerProcess]:
    with closing(standalone()) as server:
        yield server


class Container:
    """What the script finds in its container: commands, a store, a folder for files."""

    def __init__(self, folder: Path, store: str) -> None:
        self.backups = folder / "backups"
        self.backups.mkdir()
        commands = folder / "bin"
        commands.mkdir()
        self._shim(commands / "sketchd", f'exec "{sys.executable}" -m service "$@"')
        self._shim(commands / "python", f'exec "{sys.executable}" "$@"')
        self._environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SKETCHD_STORE": store,
            "BACKUP_FOLDER": str(self.backups),
        }

    def _shim(self, path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in it."""
        return subprocess.run(
            command,
            env=self._environment,
            cwd=self.backups,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def names(self) -> list[str]:
        """The files, without their times."""
        return sorted(file.name.rpartition("-20")[0] for file in self.backups.iterdir())


def test_each_tenant_has_a_file_and_old_ones_go(tmp_path: Path, redis: ServerProcess) -> None:
    inside = Container(tmp_path, redis.url)
    assert inside.run("sketchd", "tenant", "add", "acme-2").returncode == 0
    long_ago, lately = (inside.backups / f"acme-2-20{year}-01.backup" for year in (20, 21))
    for file, days in ((long_ago, 16), (lately, 13)):
        file.touch()
        at = time.time() - days * 86400
        os.utime(file, (at, at))
    done = inside.run("sh", str(SCRIPT))
    assert done.returncode == 0, done.stderr
    assert not long_ago.exists()
    assert lately.exists()
    lately.unlink()
    assert inside.names() == ["acme-2", "default"]
    for file in inside.backups.iterdir():
        assert inside.run("sketchd", "inspect", str(file)).returncode == 0


def test_what_a_killed_job_left_goes_a_day_later(tmp_path: Path, redis: ServerProcess) -> None:
    inside = Container(tmp_path, redis.url)
    with replacing(inside.backups / "acme-2020-01.backup"):
        (left,) = inside.backups.iterdir()
        under_way = left.with_name(left.name + "x")
        for file, hours in ((left, 25), (under_way, 1)):
            file.touch()
            at = time.time() - hours * 3600
            os.utime(file, (at, at))
        assert inside.run("sh", str(SCRIPT)).returncode == 0
        assert not left.exists()
        assert under_way.exists()
        left.touch()


def test_a_failed_night_removes_nothing(tmp_path: Path, redis: ServerProcess) -> None:
    inside = Container(tmp_path, redis.url)
    assert inside.run("sketchd", "tenant", "add", "acme").returncode == 0
    old = inside.backups / "acme-2020-01.backup"
    old.touch()
    os.utime(old, (0, 0))
    # Fails for one tenant only; the other has its file all the same.
    real = (tmp_path / "bin" / "sketchd").read_text("utf-8")
    refusing = real.replace("exec", '[ "$3" = acme ] && exit 1\nexec', 1)
    (tmp_path / "bin" / "sketchd").write_text(refusing, "utf-8")
    assert inside.run("sh", str(SCRIPT)).returncode == 1
    assert old.exists()
    assert inside.names() == ["acme", "default"]


@pytest.mark.parametrize("overlay", ["overlays/small", "overlays/production"])
def test_the_job_finds_the_store_that_the_service_has(overlay: str) -> None:
    found = Manifests(built(Variant(overlay, ("backup",))))
    job = found.one("CronJob", "sketchd-backup")
    given = found.environment(job)
    line = next(line for line in SCRIPT.read_text("utf-8").splitlines() if line.startswith(": "))
    shown = subprocess.run(
        ["sh", "-c", f'{line}\nprintf %s "$SKETCHD_STORE"'],
        env={"PATH": os.environ["PATH"]} | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == found.environment(found.service)["SKETCHD_STORE"]
    (secret,) = found.kind("Secret")
    assert set(given) <= set(secret_of(secret))
    assert container_of(job)["command"] == ["sh", "/etc/sketchd/backup.sh"]
    text = next(
        one["data"]["backup.sh"] for one in found.kind("ConfigMap") if "backup.sh" in one["data"]
    )
    assert text == SCRIPT.read_text("utf-8")
