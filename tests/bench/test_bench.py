"""`sketchd bench serve` as a person would run it: a real service, true counts, nothing left."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from service.bench import main, run
from service.bench.control import Counted, HttpControl
from service.bench.options import InvalidOption, parse
from service.bench.processes import free_port, serve
from service.bench.requests import clients_of
from service.bench.sender_processes import Senders
from service.bench.senders import Plan
from service.demo.client import started_service
from tests.tidy.tree import ROOT

QUICK = ["serve", "--sketches", "3", "--clients", "4", "--n", "5000", "--batch", "20",
         "--seconds", "1", "--warmup", "0.2"]  # fmt: skip


def names(url: str) -> list[str]:
    """Of all sketches of a service."""
    return [one["name"] for one in httpx.get(f"{url}/v1/sketches").json()["sketches"]]


def wait_for_updates(url: str, process: subprocess.Popen[str]) -> None:
    """Until the service has taken some, or the load has ended."""
    done = 'sketchd_update_batches_total{kind="vector",outcome="ok"}'
    while process.poll() is None:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        if any(line.startswith(done) and float(line.split()[-1]) > 10 for line in lines):
            return


@pytest.mark.parametrize("kind", ["vector", "matrix"])
@pytest.mark.parametrize("form", ["json", "safetensors"])
def test_a_run_reports_what_happened_and_leaves_nothing(
    kind: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, picture = tmp_path / "b.json", tmp_path / "b.png"
    with started_service() as url:
        httpx.put(f"{url}/v1/sketches/bench-of-mine", json={"kind": "vector", "shape": {"n": 5}})
        options = ["--url", url, "--kind", kind, "--d", "3", "--format", form, "--mix", "3:1"]
        assert main([*QUICK, *options, "--json", str(figures), "--plot", str(picture)]) == 0
        assert names(url) == ["bench-of-mine"]
    printed = capsys.readouterr().out
    assert "every sketch holds what was acknowledged" in printed
    assert max(map(len, printed.splitlines())) < 100
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = json.loads(figures.read_text())
    assert set(found["operations"]) == {"update", "sample"}
    for one in found["operations"].values():
        assert 0 < one["p50"] <= one["p90"] <= one["p99"] <= one["p999"] <= one["max"]
        assert one["requests"] > 0
    counts = found["counts"]
    assert counts["agree"]
    assert counts["acknowledged"] == counts["counted"]
    # The first updates and those of the warm-up were acknowledged as well.
    assert counts["counted"] >= 20 * (found["operations"]["update"]["requests"] + 3)
    assert found["errors"] == {}
    assert found["lost"] == 0
    assert found["service"]["source"] == "processes"  # of this machine, though not started here
    assert found["service"]["memory_bytes"] > 1 << 20
    assert found["sketches"]["count"] == 3
    assert found["sketches"]["state_bytes"] > 0
    numbers = 3 if kind == "matrix" else 1
    assert found["numbers"] == pytest.approx(numbers * found["updates"])
    assert "access_key" not in found["asked"]


@pytest.mark.parametrize("form", ["grpc", "grpc-stream"])
@pytest.mark.parametrize("more", [["--kind", "matrix", "--d", "3"], ["--tensors", "--shared", "3"]])
def test_over_grpc_too(form: str, more: list[str], tmp_path: Path) -> None:
    figures = tmp_path / "b.json"
    options = ["--format", form, "--mix", "1:1", "--json", str(figures), *more]
    assert main([*QUICK, *options]) == 0
    found = json.loads(figures.read_text())
    assert min(one["requests"] for one in found["operations"].values()) > 0
    assert found["counts"]["agree"]
    assert found["errors"] == {}
    assert found["lost"] == 0


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_at_an_address_of_ipv6(scheme: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--host", "::1", "--store", "memory://"]
    at = {"http": "--port", "grpc": "--grpc-port"}
    ports = [word for one in at for word in (at[one], str(port) if one == scheme else "0")]
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen([*command, *ports], stderr=subprocess.PIPE, stdout=log) as service:
        assert service.stderr is not None
        try:
            assert b"ready" in service.stderr.readline()
            assert main([*QUICK, "--url", f"{scheme}://[::1]:{port}"]) == 0
        finally:
            service.terminate()


@pytest.mark.parametrize("form", ["grpc", "grpc-stream"])
def test_what_grpc_refuses_is_counted_by_its_code(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse = ["--set", "max_log_bytes=1", "--set", "compact_min_bytes=1000000000"]
    main([*QUICK, *refuse, "--format", form, "--mix", "1:0", "--no-keys", "--warmup", "0"])
    assert "UNAVAILABLE backlog_full" in capsys.readouterr().out


def test_processes_take_turns_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they are as even as one: the times of four are a quarter of a step apart."""
    seen: list[Plan] = []

    def watched(plans: Sequence[Plan]) -> Senders:
        seen.extend(plan for plan in plans if plan.rate)
        return Senders(plans)

    monkeypatch.setattr(run, "Senders", watched)
    assert main([*QUICK, "--rate", "40", "--processes", "4"]) == 0
    assert [plan.rate for plan in seen] == [10.0] * 4
    assert [plan.late for plan in seen] == [0.0, 0.025, 0.05, 0.075]


