"""Spec requests as the service takes them: the core's fields and ttl_seconds, within the limits."""

from __future__ import annotations

import dataclasses
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.errors import InvalidRequest
from service.ports import Record, SketchKey
from service.settings import Settings
from service.sketch_requests import INLINE_NUMBERS
from sketch_core import scaling, sizing
from sketch_core.errors import InvalidSpec
from sketch_core.resolve import random_seed, resolve
from sketch_core.spec import QUERY_OPERAND, TOUCHED_FOR_QUANTUM, Spec

#: Cells are int64; this many bits are there for their size.
_CELL_BITS: Final = 62


@dataclass(frozen=True, slots=True)
class Plan:
    """A request understood. canonical: bytes that are equal for equal requests."""

    spec: Spec
    ttl_seconds: float | None
    canonical: bytes
    seeded: bool


def read_request(
    request: Mapping[str, Any], settings: Settings, *, check_limits: bool = True
) -> Plan:
    """Resolve a request. Raises InvalidRequest with the pointer of the field at fault."""
    asked = {name: value for name, value in request.items() if name != "ttl_seconds"}
    fields = {name: value for name, value in asked.items() if value is not None}
    _check_fixed_numbers(fields, settings)
    ttl_seconds = read_ttl(request.get("ttl_seconds"), settings)
    try:
        spec = resolve(asked)  # nulls too: an unknown field is refused even without a value
    except InvalidSpec as error:
        raise InvalidRequest(error.detail, code="invalid_spec", pointer=error.pointer) from error
    if check_limits:
        _check_memory(spec, settings)
    if ttl_seconds is not None:
        fields["ttl_seconds"] = ttl_seconds
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return Plan(spec, ttl_seconds, canonical, "seed" in fields)


def has_long_x(request: Mapping[str, Any]) -> bool:
    """Whether reading a request would hold the event loop up."""
    return any(_numbers_in(request.get(name)) > INLINE_NUMBERS for name in QUERY_OPERAND.values())


def _numbers_in(value: object) -> int:
    """Numbers of an x or an X as sent; an empty row counts too, for it takes time as well."""
    if not isinstance(value, list | tuple):
        return 0
    return sum(max(1, len(row)) if isinstance(row, list | tuple) else 1 for row in value)


def _check_fixed_numbers(fields: Mapping[str, Any], settings: Settings) -> None:
    """Refuse a fixed x or X that is too long, before each of its numbers is looked at."""
    for name in QUERY_OPERAND.values():
        if _numbers_in(fields.get(name)) > settings.max_fixed_numbers:
            raise InvalidRequest(
                f"has more than {settings.max_fixed_numbers} numbers; stream it, or send it with "
                "each question",
                code="query_too_large",
                pointer=f"/{name}",
            )


def new_record(
    request: Mapping[str, Any], settings: Settings, key: SketchKey, now: float
) -> tuple[Plan, Record]:
    """A request understood, and the new sketch as the store would keep it."""
    plan = read_request(request, settings)
    return plan, Record(
        key=key,
        incarnation=secrets.token_hex(16),
        spec=plan.spec.to_bytes(),
        request=plan.canonical,
        created_at=now,
        ttl_seconds=plan.ttl_seconds,
        expires_at=None if plan.ttl_seconds is None else now + plan.ttl_seconds,
        state_bytes=plan.spec.memory_bytes,
    )


def read_ttl(value: object, settings: Settings) -> float | None:
    """A ttl_seconds within the service's range, or None."""
    if value is None:
        return None
    low, high = settings.min_ttl_seconds, settings.max_ttl_seconds
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidRequest(
            f"must be a number between {low:.16g} and {high:.16g}", pointer="/ttl_seconds"
        )
    return float(value)


def is_same(plan: Plan, record: Record) -> bool:
    """Whether a request asks for the sketch that is stored.

    It does when it is what was sent at creation, or when it names the seed,
    resolves to the very same spec, and leaves the ttl alone.
    """
    # Parsed, for 1024 and 1024.0 are one number, which gRPC cannot tell apart.
    if plan.canonical == record.request or json.loads(plan.canonical) == json.loads(record.request):
        return True
    return (
        plan.seeded
        and plan.spec == Spec.from_bytes(record.spec)
        and plan.ttl_seconds in (None, record.ttl_seconds)
    )


def _limit(spec: Spec, settings: Settings) -> int:
    return settings.max_dense_bytes if spec.method == "exact" else settings.max_sketch_bytes


def _check_memory(spec: Spec, settings: Settings) -> None:
    limit = _limit(spec, settings)
    if spec.memory_bytes <= limit:
        return
    code = "dense_too_large" if spec.method == "exact" else "sketch_too_large"
    raise InvalidRequest(
        f"would take {spec.memory_bytes} bytes; the limit is {limit}",
        code=code,
        pointer=_weightiest_field(spec, limit),
    )


def _weightiest_field(spec: Spec, limit: int) -> str:
    """The field whose reduction alone would do, or else the one that weighs most."""
    if spec.kind == "tensor":
        return _weightiest_of_tensor(spec, limit)
    if spec.method == "exact" or spec.sizes is None:
        return "/shape/n"
    if spec.repetitions > 1 and _with(spec, repetitions=1).memory_bytes <= limit:
        return "/repetitions"
    if spec.columns > 1 and spec.memory_bytes // spec.columns <= limit:
        return "/shape/d"
    widest = max(spec.sizes.width, spec.sizes.upper_width, spec.sizes.estimate_width)
    for name in ("width", "upper_width", "estimate_width"):
        if getattr(spec.sizes, name) == widest:
            return f"/{name}"
    return "/samples"


