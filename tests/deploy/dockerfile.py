"""A Dockerfile as this project writes it: read, and its steps taken without an engine.

One folder stands for the root of every stage. Paths below it are those of the image with that
folder before them, wherever a step, a variable or a command names them.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Folders of the image that its steps name.
_FOLDERS = re.compile(r"/(?=(?:opt/sketchd|data|source)\b)")


@dataclass(frozen=True, slots=True)
class Stage:
    """base: what FROM names. steps: the other instructions, (name, rest of the line), in order."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """What stands after each instruction of this name."""
        return [rest for name, rest in self.steps if name == instruction]

    def one(self, instruction: str) -> str:
        """What stands after the only one. Raises ValueError for none or several."""
        (rest,) = self.all(instruction)
        return rest

    def pairs(self, instruction: str) -> dict[str, str]:
        """NAME=value of ENV, LABEL and ARG."""
        words = [word for rest in self.all(instruction) for word in shlex.split(rest)]
        return dict(word.split("=", 1) for word in words if "=" in word)

    @property
    def workdir(self) -> str:
        """The folder that commands start in."""
        return self.one("WORKDIR")


def stages(text: str) -> list[Stage]:
    """Those of a Dockerfile. Arguments before the first FROM have their defaults."""
    defaults: dict[str, str] = {}
    found: list[Stage] = []
    for name, rest in _instructions(text):
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            base = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], base)
            found.append(Stage(alias, base))
        elif found:
            found[-1].steps.append((name, rest))
        else:
            assert name == "ARG", name
            argument, _, default = rest.partition("=")
            defaults[argument] = default
    return found


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", kept).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def context(root: Path, files: Iterable[Path], ignore: str) -> list[str]:
    """Which files a .dockerignore lets an engine see, relative to the root: the last rule wins."""
    rules = [line for line in ignore.splitlines() if line.strip() and not line.startswith("#")]
    names = (str(path.relative_to(root)) for path in files)
    return [name for name in names if not _ignored(name, rules)]


def _ignored(name: str, rules: list[str]) -> bool:
    ignored = False
    parts = name.split("/")
    # A rule that matches a folder is about everything in it.
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for rule in rules:
        pattern = rule.removeprefix("!").rstrip("/")
        tried = parts if pattern.startswith("**/") else above
        plain = pattern.removeprefix("**/")
        if any(_matches(one, plain) for one in tried):
            ignored = not rule.startswith("!")
    return ignored


def _matches(path: str, pattern: str) -> bool:
    """As filepath.Match of Go does: * stops at a slash."""
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


@dataclass(frozen=True, slots=True)
class Outside:
    """Where the steps are taken. root: stands for /. source: what the context is of."""

    root: Path
    source: Path
    seen: list[str]

    def moved(self, text: str) -> str:
        """A path, a variable or a command of the image, as it is here."""
        return _FOLDERS.sub(lambda _: f"{self.root}/", text)

    def environment(self, stage: Stage) -> dict[str, str]:
        """The variables of a stage; PATH goes on with this machine's."""
        found = {name: self.moved(value) for name, value in stage.pairs("ENV").items()}
        if "PATH" in found:
            found["PATH"] = found["PATH"].replace("$PATH", os.environ["PATH"])
        return found

    def take(self, stage: Stage) -> None:
        """The steps of a stage that change files. Raises AssertionError when a command fails."""
        folder = self.root / stage.workdir.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: one for name, one in os.environ.items() if not name.startswith("PYTHON")}
        environment = kept | self.environment(stage)
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        environment.pop("PIP_NO_CACHE_DIR", None)  # what is fetched is checked against its hash
        for name, rest in stage.steps:
            if name == "COPY":
                self._copy(shlex.split(rest), folder)
            elif name == "RUN":
                for command in rest.split("&&"):
                    _run(shlex.split(self.moved(command)), folder, environment)

    def _copy(self, words: list[str], folder: Path) -> None:
        options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
        *sources, target = (word for word in words if not word.startswith("--"))
        if "from" in options:  # the stages share one root
            assert [target] == sources
            if "chown" in options and os.geteuid() == 0:
                user, group = map(int, options["chown"].split(":"))
                os.chown(self.moved(target), user, group)
            return
        for source in sources:
            names = [name for name in self.seen if f"{name}/".startswith(f"{source}/")]
            assert names, f"{source} is not in what .dockerignore lets through"
            for name in names:
                inside = name.removeprefix(source).lstrip("/")
                # As the engine: a folder's content goes into the target, a file to it or into it.
                at = folder / target / (inside or (source if target.endswith("/") else ""))
                at.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.source / name, at)


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
