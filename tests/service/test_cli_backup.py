"""The commands backup, restore and inspect, in processes of their own, beside a service."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import httpx
import pytest

from service import cli
from service.cli_backup import replacing
from tests.service.test_cli import command, environment, run, serving

GOLDEN = Path(__file__).parents[1] / "golden" / "tenant-v1.backup"
SPEC = {"kind": "vector", "shape": {"n": 1000000}, "ttl_seconds": 3600}


def fill(url: str) -> dict[str, bytes]:
    """Two sketches; their snapshots by name."""
    for name, delta in (("a", 2.0), ("b", 3.0)):
        httpx.put(f"{url}/v1/sketches/{name}", json=SPEC).raise_for_status()
        body = {"index": [5, 999999], "delta": [delta, -1.5]}
        httpx.post(f"{url}/v1/sketches/{name}/updates", json=body).raise_for_status()
    return snapshots(url)


def snapshots(url: str) -> dict[str, bytes]:
    names = [one["name"] for one in httpx.get(f"{url}/v1/sketches").json()["sketches"]]
    return {name: httpx.get(f"{url}/v1/sketches/{name}/snapshot").content for name in names}


def test_a_tenant_is_saved_and_restored_under_a_running_service(tmp_path: Path) -> None:
    store, file = f"sqlite:///{tmp_path / 'kept.db'}", str(tmp_path / "kept.backup")
    with serving(tmp_path, "--port", "0", "--store", store) as (_, url, _):
        before = fill(url)
        done = run("backup", "--store", store, "--output", file)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("2 sketches of tenant default, ")
        for name in before:
            httpx.delete(f"{url}/v1/sketches/{name}").raise_for_status()
        done = run("restore", "--input", file, SKETCHD_STORE=store)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "2 sketches restored to tenant default\n"
        assert snapshots(url) == before
        assert httpx.get(f"{url}/v1/sketches/a").json()["updates"] == 2
        # The request came back too: creating it again with the same spec finds it.
        assert httpx.put(f"{url}/v1/sketches/a", json=SPEC).status_code == 200
        done = run("restore", "--store", store, "--input", file, "--sketch", "a", "--as", "c")
        assert done.returncode == 0
        assert snapshots(url)["c"] == before["a"]


def test_conflicts_are_refused_skipped_or_replaced(tmp_path: Path) -> None:
    store, file = f"sqlite:///{tmp_path / 'kept.db'}", str(GOLDEN)
    options = ("restore", "--store", store, "--input", file)
    assert run(*options).stdout == "2 sketches restored to tenant acme\n"
    done = run(*options)
    assert done.returncode == 1
    assert done.stderr == "sketchd: sketch 'exact' of tenant 'acme' exists already\n"
    done = run(*options, "--on-conflict", "skip")
    assert done.stdout == "0 sketches restored to tenant acme, 2 left as they were\n"
    assert run(*options, "--on-conflict", "replace").stdout.startswith("2 sketches restored")
    assert run(*options, "--tenant", "other").stdout == "2 sketches restored to tenant other\n"


def test_a_backup_shows_what_is_in_it() -> None:
    done = run("inspect", str(GOLDEN))
    assert done.returncode == 0
    first, exact, tensor, last = done.stdout.splitlines()
    assert first == "tenant acme, made 2023-11-14T22:13:20Z, quota yes"
    assert exact.startswith("exact  matrix n=5 d=2 exact  ")
    assert "ttl 3600 s sealed A,x  ok" in exact
    assert tensor.startswith("tensor  tensor n1=1048576 n2=1000 d1=2 d2=3 sketch  ")
    assert last == f"2 sketches, {GOLDEN.stat().st_size} bytes, every checksum agrees"


@pytest.mark.parametrize("command_line", [["inspect"], ["restore", "--input"]])
def test_a_harmed_backup_is_one_clear_line_and_writes_nothing(
    tmp_path: Path, command_line: list[str]
) -> None:
    harmed, store = tmp_path / "harmed", tmp_path / "new.db"
    harmed.write_bytes(GOLDEN.read_bytes()[:-1])
    done = run(*command_line, str(harmed), SKETCHD_STORE=f"sqlite:///{store}")
    assert done.returncode == 1
    assert done.stderr.startswith("sketchd: cut short")
    assert done.stderr.count("\n") == 1
    assert not store.exists()


def test_what_cannot_be_done_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = f"sqlite:///{tmp_path / 'kept.db'}"
    file = str(tmp_path / "file")
    for arguments, words in (
        (("backup", "--store", store, "--output", file), "there is no store"),
        (("backup", "--store", "memory://", "--output", file), "memory://"),
        (("backup", "--store", "nonsense", "--output", file), "SKETCHD_STORE"),
        (("restore", "--store", store, "--input", file), "No such file"),
        (("restore", "--store", store, "--input", str(GOLDEN), "--as", "x"), "--as needs --sketch"),
        (("restore", "--store", store, "--input", str(GOLDEN), "--sketch", "x"), "no sketch 'x'"),
        (("restore", "--store", store, "--input", str(GOLDEN), "--tenant", "a/b"), "a name is"),
        (("inspect", file), "No such file"),
        (("inspect", __file__), "not a backup"),
    ):
        assert cli.main(arguments) == 1, arguments
        said = capsys.readouterr().err
        assert words in said, said
        assert said.count("\n") == 1
    assert not (tmp_path / "file").exists()
    run("restore", "--store", store, "--input", str(GOLDEN))
    done = run("backup", "--store", store, "--tenant", "acme", "--sketch", "x", "--output", file)
    assert done.returncode == 1
    assert "tenant 'acme' has no sketch 'x'" in done.stderr
    assert done.stderr.count("\n") == 1
    done = run("backup", "--store", store, "--tenant", "acme", "--output", f"{tmp_path}/no/file")
    assert "No such file" in done.stderr


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    with replacing(path) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    # Others on the machine have no business with it.
    assert path.stat().st_mode & 0o077 == 0


def test_whoever_watches_sees_a_bar(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'kept.db'}"
    terminal, other = pty.openpty()
    try:
        done = subprocess.run(
            command("restore", "--store", store, "--input", str(GOLDEN)),
            stderr=other, stdout=subprocess.PIPE, text=True, env=environment(), timeout=30,
            check=True,
        )  # fmt: skip
        shown = os.read(terminal, 10000).decode()
    finally:
        os.close(terminal)
        os.close(other)
    assert done.stdout == "2 sketches restored to tenant acme\n"
    assert "] " in shown
    assert "checking exact" in shown
    assert shown.endswith("\r\x1b[K")
