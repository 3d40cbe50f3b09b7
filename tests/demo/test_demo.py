"""`sketchd demo --quick` as a person would run it: a real service, reports and pictures."""

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


def test_the_demo_passes_and_leaves_its_pictures(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
    assert done.stdout.count("never drawn") == 2
    assert max(map(len, done.stdout.splitlines())) < 100
    assert [path.name for path in tmp_path.iterdir()] == ["demo-output"]
    pictures = sorted((tmp_path / "demo-output").iterdir())
    assert [path.name for path in pictures] == ["attention.png", "pairs.png"]
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 20_000


@pytest.mark.parametrize("answers", [(True, False), (False, True)])
def test_either_part_that_fails_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: tuple[bool, bool]
) -> None:
    asked = []
    for part, answer in zip(("_attention", "_pairs"), answers, strict=True):

        def pretended(*_: object, part: str = part, answer: bool = answer) -> bool:
            asked.append(part)
            return answer

        monkeypatch.setattr(f"service.demo.{part}", pretended)
    assert main(["--url", "http://127.0.0.1:9", "--output", str(tmp_path)]) == 1
    assert asked == ["_attention", "_pairs"]


def test_the_demo_uses_a_running_service_and_tidies_up(tmp_path: Path) -> None:
    with started_service() as url:
        for part in ("attention", "pairs"):
            options = (part, "--url", url + "/", "--output", part, "--seed", "5")
            done = demo(tmp_path, *options)
            assert done.returncode == 0, done.stdout + done.stderr
            assert [path.name for path in (tmp_path / part).iterdir()] == [f"{part}.png"]
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