def test_the_sketches_stay_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with started_service() as url:
        assert main([*QUICK, "--url", url, "--keep"]) == 0
        left = names(url)
    assert len(left) == 3
    prefix = capsys.readouterr().out.strip().rpartition(" ")[2]
    assert all(name.startswith(prefix) for name in left)


def test_interrupted_it_reports_and_removes_its_sketches(tmp_path: Path) -> None:
    figures = tmp_path / "b.json"
    with started_service() as url:
        # Children of what a shell started in the background ignore the interrupt.
        heeding = (
            "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "runpy.run_module('service', run_name='__main__', alter_sys=True)"
        )
        command = [sys.executable, "-c", heeding, "bench", *QUICK, "--seconds", "300"]
        process = subprocess.Popen(
            [*command, "--url", url, "--json", str(figures), "--processes", "2"],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        wait_for_updates(url, process)
        # As a terminal does: every process of the group gets it.
        os.killpg(process.pid, signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
        assert names(url) == []
    assert process.returncode == 130, errors
    assert "every sketch holds what was acknowledged" in printed
    assert "Traceback" not in errors
    found = json.loads(figures.read_text())
    assert found["interrupted"]
    assert found["counts"]["acknowledged"] >= 10 * 20


def test_a_service_that_counts_otherwise_is_found_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = HttpControl.counted

    def forgetful(self: HttpControl, prefix: str) -> dict[str, Counted]:
        found = honest(self, prefix)
        name = sorted(found)[1] if len(found) == 3 else ""
        return {
            one: Counted(of.updates - (one == name), of.state_bytes, of.log_bytes)
            for one, of in found.items()
        }

    with started_service() as url:
        monkeypatch.setattr(HttpControl, "counted", forgetful)
        assert main([*QUICK, "--url", url]) == 1
        assert names(url) == []
    assert "WRONG" in capsys.readouterr().out


def test_a_service_of_its_own_takes_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """With room for one update in a log, the next is refused, and without a key given up."""
    refuse = ["--set", "max_log_bytes=1", "--set", "compact_min_bytes=1000000000"]
    main([*QUICK, *refuse, "--mix", "1:0", "--no-keys", "--warmup", "0"])
    printed = capsys.readouterr()
    assert "503 backlog_full" in printed.out, printed.err
    assert "retried    0 times" in printed.out


def test_answers_that_come_late_are_told_of(tmp_path: Path) -> None:
    """Rates are over all the time until the last answer, whatever was asked."""
    figures = tmp_path / "b.json"
    with serve(tmp_path, "memory://") as server:
        url = f"http://{server.host}:{server.port}"
        command = [sys.executable, "-m", "service", "bench", *QUICK, "--seconds", "3"]
        with subprocess.Popen(
            [*command, "--url", url, "--json", str(figures)], stdout=subprocess.PIPE, text=True,
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        ) as process:  # fmt: skip
            wait_for_updates(url, process)
            time.sleep(1.0)  # warm by now
            os.kill(server.pid, signal.SIGSTOP)
            time.sleep(4.0)
            os.kill(server.pid, signal.SIGCONT)
            printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.search(r"! The last answers came \d\.\d s after the load had ended", printed)
    found = json.loads(figures.read_text())
    assert found["seconds"] > 3.3
    assert any("too low" in note for note in found["notes"])


def test_a_service_that_dies_leaves_a_report(tmp_path: Path) -> None:
    figures = tmp_path / "b.json"
    with serve(tmp_path, "memory://") as server:
        url = f"http://{server.host}:{server.port}"
        command = [sys.executable, "-m", "service", "bench", *QUICK, "--seconds", "4"]
        process = subprocess.Popen(
            [*command, "--url", url, "--timeout", "2", "--json", str(figures)],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_for_updates(url, process)
        os.kill(server.pid, signal.SIGKILL)
        printed, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "UNKNOWN" in printed
    assert "no answer: " in printed
    assert "sketches may be left" in errors
    assert "Traceback" not in errors
    found = json.loads(figures.read_text())
    assert found["lost"] > 0
    assert found["reasons"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--url", "ftp://x:1"], "--url"),
        (["--url", "http://x:1/path"], "--url"),
        (["--url", "http://x:1", "--format", "grpc"], "--format"),
        (["--url", "grpc://x:1", "--format", "json"], "--format"),
        (["--url", "http://x:1", "--store", "memory://"], "--store"),
        (["--mix", "0:0"], "--mix"),
        (["--mix", "9"], "--mix"),
        (["--sketches", "0"], "--sketches"),
        (["--rate", "0"], "--rate"),
        (["--set", "workers"], "--set"),
        (["--set", "module=x"], "--set module"),
        (["--set", "store=redis://:secret@x:1"], "--set store: "),
        (["--ca", "/no/such/file"], "--ca"),
        (["--plot", "/no/such/folder/x.png"], "--plot"),
    ],
)
def test_what_it_cannot_be_asked(
    given: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidOption, match=named):
        parse(["serve", *given])
    assert main(["serve", *given]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert "secret" not in said


def test_a_misspelt_setting_is_not_measured_without(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--set", "worker=2"]) == 1
    assert "SKETCHD_WORKER is not a setting" in capsys.readouterr().err


def test_a_picture_that_cannot_be_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*QUICK, "--plot", "x.xyz"]) == 2
    assert "svg" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    assert main([*QUICK, "--plot", "x.png"]) == 1
    printed = capsys.readouterr()
    assert "pip install matplotlib tqdm" in printed.err
    assert printed.out == ""


def test_figures_that_cannot_be_written_are_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, "--json", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "every sketch holds what was acknowledged" in printed.out
    assert str(tmp_path) in printed.err


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there_is_said_in_a_line_or_two(
    scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, "--url", f"{scheme}://127.0.0.1:9"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) <= 3


def test_the_document_shows_commands_that_can_be_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "docs" / "bench.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].split() for block in blocks for line in block.splitlines()]
    assert len(lines) >= 4
    for line in lines:
        assert line[:2] == ["sketchd", "bench"]
        parse(line[2:])
    # Options named in its text exist too.
    named = set(re.findall(r"`(--[a-z-]+)", text))
    assert named
    with pytest.raises(SystemExit):
        parse(["serve", "--help"])
    shown = capsys.readouterr().out
    assert [option for option in sorted(named) if option not in shown] == []


def test_the_turns_of_many_clients_take_little_memory() -> None:
    options = parse(["serve", "--clients", "200", "--sketches", "1000"])
    tracemalloc.start()
    clients = clients_of(options, "127.0.0.1", 1)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    turns = sum(len(one.turns) for one in clients)
    assert held < 6 * turns
    assert {type(one.turns[0]) for one in clients} == {int}
