"""`sketchd demo --quick` as a person would run it: a real service, report and picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.demo import main
from service.demo.client import Client, DemoError, started_service
from tests.tidy.tree import ROOT


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "service", "demo", "--quick", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SKETCHD_STORE": "nonsense://"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_demo_passes_and_leaves_a_picture(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout
    assert "never drawn" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 100
    assert [path.name for path in tmp_path.iterdir()] == ["demo-output"]
    picture = (tmp_path / "demo-output" / "attention.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_the_demo_uses_a_running_service_and_tidies_up(tmp_path: Path) -> None:
    with started_service() as url:
        done = demo(tmp_path, "--url", url + "/", "--output", "here", "--seed", "5")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "here" / "attention.png").exists()
        client = Client(url)
        with pytest.raises(DemoError, match="404"):
            client.info("demo-left-over")
        assert client.names() == []
        client.close()


def test_a_service_that_is_not_there_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--quick", "--url", "http://127.0.0.1:9", "--output", str(tmp_path)])
    assert status == 1
    assert "sketchd demo: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
