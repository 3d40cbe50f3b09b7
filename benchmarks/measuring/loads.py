"""The options that benchmarks of a loaded service share: which stores, and how much of what."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from benchmarks.measuring.stores import STORES

#: A frozen dataclass with a field for each of its options; `stores` for --store.
LoadT = TypeVar("LoadT")

#: Options by field. A field that a benchmark does not have is no option of it.
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "replicas": {"type": int, "nargs": "+"},
    "clients": {"type": int},
    "sketches": {"type": int},
    "seconds": {"type": float},
    "batch": {"type": int},
    "batches": {"type": int, "nargs": "+"},
    "formats": {"nargs": "+"},
}


def chosen_load(
    arguments: Sequence[str] | None, usual: LoadT, small: LoadT, formats: Sequence[str] = ()
) -> tuple[LoadT | None, list[str], str]:
    """The load that a command line asks for, what is left of it, and its options as given.

    None without any option of a load: the usual one, or with --small the small one, which
    otherwise fill in what was not given.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--store", choices=STORES)
    fields = {one.name for one in dataclasses.fields(usual)}  # type: ignore[arg-type]
    for name in (option for option in _OPTIONS if option in fields):
        more: dict[str, Any] = {"choices": formats} if name == "formats" else {}
        parser.add_argument(f"--{name}", **_OPTIONS[name], **more)
    options, rest = parser.parse_known_args(arguments)
    given = {name: value for name, value in vars(options).items() if value is not None}
    if not given:
        return None, rest, ""
    shown = "".join(
        f" --{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in given.items()
    )
    if "store" in given:
        given["stores"] = STORES[given.pop("store")]
    basis = small if "--small" in rest else usual
    return dataclasses.replace(basis, **given), rest, shown  # type: ignore[type-var]
