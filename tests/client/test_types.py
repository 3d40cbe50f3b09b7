"""What mypy, in strict mode, says of programs that use the client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT

RIGHT = """
import asyncio
from collections.abc import AsyncIterator, Iterator

import numpy as np
import numpy.typing as npt

from service.client import (
    Acknowledgement, AsyncClient, Client, Estimate, FieldError, Info, InvalidRequest, Norm, Plan,
    Retry, Sample, SampleOf, SketchdError, Snapshot, Tls, Update,
)


def use() -> None:
    with Client("http://h:1", key="k", timeout=3, retry=Retry(attempts=2), tls=None) as client:
        sketch = client.create("a", {"kind": "vector", "shape": {"n": 5}})
        done: Acknowledgement = sketch.update([1], np.ones(1, np.float16), timeout=1.0)
        version: str = sketch.update_rows([1], [[1.0]], operand="A").version
        drawn: Sample = sketch.sample(3, x=np.ones(4))
        index: npt.NDArray[np.uint64] = drawn.index
        many: list[Sample] = sketch.sample_each([[1.0]], 3)
        estimate: Estimate = sketch.estimate([1])
        norm: Norm = sketch.norm(2.0)
        infos: Iterator[Info] = client.list("a")
        plan: Plan = client.plan({})
        snapshot: Snapshot = sketch.snapshot()
        sketch.add_snapshot(snapshot, ["A1"])
        results: list[Acknowledgement | SketchdError] = client.update_many([Update("a", [1], [1])])
        samples: list[Sample | SketchdError] = client.sample_many([SampleOf("a", 3)])
        try:
            sketch.delete()
        except InvalidRequest as error:
            fields: tuple[FieldError, ...] = error.fields
            print(fields)
        print(done, version, index, many, estimate, norm, infos, plan, results, samples)


async def use_async() -> None:
    async with AsyncClient("grpcs://h:1", tls=Tls(ca="root.pem")) as client:
        sketch = await client.create("a", {"kind": "vector", "shape": {"n": 5}})
        done: Acknowledgement = await sketch.update([1], [1.0])
        drawn: Sample = await sketch.sample(3)
        infos: AsyncIterator[Info] = client.list("a")
        names = [info.name async for info in client.list()]
        results: list[Acknowledgement | SketchdError] = await client.update_many([])
        print(done, drawn, infos, names, results)


asyncio.run(use_async())
"""

#: Each line alone is wrong, with what mypy calls it.
WRONG = [
    ("client.sketch('a').sample('three')", "arg-type"),
    ("client.sketch('a').update([1])", "call-arg"),
    ("client.sketch('a').update([1], [1.0], operands='A')", "call-arg"),
    ("client.sketch('a').sample(3).indexes", "attr-defined"),
    ("x: int = client.sketch('a').info().version", "assignment"),
    ("client.sketch('a').draw()", "attr-defined"),
    ("Client('http://h:1', 'key')", "call-arg"),
    ("client.update_many([('a', [1], [1.0])])", "list-item"),
]


def _mypy(program: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"),
         "--cache-dir", str(program.parent / "cache"), str(program)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs lie; mypy's cache of numpy is shared between them."""
    return tmp_path_factory.mktemp("types")


def test_a_right_program_passes_and_each_wrong_line_is_seen(folder: Path) -> None:
    right, wrong = folder / "right.py", folder / "wrong.py"
    right.write_text(RIGHT)
    wrong.write_text(
        "from service.client import Client\n\nclient = Client('http://h:1')\n"
        + "".join(f"{line}\n" for line, _ in WRONG)
    )
    passed = _mypy(right)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    failed = _mypy(wrong)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    for at, (line, kind) in enumerate(WRONG, 4):
        told = [one for one in failed.stdout.splitlines() if f"wrong.py:{at}: error" in one]
        assert any(f"[{kind}]" in one for one in told), (line, failed.stdout)