def _weightiest_of_tensor(spec: Spec, limit: int) -> str:
    """The same for a tensor, whose operands are looked at one by one."""
    heaviest = max(spec.operands, key=lambda operand: operand.cells).name
    if spec.sizes is None or spec.second_sizes is None:
        return {"A1": "/shape/n1", "A2": "/shape/n2", "X": "/shape/d1"}[heaviest]
    columns = ("d2", "d") if heaviest == "A2" else ("d", "d2")
    for name in ("repetitions", "samples", *columns):
        if getattr(spec, name) > 1 and _with(spec, **{name: 1}).memory_bytes <= limit:
            return {"d": "/shape/d1", "d2": "/shape/d2"}.get(name, f"/{name}")
    for pointer, smaller in _narrowed(spec.sizes, spec.second_sizes).items():
        if _with(spec, **smaller).memory_bytes <= limit:
            return pointer
    return {"A1": "/width", "A2": "/samples", "X": "/shape/d1"}[heaviest]


def _narrowed(first: sizing.Sizes, second: sizing.Sizes) -> dict[str, dict[str, sizing.Sizes]]:
    """For each width of a tensor's tables, by pointer: the sizes that change with it, at 1."""
    replace = dataclasses.replace
    return {
        "/width": {"sizes": replace(first, width=1)},
        "/second_width": {"second_sizes": replace(second, width=1)},
        "/upper_width": {"sizes": replace(first, upper_width=1)},
        "/second_upper_width": {"second_sizes": replace(second, upper_width=1)},
        "/estimate_width": {
            "sizes": replace(first, estimate_width=1),
            "second_sizes": replace(second, estimate_width=1),
        },
    }


def _with(spec: Spec, **changes: Any) -> Spec:
    return dataclasses.replace(spec, **changes)


def plan_json(request: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The body of POST /v1/plan: sizes, memory, expected errors and the method auto would take.

    A plan over the limits is answered, with `fits` false: plans are for asking.
    """
    plan = read_request(request, settings, check_limits=False)
    spec = plan.spec
    shown = spec.to_json()
    if not plan.seeded:
        shown["seed"] = None  # each creation would draw its own
    out: dict[str, Any] = {
        "spec": shown,
        "kind": spec.kind,
        "shape": spec.shape_json(),
        "method": spec.method,
        "samples": spec.samples,
        "repetitions": spec.repetitions,
        "quantum_bits": spec.quantum_bits,
        "quantum": math.ldexp(1.0, -spec.quantum_bits),
        "largest_value": largest_value(spec),
        "memory_bytes": spec.memory_bytes,
        "exact_memory_bytes": spec.exact_memory_bytes,
        "limit_bytes": _limit(spec, settings),
        "fits": spec.memory_bytes <= _limit(spec, settings),
        "ttl_seconds": plan.ttl_seconds,
        "expected_errors": _expected_errors(spec),
        "advice": _advice(request, spec),
    }
    if spec.sizes is not None:
        out |= {
            "width": spec.sizes.width,
            "upper_width": spec.sizes.upper_width,
            "estimate_width": spec.sizes.estimate_width,
            "depth": spec.sizes.depth,
            "levels": spec.sizes.levels,
        }
    if spec.second_sizes is not None:
        out |= {
            "second_width": spec.second_sizes.width,
            "second_upper_width": spec.second_sizes.upper_width,
            "second_levels": spec.second_sizes.levels,
        }
    return out


def largest_value(spec: Spec) -> float:
    """The |y_i| (of A unless x is fixed, of A1 and A2) that fits a cell by itself.

    For a sketch as the core chooses its quantum: up to 2^20 coordinates touched,
    the most favoured scaled within its bound except with probability 1/64.
    """
    bits = _CELL_BITS - spec.value_bits
    if spec.sizes is not None and spec.distribution.power is not None:
        clip = scaling.clip_bits(min(max(spec.n, spec.n2 or 1), TOUCHED_FOR_QUANTUM))
        bits -= scaling.scale_bits(spec.distribution.power, clip)
    return math.ldexp(1.0, bits)


def _expected_errors(spec: Spec) -> dict[str, float]:
    """The core's forecast for a sketch; the exact method has nothing to forecast."""
    if spec.sizes is None:
        return {}
    return sizing.expected_errors(spec.sizes, tensor=spec.kind == "tensor")


def _advice(request: Mapping[str, Any], spec: Spec) -> dict[str, str]:
    """Which method auto would take for this request, and why."""
    fields = {name: value for name, value in request.items() if name != "ttl_seconds"}
    chosen = resolve({**fields, "method": "auto"}, draw_seed=random_seed)
    dense, power = spec.exact_memory_bytes, spec.distribution.power
    if chosen.method == "sketch":
        return {
            "method": "sketch",
            "reason": f"the sketch takes {chosen.memory_bytes} bytes where the dense operands "
            f"take {dense}",
        }
    if power is None:
        reason = "no sketch smaller than the vector can serve softmax"
    elif spec.kind == "tensor" and power != 2.0:
        reason = f"sketches of tensors serve power 2, not {power:g}"
    elif not 1.0 <= power <= 2.0:
        reason = f"sketches serve powers from 1 to 2, not {power:g}"
    else:
        sketched = resolve({**fields, "method": "sketch"}, draw_seed=random_seed)
        reason = (
            f"the dense operands take {dense} bytes where a sketch would take "
            f"{sketched.memory_bytes}, and answer exactly"
        )
    return {"method": "exact", "reason": reason}
