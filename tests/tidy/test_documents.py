"""Documents are true: links lead somewhere, code runs, shown answers are the real ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.demo.client import started_service
from service.settings import Settings
from tests.service.grpc_rig import serving
from tests.tidy import documents
from tests.tidy.documents import Block
from tests.tidy.tree import ROOT
from tests.tidy.tree import documents as all_documents

#: Run as a whole, with the servers it starts, by tests/end_to_end/test_operating.py.
ELSEWHERE = {"operating.md"}
#: Speaks to the other port.
OVER_RPC = ROOT / "docs" / "grpc.md"
RUNNABLE = [
    path
    for path in all_documents()
    if path.name not in ELSEWHERE
    and path != OVER_RPC
    and any(block.runs for block in documents.blocks(path.read_text("utf-8")))
]

#: Any curl that the service refuses ends the block.
SHELL = """set -euo pipefail
curl() { command curl --silent --show-error --fail-with-body --max-time 60 "$@"; }
"""


@pytest.fixture
def address() -> Iterator[str]:
    """host:port of a real service over an empty store, one for each document."""
    with started_service() as url:
        yield url.removeprefix("http://")


#: Runs what comes in as JSON strings, one a line, in one namespace; says when each is done.
SESSION = """import json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    exec(compile(json.loads(line), "<document>", "exec"), names)
    print("\\0", flush=True)
"""


class Reader:
    """Somebody who tries a document from top to bottom: one Python session, a shell a block."""

    def __init__(self, address: str, folder: Path, rpc_address: str = "") -> None:
        self._address = address
        self._rpc_address = rpc_address
        self._folder = folder
        self._environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._python: subprocess.Popen[str] | None = None

    def run(self, block: Block) -> str:
        """Run a block; returns what it printed. Raises AssertionError where it fails."""
        text = documents.ADDRESS.sub(self._address, block.text)
        text = documents.RPC_ADDRESS.sub(self._rpc_address, text)
        return self._in_python(text, block) if block.language == "python" else self._sh(text, block)

    def close(self) -> None:
        """End the session."""
        if self._python is not None:
            self._python.kill()
            self._python.communicate()

    def _sh(self, text: str, block: Block) -> str:
        done = subprocess.run(
            ["bash", "-c", SHELL + text],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
        return done.stdout

    def _in_python(self, text: str, block: Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", SESSION],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(text) + "\n")
        self._python.stdin.flush()
        printed = ""
        for line in self._python.stdout:
            if line == "\0\n":
                return printed
            printed += line
        raise AssertionError(f"line {block.line}: {printed}")


@pytest.fixture
def reader(address: str, tmp_path: Path) -> Iterator[Reader]:
    """A reader with an empty folder and a service of their own."""
    found = Reader(address, tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_in_documents_runs(path: Path, reader: Reader) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    _try(path, reader)


def test_code_over_grpc_runs(tmp_path: Path) -> None:
    with serving(Settings(store="memory://")) as both:
        found = Reader(both.http.base_url.netloc.decode(), tmp_path, both.address)
        try:
            _try(OVER_RPC, found)
        finally:
            found.close()


def _try(path: Path, reader: Reader) -> None:
    """Run a document and compare what it shows with what came."""
    for block in documents.blocks(path.read_text("utf-8")):
        if not block.runs:
            continue
        printed = reader.run(block)
        if block.shown is not None:
            shown = documents.json_documents(block.shown)
            real = documents.json_documents(printed)
            wrong = list(documents.differences(shown, real[-len(shown) :]))
            assert not wrong, f"the answer under line {block.line} is not the real one: {wrong}"


def test_code_that_fails_is_noticed(reader: Reader) -> None:
    reader.run(Block(1, "python", "x = 5", None))
    assert reader.run(Block(2, "python", "print(x)", None)) == "5\n"
    with pytest.raises(AssertionError, match=r"line 3(?s:.)*NameError"):
        reader.run(Block(3, "python", "print(y)", None))
    with pytest.raises(AssertionError, match="line 4"):
        reader.run(Block(4, "bash", "false", None))


@pytest.mark.parametrize("path", all_documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    assert list(documents.broken_links(path)) == []


@pytest.mark.parametrize("path", all_documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = re.findall(r"(?:`|^\$? *)make ([a-z-]+)", path.read_text("utf-8"), flags=re.MULTILINE)
    assert set(named) <= targets


def test_readme_names_the_main_commands() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for command in ("make run", "make demo", "make test"):
        assert command in text


SAMPLE = """# One thing

See [two](other.md#two-things), [gone](gone.md), [no](other.md#three), [web](https://example.org).

```bash
curl -X PUT localhost:8080/x
```

```json
{"seed": 7, "at": "…"}
```

<!-- not run: it needs a key -->
```bash
curl localhost:8080/secret
```

```sh
make run
```
"""


def test_the_reader_of_documents_reads(tmp_path: Path) -> None:
    (tmp_path / "one.md").write_text(SAMPLE)
    (tmp_path / "other.md").write_text("## Two *things*\n")
    found = documents.blocks(SAMPLE)
    assert [(block.language, block.runs) for block in found] == [
        ("bash", True),
        ("json", False),
        ("sh", False),
    ]
    assert documents.ADDRESS.sub("h:1", found[0].text) == "curl -X PUT h:1/x\n"
    assert documents.json_documents(found[0].shown or "") == [{"seed": 7, "at": "…"}]
    broken = list(documents.broken_links(tmp_path / "one.md"))
    assert [line.rpartition(": ")[2] for line in broken] == ["no such file", "no such heading"]


def test_a_wrong_answer_is_noticed() -> None:
    shown = {"index": [5, 9], "at": "…", "norm": 2.5}
    assert list(documents.differences(shown, {"index": [5, 9], "at": 17, "norm": 2.5})) == []
    assert list(documents.differences(shown, {"index": [5, 8], "at": 17, "norm": 2.5}))
    assert list(documents.differences(shown, {"index": [5, 9], "at": 17}))
    assert list(documents.differences({"index": []}, {"index": [], "more": 1}))
