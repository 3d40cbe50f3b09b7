"""The image without an engine: the Dockerfile's steps, and what they made run as it would be.

As another user, where nothing but /data can be written, and without the source.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.client import Client
from service.settings import unrecognised
from tests.deploy.dockerfile import Outside, Stage, context, stages
from tests.redis_process import free_port
from tests.tidy.tree import ROOT, files

BUILD, FINAL = stages((ROOT / "Dockerfile").read_text("utf-8"))
SEEN = context(ROOT, files(), (ROOT / ".dockerignore").read_text("utf-8"))
KEY = "a-key-of-the-image-tests-0123456789abcdef"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@dataclass(frozen=True, slots=True)
class Image:
    """What the steps have made. root: its /. environment: its ENV, and nothing of ours but PATH."""

    root: Path
    environment: dict[str, str]

    def command(self, words: list[str]) -> list[str]:
        """A command as the image's user runs it, where we may become that user."""
        program = shutil.which(words[0], path=self.environment["PATH"])
        assert program is not None, words
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            return [program, *words[1:]]
        user, group = FINAL.one("USER").split(":")
        # An interpreter of a user's own may lie where others cannot look: reading is allowed.
        may = "-all" if _everybody_may_run_python() else "-all,+dac_read_search"
        return [
            "setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs",
            "--inh-caps", may, "--ambient-caps", may, "--bounding-set", may, program, *words[1:],
        ]  # fmt: skip

    def run(self, words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself, in the image's folder."""
        return subprocess.run(
            self.command(words), cwd=self.root / "data", env=self.environment | variables,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    @property
    def packages(self) -> Path:
        """Where the libraries lie."""
        (found,) = self.root.glob("opt/sketchd/lib/python3.*/site-packages")
        return found


def _everybody_may_run_python() -> bool:
    found = Path(sys.base_prefix).resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (found, *found.parents))


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built once; some seconds, more where pip has nothing cached."""
    # Not pytest's folder: another user has to reach it.
    root = Path(tempfile.mkdtemp(prefix="image-"))
    try:
        root.chmod(0o755)
        outside = Outside(root, ROOT, SEEN)
        outside.take(BUILD)
        shutil.rmtree(root / "source")
        outside.take(FINAL)
        if os.geteuid() != 0:
            _write_protect(root / "opt", True)
        yield Image(root, outside.environment(FINAL))
    finally:
        _write_protect(root / "opt", False)
        shutil.rmtree(root)


def _write_protect(top: Path, protect: bool) -> None:
    for folder, _, _ in os.walk(top):
        Path(folder).chmod(0o555 if protect else 0o755)


def words(instruction: str) -> list[str]:
    """The exec form of an instruction of the final stage."""
    found: list[str] = json.loads(FINAL.one(instruction))
    return found


@contextmanager
def serving(image: Image) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """(process, its ports as variables) of the image's command, ready."""
    ports = {"SKETCHD_PORT": str(free_port()), "SKETCHD_GRPC_PORT": str(free_port())}
    # The image's own address is every one of the machine's; a test keeps to loopback.
    more = {**ports, "SKETCHD_HOST": "127.0.0.1", "SKETCHD_BOOTSTRAP_ADMIN_KEY": KEY}
    process = subprocess.Popen(
        image.command(words("ENTRYPOINT") + words("CMD")), cwd=image.root / "data",
        env=image.environment | more, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("sketchd ready: "), line + process.stderr.read()
        yield process, ports
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_nothing_is_run_in_the_final_stage() -> None:
    # So that every step is taken here too, and every layer but the base's can be read.
    assert FINAL.all("RUN") == []
    assert BUILD.base == FINAL.base


def test_the_base_is_one_exact_version_that_the_project_supports() -> None:
    name, _, tag = FINAL.base.partition(":")
    release = tag.split("-")[0].split(".")
    assert name == "python"
    assert len(release) == 3
    supported = f"Programming Language :: Python :: {release[0]}.{release[1]}"
    assert supported in PROJECT["classifiers"]


def test_labels_and_settings_are_the_projects() -> None:
    assert FINAL.pairs("ARG")["VERSION"] == PROJECT["version"]
    labels = FINAL.pairs("LABEL")
    assert labels["org.opencontainers.image.title"] == PROJECT["name"]
    assert labels["org.opencontainers.image.description"] == PROJECT["description"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert unrecognised(FINAL.pairs("ENV")) == []
    assert FINAL.one("EXPOSE").split() == ["8080", "50051"]
    user, group = map(int, FINAL.one("USER").split(":"))
    assert user >= 10_000
    assert group >= 10_000


def test_the_engine_sees_what_it_copies_and_nothing_else() -> None:
    kinds = {name.split("/")[0] for name in SEEN}
    assert kinds == {
        "pyproject.toml", "README.md", "LICENSE", "NOTICE", "requirements", "deploy", "service",
        "sketch_core",
    }  # fmt: skip
    ignore = (ROOT / ".dockerignore").read_text("utf-8")
    others = [".env", "deploy/.env", "sketchd.db", "requirements/dev.txt", ".git/config",
              "tests/conftest.py", "service/__pycache__/app.pyc", "service/x.pyc"]  # fmt: skip
    assert context(ROOT, [ROOT / name for name in others], ignore) == []
    inside = ["service/app.py", "service/demo/page.html"]
    assert context(ROOT, [ROOT / name for name in inside], ignore) == inside


def test_it_holds_the_service_and_nothing_to_build_with(image: Image) -> None:
    for name in SEEN:
        if name.startswith(("service/", "sketch_core/")) and not name.endswith(".pyi"):
            assert (image.packages / name).read_bytes() == (ROOT / name).read_bytes()
    for tool in ("pip", "setuptools", "wheel", "pytest"):
        assert not (image.packages / tool).exists(), tool
    assert not list(image.packages.glob("**/tests"))
    commands = {path.name for path in (image.root / "opt/sketchd/bin").iterdir()}
    assert {name for name in commands if not name.startswith("python")} == {"sketchd"}


def test_without_a_key_it_says_what_to_do(image: Image) -> None:
    done = image.run(words("ENTRYPOINT") + words("CMD"), SKETCHD_PORT="0", SKETCHD_GRPC_PORT="0")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "SKETCHD_BOOTSTRAP_ADMIN_KEY" in done.stderr
    assert "sketchd key add" in done.stderr


def test_it_serves_where_nothing_but_its_data_can_be_written(image: Image) -> None:
    before = snapshot(image.root / "opt")
    refused = image.run(["touch", str(image.root / "opt/sketchd/x")])
    assert refused.returncode != 0
    check = words_of_health_check()
    with serving(image) as (process, ports):
        url = f"http://127.0.0.1:{ports['SKETCHD_PORT']}"
        use(url, ports["SKETCHD_GRPC_PORT"])
        done = image.run(check, **ports)
        assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
        assert image.run([*check, "--ready"], **ports).stdout == "ready\n"
        process.send_signal(signal.Signals[FINAL.one("STOPSIGNAL")])
        # An engine kills after ten seconds unless told otherwise.
        assert process.wait(10) == 0
        assert image.run(check, **ports).returncode == 1
    assert (image.root / "data/sketchd.db").exists()
    assert snapshot(image.root / "opt") == before


def test_starting_and_being_asked_compiles_nothing(image: Image) -> None:
    # Else each start and each health check would, for there is nowhere to keep it.
    with tempfile.TemporaryDirectory(prefix="bytecode-") as folder:
        Path(folder).chmod(0o777)
        cache = Path(image.environment["PYTHONPYCACHEPREFIX"])
        kept = Path(folder, "kept")
        shutil.copytree(cache, kept)
        for one in (kept, *kept.rglob("*")):
            one.chmod(0o777)
        variables = {"PYTHONPYCACHEPREFIX": str(kept), "PYTHONDONTWRITEBYTECODE": ""}
        writing = Image(image.root, image.environment | variables)
        with serving(writing) as (_, ports):
            use(f"http://127.0.0.1:{ports['SKETCHD_PORT']}", ports["SKETCHD_GRPC_PORT"], "again")
            assert writing.run(words_of_health_check(), **ports).returncode == 0
        made = {str(path.relative_to(kept)) for path in kept.rglob("*.pyc")}
        there = {str(path.relative_to(cache)) for path in cache.rglob("*.pyc")}
        assert not made - there, "\n".join(made - there)
        # The test sees what it looks for: without the folder there is much to compile.
        shutil.rmtree(kept)
        kept.mkdir()
        kept.chmod(0o777)
        writing.run(words_of_health_check())
        assert list(kept.rglob("argparse*.pyc"))


def words_of_health_check() -> list[str]:
    """The command of HEALTHCHECK."""
    found: list[str] = json.loads(FINAL.one("HEALTHCHECK").partition(" CMD ")[2])
    return found


def snapshot(top: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file."""
    found = {}
    for path in top.rglob("*"):
        status = path.lstat()
        found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def use(url: str, grpc_port: str, name: str = "hello") -> None:
    """A sketch made, changed and drawn from over HTTP, drawn from over gRPC, and pages read."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, headers=headers) as http:
        spec = {"kind": "vector", "shape": {"n": 1000000}}
        assert http.put(f"/v1/sketches/{name}", json=spec).status_code == 201
        update = {"index": [5, 9], "delta": [1.5, -2]}
        http.post(f"/v1/sketches/{name}/updates", json=update).raise_for_status()
        drawn = http.post(f"/v1/sketches/{name}/samples", json={"count": 1}).json()
        assert drawn["index"][0] in (5, 9)
        assert http.get("/docs/assets/swagger-ui-bundle.js").status_code == 200
        assert http.get(f"/v1/sketches/{name}", headers={"Authorization": ""}).status_code == 401
        if (ROOT / "service/dashboard/index.html").exists():
            assert http.get("/dashboard").status_code == 200
    with Client(f"grpc://127.0.0.1:{grpc_port}", key=KEY) as client:
        assert client.sketch(name).sample(1).index[0] in (5, 9)


def test_a_stage_is_read_as_it_is_written() -> None:
    text = 'ARG A=b:1\n# no\nFROM ${A} AS x\nENV C=1 \\\n    D="2 3"\nRUN a && b\nCMD ["c"]\n'
    (found,) = stages(text)
    assert found == Stage("x", "b:1", [("ENV", 'C=1 D="2 3"'), ("RUN", "a && b"), ("CMD", '["c"]')])
    assert found.pairs("ENV") == {"C": "1", "D": "2 3"}
