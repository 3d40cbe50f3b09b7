"""Break the algorithms on purpose: every break must fail the tests that watch for it.

    python -m tests.mutants [NAME …]

Each mutant replaces one piece of text in a copy of the tree and runs its tests
there. Golden files are no answer, they notice any change: what is asked is
whether a test that knows what the numbers *mean* fails. Exit code 1 if one
survives, or if the text to replace is not there any more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.tidy.tree import ROOT, files

#: Tests that know the law; those of bytes and of the service's shell are left out.
BY_MEANING: Final = ("tests/statistical", "tests/sketch_core", "tests/demo")
_BY_BYTES: Final = "not golden and not codec"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One break. old occurs exactly once in the file. tests: where one must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = BY_MEANING


MUTANTS: Final = (
    Mutant("all answers zero", "sketch_core/count_sketch.py", "    return median\n",
           "    return median * 0\n"),
    Mutant("signs dropped", "sketch_core/hashing.py",
           "return [mix(key, coordinates) for key in self._keys]",
           "return [np.zeros_like(coordinates) for _ in self._keys]"),
    Mutant("one hash for all rows", "sketch_core/hashing.py",
           "word, field = divmod(row, len(self._fields))", "word, field = 0, 0"),
    Mutant("exponentials forgotten", "sketch_core/scaling.py",
           "return mix(self._first, coordinates)", "return np.full_like(coordinates, 1 << 63)"),
    Mutant("threshold one too early", "sketch_core/draws.py",
           "arrivals.log_arrival(count) if size", "arrivals.log_arrival(count - 1) if size"),
    Mutant("threshold taken from the end of the list", "sketch_core/draws.py",
           "log_threshold = arrivals.log_arrival(count) if size > count else arrivals.log_cut",
           "log_threshold = arrivals.log_cut"),
    Mutant("whatever was found is served", "sketch_core/heavy_hitters.py",
           "least = np.maximum(AGREEMENT[0] * size, MEAN_SHARE * threshold)\n",
           "return np.asarray(size > 0.0)\n    least = size\n"),
    Mutant("repeats never come", "sketch_core/scaling.py",
           "return exponentials(mix(self._repeat, base[:, None] + numbers))",
           "return 1e9 + exponentials(mix(self._repeat, base[:, None] + numbers))"),
    Mutant("subtraction adds", "sketch_core/batch.py",
           "scaled.astype(np.int64)", "np.abs(scaled).astype(np.int64)"),
)  # fmt: skip


def copy_tree(target: Path) -> None:
    """The sources and tests, without what tools made."""
    for path in files():
        to = target / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)


def failing(tree: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails, None when all pass. Raises RuntimeError when none could be run."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-k", _BY_BYTES, *(name for name in tests if (tree / name).exists())]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "a test that does not end"
    if done.returncode == 0:
        return None
    named = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)
    if done.returncode != 1 or named is None:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return named[1]


def judge(mutant: Mutant, tree: Path) -> tuple[bool, str]:
    """(whether it died, by which test or why not). The tree is put back as it was."""
    path = tree / mutant.file
    text = path.read_text("utf-8")
    if text.count(mutant.old) != 1:
        return False, f"its text occurs {text.count(mutant.old)} times in {mutant.file}"
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    try:
        killer = failing(tree, mutant.tests)
    finally:
        path.write_text(text, "utf-8")
    return (True, killer) if killer else (False, "every test passed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants whose names contain any of the words given, or all."""
    parser = argparse.ArgumentParser(description="break the algorithms on purpose")
    parser.add_argument("names", nargs="*", help="parts of mutants' names")
    words = parser.parse_args(arguments).names
    survived = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        if broken := failing(tree, BY_MEANING):
            print(f"nothing can be said: {broken} fails without any break")
            return 1
        for mutant in MUTANTS:
            if words and not any(word in mutant.name for word in words):
                continue
            start = time.monotonic()
            died, how = judge(mutant, tree)
            survived += not died
            took = time.monotonic() - start
            print(
                f"{'died' if died else 'SURVIVED':9} {mutant.name} ({took:.0f} s): {how}",
                flush=True,
            )
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
