"""docs/operating.md as an operator types it in: Redis, tenants, replicas, a load, a kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import redis_process
from tests.tidy import documents
from tests.tidy.tree import ROOT

DOCUMENT = ROOT / "docs" / "operating.md"


def script(folder: Path) -> str:
    """The document's commands, on ports of their own, with a line between the blocks."""
    shown = ("6379", "8081", "8082", "50061", "50062")
    ports = {port: str(redis_process.free_port()) for port in shown}
    text = re.sub(
        rf"\b({'|'.join(shown)})\b",
        lambda found: ports[found[0]],
        DOCUMENT.read_text("utf-8"),
    )
    blocks = [block.text for block in documents.blocks(text) if block.language == "bash"]
    commands = folder / "bin"
    commands.mkdir()
    for name, program in {
        "sketchd": f"{sys.executable} -m service",
        "redis-server": redis_process.program(),
    }.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (commands / name).chmod(0o755)
    head = f"set -uo pipefail\nPATH={commands}:$PATH\n"
    return head + "\necho '#####'\n".join(blocks)


@pytest.fixture
def printed(tmp_path: Path) -> list[str]:
    """What each block printed."""
    # A file and no pipe: the servers in the background hold it open, and need not be waited for.
    with (tmp_path / "printed").open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", script(tmp_path)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(150)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return (tmp_path / "printed").read_text().split("#####\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_document_is_true(printed: list[str]) -> None:
    doctor, keys, ready, tried, refused, killed, watched = printed
    assert "fail" not in doctor
    assert "appendfsync always" in doctor
    assert keys.count("\n") >= 3
    assert ready.count("ready") == 2
    accepted, sample = (json.loads(line) for line in tried.splitlines())
    assert accepted["accepted"] == 2
    assert sorted(sample["index"]) == [5, 9]
    missing, *codes, over = refused.strip().splitlines()
    assert json.loads(missing)["code"] == "sketch_not_found"
    assert codes == ["201", "201", "403"]
    assert json.loads(over)["code"] == "quota_exceeded"
    assert json.loads(killed.splitlines()[-1])["value"] == [300.0]
    assert 'sketchd_sketches{tenant="acme"} 1.0' in watched
    assert "sketchd_store_up 1.0" in watched
