"""Answers of the use cases as JSON objects and safetensors bytes. Pure; runs in the pool too."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service import wire, wire_tensors
from service.access_ports import AccessKey, Tenant
from service.sketch_answers import EstimateAnswer, NormAnswer
from service.sketches import Acknowledgement, Info, SampleAnswer
from sketch_core.results import Sample

#: The statuses in the order of their codes in safetensors answers.
STATUS_NAMES: Final = ("ok", "partial", "failed", "empty")


def time(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, or None."""
    if seconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # a year beyond 9999: as good as never
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def info(sketch: Info) -> dict[str, Any]:
    """The flat object that describes a sketch."""
    sizes, second = sketch.spec.sizes, sketch.spec.second_sizes
    return {
        "name": sketch.name,
        **sketch.spec.to_json(),
        "levels": None if sizes is None else sizes.levels,
        **({} if second is None else {"second_levels": second.levels}),
        "ttl_seconds": sketch.ttl_seconds,
        "memory_bytes": {"state": sketch.state_bytes, "log": sketch.log_bytes},
        "updates": sketch.updates,
        "underflowed": sketch.underflowed,
        "version": sketch.version,
        "exact": sketch.exact,
        "sealed": list(sketch.sealed),
        "created_at": time(sketch.created_at),
        "expires_at": time(sketch.expires_at),
    }


def is_long(sketch: Info) -> bool:
    """Whether writing the info of a sketch would hold the event loop up."""
    return sketch.spec.x is not None and len(sketch.spec.x) > wire.INLINE_NUMBERS


def tenant(one: Tenant) -> dict[str, Any]:
    """A tenant with its quota."""
    return {
        "name": one.name,
        "created_at": time(one.created_at),
        "quota": dataclasses.asdict(one.quota),
    }


def key(one: AccessKey) -> dict[str, Any]:
    """A key, without anything of its secret."""
    return {
        "id": one.id,
        "tenant": one.tenant,
        "role": one.role,
        "label": one.label,
        "created_at": time(one.created_at),
        "expires_at": time(one.expires_at),
    }


def acknowledgement(answer: Acknowledgement) -> dict[str, Any]:
    """What a change of a sketch is answered with."""
    return {"accepted": answer.accepted, "version": answer.version}


def _sample(drawn: Sample, whole: SampleAnswer) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "status": drawn.status,
        "index": wire.coordinates_json(drawn.index),
        "value": drawn.value.tolist(),
        "probability": drawn.probability.tolist(),
    }
    if drawn.inclusion_probability is not None:
        answer["inclusion_probability"] = drawn.inclusion_probability.tolist()
    answer |= {
        "norm": drawn.norm,
        "threshold": drawn.threshold,
        "draw": drawn.draw,
        "draws": whole.draws,
        "version": whole.version,
        "exact": whole.exact,
    }
    return answer


def sample(answer: SampleAnswer, several: bool) -> dict[str, Any]:
    """One answer, or {"results": [one a query]}."""
    results = [_sample(drawn, answer) for drawn in answer.samples]
    return {"results": results} if several else results[0]


def sample_json(answer: SampleAnswer, several: bool) -> bytes:
    """The same as JSON bytes."""
    return wire.dump_json(sample(answer, several))


def sample_size(answer: SampleAnswer) -> int:
    """Numbers in an answer: what writing it costs grows with."""
    return sum(4 * int(drawn.index.size) + 8 for drawn in answer.samples)


def sample_tensors(answer: SampleAnswer, several: bool) -> bytes:
    """Columns, or padded rows with their lengths; scalars of the whole in the metadata."""
    metadata = {
        "version": answer.version,
        "exact": "true" if answer.exact else "false",
        "draw": str(answer.samples[0].draw),
    }
    if answer.draws is not None:
        metadata["draws"] = str(answer.draws)
    if several:
        return wire_tensors.dump(_padded(answer.samples), _with_names(metadata))
    drawn = answer.samples[0]
    tensors: dict[str, npt.NDArray[Any]] = {
        "index": drawn.index.astype(np.int64),
        "value": drawn.value,
        "probability": drawn.probability,
    }
    if drawn.inclusion_probability is not None:
        tensors["inclusion_probability"] = drawn.inclusion_probability
    metadata |= {
        "status": drawn.status,
        "norm": repr(float(drawn.norm)),
        "threshold": repr(float(drawn.threshold)),
    }
    return wire_tensors.dump(tensors, metadata)


def _with_names(metadata: dict[str, str]) -> dict[str, str]:
    return {**metadata, "status_names": ",".join(STATUS_NAMES)}


def _padded(samples: list[Sample]) -> dict[str, npt.NDArray[Any]]:
    """index, value, … (q, longest); length, status, norm, threshold (q,)."""
    lengths = [int(drawn.index.size) for drawn in samples]
    shape = (len(samples), max(lengths))
    names = ["value", "probability"]
    if samples[0].inclusion_probability is not None:
        names.append("inclusion_probability")
    tensors: dict[str, npt.NDArray[Any]] = {
        "index": np.zeros(shape, dtype=np.int64),
        "length": np.array(lengths, dtype=np.int64),
        "status": np.array([STATUS_NAMES.index(one.status) for one in samples], dtype=np.uint8),
        "norm": np.array([one.norm for one in samples], dtype=np.float64),
        "threshold": np.array([one.threshold for one in samples], dtype=np.float64),
    }
    for name in names:
        tensors[name] = np.zeros(shape)
    for at, (drawn, length) in enumerate(zip(samples, lengths, strict=True)):
        tensors["index"][at, :length] = drawn.index
        for name in names:
            tensors[name][at, :length] = getattr(drawn, name)
    return tensors


def estimates(answers: list[EstimateAnswer], version: str, several: bool) -> dict[str, Any]:
    """Point estimates: one answer, or {"results": [one a query]}."""
    results = [
        {
            "index": wire.coordinates_json(one.index),
            "value": one.value.tolist(),
            "standard_error": one.standard_error.tolist(),
            "version": version,
            "exact": one.exact,
        }
        for one in answers
    ]
    return {"results": results} if several else results[0]


def estimates_json(answers: list[EstimateAnswer], version: str, several: bool) -> bytes:
    """The same as JSON bytes."""
    return wire.dump_json(estimates(answers, version, several))


def norms(answers: list[NormAnswer], version: str, several: bool) -> dict[str, Any]:
    """Norms: one answer, or {"results": [one a query]}."""
    results = [
        {
            "power": one.power,
            "norm": one.norm,
            "standard_error": one.standard_error,
            "version": version,
            "exact": one.exact,
        }
        for one in answers
    ]
    return {"results": results} if several else results[0]
