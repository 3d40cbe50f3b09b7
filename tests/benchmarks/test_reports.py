"""Every benchmark of the core runs small and reports what it says it does. Times are not judged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    against_exact,
    calibrate,
    distribution,
    draws,
    durable_ingest,
    fold,
    ingest_shares,
    load,
    sample_latency,
    state_bytes,
    tenants,
    tensor,
    tensor_distribution,
    transport_shares,
    transports,
)
from benchmarks.measuring import report
from benchmarks.measuring.report import Benchmark, Target
from benchmarks.measuring.timing import Times, interleaved, ratio

FIELDS = {
    "benchmark", "command", "seed", "versions", "processors", "caveats", "rows", "targets",
}  # fmt: skip
REPORTS: tuple[Benchmark, ...] = (
    fold.BENCHMARK,
    state_bytes.BENCHMARK,
    sample_latency.BENCHMARK,
    against_exact.BENCHMARK,
    tensor.BENCHMARK,
    tensor_distribution.BENCHMARK,
    draws.BENCHMARK,
    tenants.BENCHMARK,
    durable_ingest.BENCHMARK,
    ingest_shares.BENCHMARK,
    load.BENCHMARK,
    transports.BENCHMARK,
    transport_shares.BENCHMARK,
)
#: What may well be none.
COUNTS = {
    "floor_cpu_ms",
    "zeros",
    "short_lists",
    "refused",
    "lost",
    "compactions",
    "left_mb",
    "written",
}


def read(path: Path, name: str) -> Mapping[str, Any]:
    """The JSON of a report, with what all of them share checked."""
    found: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    assert set(found) == FIELDS
    assert found["benchmark"] == name
    assert found["command"] == f"python -m benchmarks.{name} --small"
    assert {"python", "numpy"} <= set(found["versions"])
    assert found["processors"]["processors"] >= 1
    assert found["caveats"]
    assert found["rows"]
    for target in found["targets"]:
        assert set(target) == {"what", "unit", "bound", "at_least", "reached", "met"}
        assert math.isfinite(target["reached"])
    return found


def sane(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all rows have the same fields, and every number is finite and positive."""
    return all(set(row) == set(rows[0]) for row in rows) and all(
        math.isfinite(value) and (value > 0 or (value == 0 and name in COUNTS))
        for row in rows
        for name, value in row.items()
        if isinstance(value, int | float)
    )


@pytest.mark.parametrize("benchmark", REPORTS, ids=lambda one: one.name)
def test_a_small_run_reports(
    benchmark: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = benchmark.name
    document = tmp_path / report.DOCUMENT
    document.write_text(
        f"Before.\n<!-- {name} -->\nwhat stood here\n<!-- end of {name} -->\nAfter.\n"
    )
    path = tmp_path / "report.json"
    report.run(
        benchmark, ["--small", "--rounds", "2", "--json", str(path), "--write", str(tmp_path)]
    )
    found = read(path, name)
    assert sane(found["rows"])
    assert {column.field for column in benchmark.columns} <= set(found["rows"][0])
    assert found["targets"]
    assert set(benchmark.peers) <= set(found["versions"])
    printed = capsys.readouterr().out
    assert f"Seed {found['seed']}, python" in printed
    assert found["command"] in printed
    assert all(caveat in printed for caveat in benchmark.caveats)
    text = document.read_text("utf-8")
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "what stood here" not in text
    assert text.count(found["command"]) == 1
    picture = tmp_path / "images" / benchmark.picture
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_distribution_reports(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert distribution.main(["--small", "--jobs", "1", "--json", str(path)]) == 0
    found = read(path, "distribution")
    for row in found["rows"]:
        assert 0 < row["floor_median"] < row["floor_95"] < 1
        assert 0 <= row["independent"]["observed"] < 1
        assert row["never"] == 0 < row["draws"]
    assert [target["at_least"] for target in found["targets"]] == [True, False]


def test_the_calibration_reports(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    calibrate.main(["--small", "--json", str(path)])
    rows = read(path, "calibrate")["rows"]
    assert [row["of"] for row in rows] == ["model"] * len(calibrate.SMALL_GRID)
    for row in rows:
        assert row["lists"] == calibrate.SMALL_LISTS
        assert 0 <= row["partial"] <= row["lists"]
        assert 0 < row["draws"] <= row["lists"] * row["samples"]


def test_the_work_is_done_in_turn() -> None:
    done: list[str] = []

    def work(name: str) -> Callable[[], None]:
        return lambda: done.append(name)

    times = interleaved({"a": work("a"), "b": work("b")}, 3)
    assert "".join(done) == "abababab"  # the first round is not timed
    assert [len(each.seconds) for each in times.values()] == [3, 3]


def test_a_ratio_is_of_medians_with_quartiles_of_rounds() -> None:
    ours, peer = Times((2.0, 4.0, 9.0)), Times((1.0, 2.0, 3.0))
    assert ratio(ours, peer) == (2.0, 2.0, 2.5)


def test_a_target_is_met_on_its_side() -> None:
    assert Target("x", "ms", 5.0, 5.0).met
    assert not Target("x", "ms", 5.0, 5.1).met
    assert Target("x", "", 3.0, 3.1, at_least=True).met
    assert not Target("x", "", 3.0, 2.9, at_least=True).met


def test_dense_wins_up_to_where_the_ratio_passes_one() -> None:
    rows = [{"n": n, "faster": n / 10_000} for n in (1_000, 4_000, 40_000)]
    assert against_exact.crossing(rows, "faster") == pytest.approx(10_000)
    assert against_exact.crossing(rows[:2], "faster") is None
