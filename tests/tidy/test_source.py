"""Names, headers, docstrings and sizes of the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy import arrows
from tests.tidy.tree import ROOT, files, text_files

#: Words that say where something was put and not what it is.
FORBIDDEN_WORDS = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
#: Modules that compute something from a paper open with these four headers.
ALGORITHMS = (
    "hashing", "scaling", "sizing", "count_sketch", "heavy_hitters", "ppswor", "vector", "matrix",
    "exact", "tensor", "tensor_sparse",
)  # fmt: skip
HEADERS = ("Problem.", "Source.", "Deviation.", "Guarantee.")
LONGEST_FUNCTION = 70
LONGEST_FILE = 400


def words(name: str) -> set[str]:
    """The words of an identifier or a file name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def forbidden_names(root: Path) -> list[str]:
    """Files, folders and classes named after nothing."""
    found = []
    for path in files(root):
        if words("/".join(path.relative_to(root).with_suffix("").parts)) & FORBIDDEN_WORDS:
            found.append(str(path.relative_to(root)))
        elif path.suffix == ".py":
            tree = ast.parse(path.read_text("utf-8"))
            found += [
                f"{path.relative_to(root)}:{node.lineno}: class {node.name}"
                for node in ast.walk(tree)
                if isinstance(node, ast.ClassDef) and words(node.name) & FORBIDDEN_WORDS
            ]
    return found


def missing_headers(path: Path) -> list[str]:
    """Which of the four headers an algorithm module lacks."""
    document = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return [
        header
        for header in HEADERS
        if not re.search(rf"^{re.escape(header)}", document, flags=re.MULTILINE)
    ]


def undocumented(path: Path) -> Iterator[str]:
    """Public functions and classes of a module without a docstring, and the module itself."""
    tree = ast.parse(path.read_text("utf-8"))
    if tree.body and not ast.get_docstring(tree):
        yield f"{path}: module"
    for node in tree.body:
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ):
            yield f"{path}:{node.lineno}: {node.name}"


def test_no_name_says_nothing(tmp_path: Path) -> None:
    assert forbidden_names(ROOT) == []
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "http_utils.py").touch()
    (tmp_path / "service" / "cache.py").write_text("class CacheManager: ...\n")
    assert forbidden_names(tmp_path) == [
        "service/cache.py:1: class CacheManager",
        "service/http_utils.py",
    ]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithm_modules_state_their_case(name: str) -> None:
    path = ROOT / "sketch_core" / f"{name}.py"
    if path.exists():
        assert missing_headers(path) == []


def test_a_missing_header_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "vector.py"
    path.write_text('"""One.\n\nProblem.  x\nSource.  y\nDeviation.  z\n"""\n')
    assert missing_headers(path) == ["Guarantee."]


def test_what_is_public_is_documented(tmp_path: Path) -> None:
    found = [line for _, path in arrows.modules(ROOT) for line in undocumented(path)]
    assert not found, "\n".join(found)
    (tmp_path / "x.py").write_text('"""X."""\ndef shown(): ...\ndef _hidden(): ...\n')
    assert list(undocumented(tmp_path / "x.py")) == [f"{tmp_path / 'x.py'}:2: shown"]


def test_functions_and_files_stay_readable() -> None:
    found = []
    for _, path in arrows.modules(ROOT):
        text = path.read_text("utf-8")
        if text.count("\n") > LONGEST_FILE:
            found.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    found.append(f"{path.relative_to(ROOT)}: {node.name}, {length} lines")
    assert not found, "\n".join(found)


def test_no_path_of_a_developers_machine() -> None:
    # Written in pieces, so that this file does not find itself.
    homes = "|".join(("ro" + "ot", "wo" + "rk", r"Us" + r"ers/\w+", r"ho" + r"me/\w+"))
    pattern = re.compile(rf"(?<![\w.~\])}}*-])/(?:{homes})/")
    assert pattern.search("see /wo" + "rk/main")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in text_files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)
