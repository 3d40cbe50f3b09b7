"""Redis as compose starts it: the script and the file, read by a real server, and its doctor."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.deploy.compose import FOLDER
from tests.programs import ENDS_WITH_PARENT
from tests.redis_process import free_port, program, wait_for
from tests.service.test_cli import run

PASSWORD = "a-password_of-the-tests-0123456789"
START = FOLDER / "redis" / "start.sh"


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """With the server to test under the name that the script calls."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    link = programs / "redis-server"
    if not link.exists():
        link.symlink_to(program())
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **variables}


@contextmanager
def started(folder: Path, **variables: str) -> Iterator[redis.Redis]:
    """A client of the server, which keeps its data in a folder of the test's."""
    port = free_port()
    command = [*ENDS_WITH_PARENT, "/bin/sh", str(START), "--bind", "127.0.0.1", "--port",
               str(port)]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment(folder, REDIS_PASSWORD=PASSWORD, **variables),
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    client = redis.Redis(port=port, password=PASSWORD, decode_responses=True)
    try:
        wait_for("the server answers", client.ping)
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


def test_it_keeps_what_it_was_given_and_doctor_has_nothing_to_say(tmp_path: Path) -> None:
    with started(tmp_path, REDIS_MAXMEMORY="64mb") as client:
        port = client.connection_pool.connection_kwargs["port"]
        found = client.config_get("*")
        wanted = {
            "appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory": str(64 << 20),
            "maxmemory-policy": "noeviction", "protected-mode": "yes",
        }  # fmt: skip
        assert {name: found[name] for name in wanted} == wanted
        with redis.Redis(port=port) as anybody, pytest.raises(redis.AuthenticationError):
            anybody.ping()
        store = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        done = run("doctor", "--strict", "--store", store)
        assert done.returncode == 0, done.stdout + done.stderr
        # Not where every process of the machine could read it.
        assert client.info()["process_id"] > 0
        line = Path(f"/proc/{client.info()['process_id']}/cmdline")
        if line.exists():
            assert PASSWORD not in line.read_text()
        client.set("kept", "yes")
    with started(tmp_path) as again:
        assert again.get("kept") == "yes"
        assert again.config_get("maxmemory") == {"maxmemory": str(1 << 30)}


@pytest.mark.parametrize("password", ["", "with space", 'quo"te', "line\nfeed", "per%40cent"])
def test_a_password_it_could_misread_is_refused(tmp_path: Path, password: str) -> None:
    done = subprocess.run(
        ["/bin/sh", str(START)], env=environment(tmp_path, REDIS_PASSWORD=password),
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "REDIS_PASSWORD" in done.stderr
    assert "openssl rand -hex 32" in done.stderr
