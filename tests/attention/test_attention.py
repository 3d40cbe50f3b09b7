"""`sketchd attention --quick` as a person would run it: model, text, service, report, pictures."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from service.attention import main
from service.attention.report import END, START, table, write
from service.demo.client import DemoError
from tests.tidy.tree import ROOT


def test_a_quick_run_passes_and_writes_its_findings(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "images").mkdir(parents=True)
    (docs / "attention.md").write_text(f"Before.\n\n{START}old\n{END}\n\nAfter.\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "service", "attention", "--quick", "--write", "docs"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SKETCHD_STORE": "nonsense://"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED." in done.stdout
    assert "Warning" not in done.stderr
    assert "- Evicted tokens: drawn 0 times." in done.stdout
    written = (docs / "attention.md").read_text("utf-8")
    assert written.startswith("Before.\n")
    assert written.endswith("After.\n")
    assert "old" not in written.split(START)[1].split("\n")[:2]
    assert "### Memory and time" in written
    for path in (
        tmp_path / "attention-output" / "outputs.png",
        tmp_path / "attention-output" / "pairs.png",
        docs / "images" / "attention-outputs.png",
        docs / "images" / "attention-pairs.png",
    ):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert 20_000 < path.stat().st_size < 200_000


def test_a_wrong_address_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = 0

    def hang_up() -> None:
        nonlocal asked
        with suppress(OSError):
            while True:
                nobody.accept()[0].close()
                asked += 1

    with socket.create_server(("127.0.0.1", 0)) as nobody:
        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert main(["--quick", "--output", str(tmp_path / "out"), "--url", url]) == 1
        nobody.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert "unreachable" in capsys.readouterr().err
    assert asked <= 2  # a connection that breaks is opened once more at once


def test_what_cannot_be_run_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.txt"
    short.write_text("too little to read", "utf-8")
    for options, said in (
        (["--url", "http://127.0.0.1:9"], "127.0.0.1"),
        (["--url", "ftp://127.0.0.1"], "url: must be http://"),
        (["--url", "http://127.0.0.1:9", "--text", str(short)], "has 4 tokens"),
        (["--url", "http://127.0.0.1:9", "--text", str(tmp_path / "none")], "none"),
        (["--url", "http://127.0.0.1:9", "--write", str(tmp_path)], "attention.md"),
    ):
        assert main(["--quick", "--output", str(tmp_path / "out"), *options]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("sketchd attention: ")
        assert said in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_text_that_is_no_text_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert main(["--quick", "--url", "http://127.0.0.1:9", "--text", str(binary)]) == 1
    assert "utf-8" in capsys.readouterr().err


def test_where_no_plots_can_go_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    options = ["--quick", "--url", "http://127.0.0.1:9"]
    assert main([*options, "--output", str(tmp_path / "file" / "plots")]) == 1
    printed = capsys.readouterr()
    assert str(tmp_path / "file" / "plots") in printed.err
    assert printed.out == ""


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "attention.md"
    document.write_text("No marks.\n", "utf-8")
    with pytest.raises(DemoError, match="no <!-- figures -->"):
        write("text", document)
    assert document.read_text("utf-8") == "No marks.\n"


def test_a_table_is_aligned() -> None:
    assert table(("m", "error"), [["1", "5.0%"], ["256", "12.5%"]]).splitlines() == [
        "| m   | error |",
        "| --- | ----: |",
        "| 1   |  5.0% |",
        "| 256 | 12.5% |",
    ]
