"""Break the algorithms on purpose: every break must fail the tests that watch for it.

    python -m tests.mutants [NAME …]

Each mutant replaces one piece of text in a copy of the tree, and the test it
names must fail there; without mutants all named tests must pass. Golden files
are no answer, they notice any change: what is asked is whether a test that
knows what the numbers *mean* fails. Exit code 1 if one survives, or if the text
to replace is not there any more.
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

_DRAWS: Final = "tests/statistical/test_draws.py::test_"
_NARROW: Final = "tests/statistical/test_narrow.py::test_"
_ESTIMATES: Final = "tests/statistical/test_estimates.py::test_"
_TIES: Final = "tests/statistical/test_ties.py::test_"
_TENSORS: Final = "tests/statistical/test_tensors.py::test_"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One break. old occurs exactly once in the file. test: the one that must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


MUTANTS: Final = (
    Mutant("every estimate is zero", "sketch_core/count_sketch.py",
           "    return median\n", "    return median * 0\n",
           "tests/statistical/test_recovery.py::test_lists_of_16_are_whole[2.0]"),
    Mutant("every draw is coordinate 0", "sketch_core/draws.py",
           "index=arrivals.index[chosen],", "index=arrivals.index[chosen] * np.uint64(0),",
           _DRAWS + "first_draws_follow_the_law[equal, p=1]"),
    Mutant("signs dropped", "sketch_core/hashing.py",
           "return [mix(key, coordinates) for key in self._keys]",
           "return [np.zeros_like(coordinates) for _ in self._keys]",
           _ESTIMATES + "point_estimates_err_as_their_standard_errors_say[equal]"),
    Mutant("one hash for all rows", "sketch_core/hashing.py",
           "word, field = divmod(row, len(self._fields))", "word, field = 0, 0",
           _ESTIMATES + "point_estimates_err_as_their_standard_errors_say[equal]"),
    Mutant("exponentials forgotten (scale 1)", "sketch_core/scaling.py",
           "return mix(self._first, coordinates)", "return np.full_like(coordinates, 1 << 63)",
           _DRAWS + "first_draws_follow_the_law[gaussian, p=2]"),
    Mutant("τ one too early", "sketch_core/draws.py",
           "arrivals.log_arrival(count) if size", "arrivals.log_arrival(count - 1) if size",
           _ESTIMATES + "sums_over_inclusion_probabilities_are_unbiased[equal-1.0]"),
    Mutant("τ one too late", "sketch_core/draws.py",
           "arrivals.log_arrival(count) if size > count else",
           "arrivals.log_arrival(count + 1) if size > count + 1 else",
           _ESTIMATES + "sums_over_inclusion_probabilities_are_unbiased[equal-1.0]"),
    Mutant("τ from the end of the list", "sketch_core/draws.py",
           "log_threshold = arrivals.log_arrival(count) if size > count else arrivals.log_cut",
           "log_threshold = arrivals.log_cut",
           _ESTIMATES + "sums_over_inclusion_probabilities_are_unbiased[equal-1.0]"),
    Mutant("the 3 σ̂ rule dropped", "sketch_core/heavy_hitters.py",
           "SETTLED: Final = 0.02\n", "SETTLED: Final = 0.02\nDETECTION = 0.0  # noqa\n",
           _NARROW + "narrow_sketches_hardly_ever_serve_what_is_zero[2.0-64]"),
    Mutant("the agreement of rows dropped", "sketch_core/heavy_hitters.py",
           "(size >= threshold) & (along >= least) & (along <= AGREEMENT[1] * size)",
           "(size >= threshold)",
           _NARROW + "narrow_sketches_hardly_ever_serve_what_is_zero[2.0-64]"),
    Mutant("whatever was found is served", "sketch_core/heavy_hitters.py",
           "least = np.maximum(agreement * size, MEAN_SHARE * threshold)\n",
           "return np.asarray(size > 0.0)\n    least = size\n",
           _NARROW + "narrow_sketches_hardly_ever_serve_what_is_zero[2.0-64]"),
    Mutant("all that is found is peeled at once", "sketch_core/heavy_hitters.py",
           "held = new[in_a_shadow(where[:, new], np.abs(mean[new]))]", "held = new[:0]",
           "tests/statistical/test_crowded.py::test_shared_cells_hide_nothing_and_make_up_nothing"),
    Mutant("draws with replacement repeat the list", "sketch_core/ppswor.py",
           "    if coordinates.size == 0 or count == 0:\n",
           "    if coordinates.size:\n"
           "        return np.resize(np.arange(coordinates.size), count)\n"
           "    if coordinates.size == 0 or count == 0:\n",
           _DRAWS + "draws_with_replacement_follow_the_law[two equal spikes, p=1.5]"),
    Mutant("repeats never come", "sketch_core/scaling.py",
           "return exponentials(mix(self._repeat, base[:, None] + numbers))",
           "return 1e9 + exponentials(mix(self._repeat, base[:, None] + numbers))",
           _DRAWS + "repeats_are_as_frequent_as_in_the_law[two equal spikes, p=1.5]"),
    Mutant("repeats end with the list, not with its time", "sketch_core/ppswor.py",
           "horizon = max(float(np.exp(log_rate.max() - log_cut)), float(last.max()))",
           "horizon = np.inf if log_cut == -np.inf else float(last.max())",
           _NARROW + "what_a_narrow_sketch_serves_follows_the_law[one spike]"),
    Mutant("repeat gaps shared between coordinates", "sketch_core/scaling.py",
           "base = mix(self._repeat_base, coordinates)", "base = np.zeros_like(coordinates)",
           _DRAWS + "neighbouring_repeats_are_as_frequent_as_in_the_law[two equal spikes, p=1.5]"),
    Mutant("ties broken by index", "sketch_core/heavy_hitters.py",
           "np.lexsort((tie_break(candidates[chosen]), -sizes))",
           "np.lexsort((candidates[chosen], -sizes))",
           _TIES + "ties_go_to_either_index_alike[sketch]"),
    Mutant("ties of the exact method broken by index", "sketch_core/exact.py",
           "np.lexsort((tie_break[candidates], -key[candidates]))",
           "np.lexsort((candidates, -key[candidates]))",
           _TIES + "ties_go_to_either_index_alike[exact]"),
    Mutant("increments rounded down", "sketch_core/batch.py",
           "np.rint(np.ldexp(numbers, quantum_bits))", "np.floor(np.ldexp(numbers, quantum_bits))",
           _TIES + "rounding_increments_favours_no_side"),
    Mutant("subtraction adds", "sketch_core/batch.py",
           "scaled.astype(np.int64)", "np.abs(scaled).astype(np.int64)",
           _TIES + "rounding_increments_favours_no_side"),
    Mutant("the way back from a row forgets Σ⁻¹", "sketch_core/tensor_product.py",
           "balanced.T @ (v / sigma)", "balanced.T @ v",
           _TENSORS + "values_are_near[gaussian]"),
    Mutant("rows are weighed without A2", "sketch_core/tensor_product.py",
           "weigh = np.ldexp(v * sigma, unit", "weigh = np.ldexp(v, unit",
           _TENSORS + "rows_follow_their_energies[gaussian]"),
    Mutant("pairs of a list share their columns' exponentials", "sketch_core/tensor_sketch.py",
           "draw * self.spec.samples + position)", "draw * self.spec.samples)",
           _TENSORS + "pairs_are_independent_of_one_another[one heavy row]"),
    Mutant("one set of hashes for both operands", "sketch_core/hashing.py",
           "SECOND_REPETITION: Final = 1 << 33", "SECOND_REPETITION: Final = 0",
           _TENSORS + "rows_and_columns_are_drawn_apart"),
    Mutant("the 3 σ̂ rule dropped for rows", "sketch_core/heavy_rows.py",
           "        threshold = max(DETECTION * sigma, floor)\n        before",
           "        threshold = floor\n        before",
           _TENSORS + "narrow_tensors_hardly_ever_serve_what_is_zero"),
    Mutant("rows are not peeled", "sketch_core/heavy_rows.py",
           "np.subtract.at(residual, cells, sign[row, changed, None] * change[changed])", "pass",
           _TENSORS + "values_are_near[one heavy row]"),
    Mutant("norms count on all of a list", "sketch_core/linear_sketch.py",
           "if count > most and cut > -math.inf:",
           "cut, count = arrivals.log_cut, order.size\n        if count < 0:",
           _ESTIMATES + "norms_err_as_their_standard_errors_say[random in 2^40-1.0-8]"),
)  # fmt: skip


def copy_tree(target: Path) -> None:
    """The sources and tests, without what tools made."""
    for path in files():
        to = target / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)


def failing(tree: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails, None when all pass. Raises RuntimeError when none could be run."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
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
    named = re.search(r"^FAILED ([^\n]+?)(?: - |$)", done.stdout, flags=re.MULTILINE)
    # Failing by an exception would say that the break is clumsy, not that the test is sharp.
    asserted = re.search(r"^E +(?:AssertionError|assert)\b", done.stdout, flags=re.MULTILINE)
    if done.returncode != 1 or named is None or asserted is None:
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
        killer = failing(tree, [mutant.test])
    finally:
        path.write_text(text, "utf-8")
    return (True, killer) if killer else (False, f"{mutant.test} passed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants whose names contain any of the words given, or all."""
    parser = argparse.ArgumentParser(description="break the algorithms on purpose")
    parser.add_argument("names", nargs="*", help="parts of mutants' names")
    words = parser.parse_args(arguments).names
    chosen = [item for item in MUTANTS if not words or any(word in item.name for word in words)]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        if broken := failing(tree, sorted({mutant.test for mutant in chosen})):
            print(f"nothing can be said: {broken} fails without any break")
            return 1
        for mutant in chosen:
            start = time.monotonic()
            died, how = judge(mutant, tree)
            survived += not died
            took = time.monotonic() - start
            print(
                f"{'died' if died else 'SURVIVED':9}{mutant.name:47}{took:3.0f} s  {how}",
                flush=True,
            )
    print(f"{len(chosen) - survived} of {len(chosen)} died")
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
