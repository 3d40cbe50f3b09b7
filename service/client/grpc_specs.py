"""Specs, infos and plans between the objects that HTTP sends and the messages of gRPC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from google.protobuf.message import Message

from service.client import answer_objects
from service.client.answers import Info, Plan
from service.client.errors import FieldError, InvalidRequest
from service.protos.sketchd.v1 import sketchd_pb2 as pb

_WHOLE: Final = (
    "samples", "repetitions", "seed", "quantum_bits", "width", "upper_width", "estimate_width",
    "depth", "second_width", "second_upper_width",
)  # fmt: skip
_REAL: Final = ("magnitude", "ttl_seconds")
_TEXT: Final = ("kind", "method")
_DIMENSIONS: Final = ("n", "d", "n1", "n2", "d1", "d2")
_SIZES: Final = (
    "width", "upper_width", "estimate_width", "depth", "levels", "second_width",
    "second_upper_width", "second_levels",
)  # fmt: skip
#: Out of the range of every whole number in a spec but the seed.
_BEYOND: Final = (1 << 64) - 1
_SEED_RULE: Final = f"must be between 0 and {_BEYOND}"


def message_of(spec: Mapping[str, Any]) -> pb.Spec:
    """A spec as a message. Raises InvalidRequest for what no message can hold."""
    message = pb.Spec()
    for name, value in spec.items():
        pointer = f"/{name}"
        if name not in message.DESCRIPTOR.fields_by_name:
            raise _refused(pointer, "unknown field")
        if value is None:
            continue
        if name == "shape":
            _fill(message.shape, _object(value, pointer), _DIMENSIONS, pointer)
        elif name == "distribution":
            _fill_distribution(message.distribution, _object(value, pointer), pointer)
        elif name == "x":
            message.x.extend(_table(value, pointer, 1).tolist())
        elif name == "X":
            matrix = _table(value, pointer, 2)
            message.X.rows, message.X.columns = matrix.shape
            message.X.values.extend(matrix.ravel().tolist())
        else:
            _set(message, name, value, pointer)
    return message


def _fill(
    message: Message, fields: Mapping[str, Any], known: tuple[str, ...], pointer: str
) -> None:
    message.SetInParent()
    for name, value in fields.items():
        if name not in known:
            raise _refused(f"{pointer}/{name}", "unknown field")
        _set(message, name, value, f"{pointer}/{name}")


def _fill_distribution(message: pb.Distribution, fields: Mapping[str, Any], pointer: str) -> None:
    softmax = fields.get("softmax")
    rest = {name: value for name, value in fields.items() if name != "softmax"}
    _fill(message, rest, ("power",), pointer)
    if "softmax" in fields:
        inner = f"{pointer}/softmax"
        _fill(message.softmax, _object(softmax, inner), ("temperature",), inner)


def _set(message: Message, name: str, value: Any, pointer: str) -> None:
    if name in _TEXT:
        if not isinstance(value, str):
            raise _refused(pointer, "must be a string")
        setattr(message, name, value)
        return
    real = name in (*_REAL, "power", "temperature")
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise _refused(pointer, "must be a number")
    try:
        setattr(message, name, float(value) if real else _whole(value, pointer))
    except TypeError:  # of an array, which has __float__ and need not be one number
        raise _refused(pointer, "must be a number") from None
    except (ValueError, OverflowError):
        if name == "seed":
            raise _refused(pointer, _SEED_RULE) from None
        # No message holds it; what is as far out of range lets the service say what the range is.
        setattr(message, name, _BEYOND if name != "quantum_bits" else (1 << 63) - 1)


def _whole(value: Any, pointer: str) -> int:
    """A whole number; as in JSON, 10.0 is one."""
    if hasattr(value, "__index__"):
        return int(value.__index__())
    found = float(value)
    if not found.is_integer():
        raise _refused(pointer, "must be a whole number")
    return int(found)


def _object(value: Any, pointer: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refused(pointer, "must be an object")
    return value


def _table(value: Any, pointer: str, dimensions: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        table = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise _refused(pointer, "must be numbers") from None
    if table.ndim != dimensions:
        raise _refused(pointer, f"must have {dimensions} dimensions, has {table.ndim}")
    return table


def _refused(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("invalid_spec", detail, status=422, fields=(FieldError(pointer, detail),))


def info_of(found: pb.Sketch) -> Info:
    """An info, by way of the object that HTTP sends."""
    fields: dict[str, Any] = {"name": found.name, **_spec_fields(found)}
    if found.HasField("second_levels"):
        fields["second_levels"] = found.second_levels
    fields |= {
        "levels": found.levels if found.HasField("levels") else None,
        "ttl_seconds": found.ttl_seconds if found.HasField("ttl_seconds") else None,
        "memory_bytes": {"state": found.memory_bytes.state, "log": found.memory_bytes.log},
        "updates": found.updates,
        "underflowed": found.underflowed,
        "version": found.version,
        "exact": found.exact,
        "sealed": list(found.sealed),
        "created_at": found.created_at,
        "expires_at": found.expires_at if found.HasField("expires_at") else None,
    }
    return answer_objects.info(fields)


def plan_of(found: pb.PlanResponse) -> Plan:
    """A plan."""
    spec = dict(_spec_fields(found.spec))
    if not found.spec.HasField("seed"):
        spec["seed"] = None
    errors = found.expected_errors
    return Plan(
        spec=spec,
        method=found.method,
        quantum=found.quantum,
        largest_value=found.largest_value,
        memory_bytes=found.memory_bytes,
        exact_memory_bytes=found.exact_memory_bytes,
        limit_bytes=found.limit_bytes,
        fits=found.fits,
        expected_errors={
            name: getattr(errors, name) for name in ("estimate", "norm") if errors.HasField(name)
        },
        advised_method=found.advice.method,
        reason=found.advice.reason,
    )


def _spec_fields(found: Any) -> dict[str, Any]:
    """The spec in a Spec or a Sketch, as HTTP writes it."""
    law = found.distribution
    fields: dict[str, Any] = {
        "kind": found.kind,
        "shape": dict(_present(found.shape, _DIMENSIONS)),
        "method": found.method,
        "distribution": (
            {"softmax": {"temperature": law.softmax.temperature}}
            if law.HasField("softmax")
            else {"power": law.power}
        ),
        "samples": found.samples,
        "repetitions": found.repetitions,
        "seed": found.seed,
        "magnitude": found.magnitude,
        "quantum_bits": found.quantum_bits,
        **dict(_present(found, tuple(name for name in _SIZES if "levels" not in name))),
    }
    if len(found.x):
        fields["x"] = list(found.x)
    if found.HasField("X"):
        matrix = np.array(found.X.values, np.float64).reshape(found.X.rows, found.X.columns)
        fields["X"] = matrix.tolist()
    return fields


def _present(message: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(message, name)) for name in names if message.HasField(name))
