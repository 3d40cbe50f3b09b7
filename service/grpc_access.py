"""Who may call which RPC, and what its metadata say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from service.access_ports import Role

#: What each RPC needs. One that is missing here is an error at start.
ROLES: Final[Mapping[str, Role]] = {
    "GetSketch": "read",
    "ListSketches": "read",
    "Plan": "read",
    "Sample": "read",
    "SampleStream": "read",
    "Estimate": "read",
    "Norm": "read",
    "GetSnapshot": "read",
    "CreateSketch": "write",
    "PatchSketch": "write",
    "DeleteSketch": "write",
    "Update": "write",
    "UpdateStream": "write",
    "Seal": "write",
    "Merge": "write",
    "AddSnapshot": "write",
}


def check_roles(methods: Iterable[str], table: Mapping[str, Role]) -> None:
    """Raise LookupError for an RPC without a row."""
    for method in methods:
        if method not in table:
            raise LookupError(f"grpc_access.ROLES does not say who may call {method}")


def metadata_value(metadata: Iterable[tuple[str, str | bytes]], name: str) -> str | None:
    """The one value of a key; of several none counts."""
    found = [value for key, value in metadata if key == name]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else None
