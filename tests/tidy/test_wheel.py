"""What the wheel carries: everything that the installed commands read."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.tidy.tree import ROOT, files

#: Kept in the packages for people, not for programs.
NOT_SHIPPED = {".pyc"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel built from a copy of the sources, with what the lock installed."""
    source = tmp_path_factory.mktemp("source")
    for path in files():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(source / "out"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (source / "out").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_packages(wheel: set[str]) -> None:
    expected = {
        str(path.relative_to(ROOT))
        for package in ("service", "sketch_core")
        for path in files(ROOT / package)
        if path.suffix not in NOT_SHIPPED
    }
    assert expected - wheel == set()
    assert "service/data/attention.safetensors" in wheel


def test_the_wheel_holds_nothing_else(wheel: set[str]) -> None:
    assert {name.split("/")[0].partition("-")[0] for name in wheel} == {
        "service",
        "sketch_core",
        "sketchd",
    }


def test_the_wheel_has_its_licence_and_command(wheel: set[str]) -> None:
    (entry_points,) = (name for name in wheel if name.endswith("entry_points.txt"))
    assert entry_points.startswith("sketchd-")
    assert any(name.endswith("/LICENSE") for name in wheel)
    assert any(name.endswith("/NOTICE") for name in wheel)
