"""The project's own files, whether it lies in a git checkout or an unpacked tarball."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

_MADE: Final = frozenset(
    {
        ".git", "build", "dist", "demo-output", "attention-output", "__pycache__", "node_modules",
        "htmlcov",
    }
)  # fmt: skip
_TEXT: Final = frozenset(
    {"", ".md", ".py", ".toml", ".txt", ".in", ".cfg", ".yml", ".yaml", ".json", ".html", ".css",
     ".js", ".lua", ".proto", ".sh", ".svg", ".conf"}
)  # fmt: skip


def files(root: Path = ROOT) -> Iterator[Path]:
    """Every file but what tools and targets made."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _MADE
            and not name.endswith((".egg-info", "_cache"))
            and not (Path(folder) / name / "pyvenv.cfg").exists()
            and name not in (".hypothesis", ".venv")
        )
        yield from (Path(folder) / name for name in sorted(names))


def text_files(root: Path = ROOT) -> Iterator[Path]:
    """Those that hold text."""
    return (path for path in files(root) if path.suffix in _TEXT)


def documents(root: Path = ROOT) -> list[Path]:
    """README and everything under docs that a person reads."""
    return [path for path in files(root) if path.suffix == ".md"]
