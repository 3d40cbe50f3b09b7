"""The locks cover what pyproject.toml asks for, by hash, from no index in particular."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tidy.tree import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
#: What the project is installed with; lock.txt holds the tool that makes them, weights.txt the
#: transformer of an example.
INSTALLED = [path for path in LOCKS if path.stem not in ("lock", "weights")]
EXTRAS = {"run": [], "demo": ["demo"], "dev": ["demo", "dev"]}


def pins(path: Path) -> dict[str, list[tuple[Requirement, int]]]:
    """By package: its pins (one for each marker) and how many hashes each has."""
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for block in path.read_text("utf-8").replace("\\\n", " ").splitlines():
        if block.strip() and not block.startswith(("#", " ")):
            text, _, hashes = block.partition("--hash=")
            pin = Requirement(text.strip())
            count = len(re.findall(r"sha256:[0-9a-f]{64}", hashes))
            found.setdefault(canonicalize_name(pin.name), []).append((pin, count))
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_pin_is_exact_and_hashed(path: Path) -> None:
    for name, entries in pins(path).items():
        for pin, hashes in entries:
            assert [item.operator for item in pin.specifier] == ["=="], name
            assert hashes > 0, name


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_names_no_index(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"://|--index|--extra-index|--find-links|--trusted", text)


@pytest.mark.parametrize("path", INSTALLED, ids=lambda path: path.stem)
def test_a_lock_satisfies_what_the_project_asks_for(path: Path) -> None:
    project = PROJECT["project"]
    asked = project["dependencies"] + PROJECT["build-system"]["requires"]
    for extra in EXTRAS[path.stem]:
        asked += project["optional-dependencies"][extra]
    locked = pins(path)
    for text in asked:
        wanted = Requirement(text)
        if wanted.name == project["name"]:
            continue
        entries = locked.get(canonicalize_name(wanted.name), [])
        assert entries, f"{wanted.name} is not locked: make lock"
        for pin, _ in entries:
            version = next(iter(pin.specifier)).version
            assert wanted.specifier.contains(version, prereleases=True), f"{text}: make lock"


def test_locks_agree_with_each_other() -> None:
    everything = pins(ROOT / "requirements" / "dev.txt")
    for path in INSTALLED:
        for name, entries in pins(path).items():
            # Versions, not markers: the larger lock may need one on more systems.
            assert {str(pin.specifier) for pin, _ in entries} == {
                str(pin.specifier) for pin, _ in everything[name]
            }


def test_every_make_target_is_explained_and_parses() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)
    assert phony
    targets = phony[1].split()
    command = ["make", "--no-print-directory"]
    shown = subprocess.run([*command, "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"^  make ([a-z-]+) ", shown.stdout, flags=re.MULTILINE) == targets
    for target in targets:
        subprocess.run([*command, "-n", target], cwd=ROOT, capture_output=True, check=True)


def test_ci_runs_make_test() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "set -euo pipefail" in script
    assert script.rstrip().endswith("make test")


def test_who_may_not_install_programs_is_told_which_are_missing(tmp_path: Path) -> None:
    script = ROOT / "tests" / "system_packages.sh"

    def said() -> str:
        done = subprocess.run(
            ["/bin/sh", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    def program(name: str, text: str = "") -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    program("id", "echo 1000")
    program("promtool")
    assert re.search(r"will be skipped; they need .*: chromium( haproxy)?$", said())
    program("chromium")
    # Not on this PATH where it is there; servers are found where Debian puts them.
    assert said() == "" or not Path("/usr/sbin/haproxy").exists()
