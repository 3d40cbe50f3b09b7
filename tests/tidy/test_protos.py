"""The generated half of the gRPC interface is what protoc makes of the .proto today."""

from __future__ import annotations

from pathlib import Path

from service.protos.generate import generate
from tests.tidy.tree import ROOT


def test_generated_files_are_those_of_the_proto(tmp_path: Path) -> None:
    made = generate(tmp_path)
    assert len(made) == 3
    for file in made:
        kept = ROOT / "service" / "protos" / file.relative_to(tmp_path)
        assert kept.read_text() == file.read_text(), f"run `make proto`: {kept.name} is old"
