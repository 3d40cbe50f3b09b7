"""Answers of the use cases as bytes of messages. Pure; runs in the pool too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from service import answer_objects
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.sketch_answers import EstimateAnswer, NormAnswer
from service.sketches import Acknowledgement, Info, SampleAnswer
from sketch_core.results import Sample


def sketch_of(sketch: Info) -> pb.Sketch:
    """What describes a sketch, from the object that HTTP sends."""
    message = pb.Sketch()
    _fill(message, answer_objects.info(sketch))
    return message


def plan_of(plan: Mapping[str, Any]) -> pb.PlanResponse:
    """A plan, from the object that HTTP sends."""
    message = pb.PlanResponse()
    _fill(message, plan)
    return message


def _fill(message: Any, fields: Mapping[str, Any]) -> None:
    """Set the fields of a message; None and {} stay absent."""
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            inner = getattr(message, name)
            if value:
                inner.SetInParent()
            _fill(inner, value)
        elif isinstance(value, list) and value and isinstance(value[0], list):
            matrix = getattr(message, name)
            matrix.rows, matrix.columns = len(value), len(value[0])
            for row in value:
                matrix.values.extend(row)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)


def created(sketch: Info, new: bool) -> bytes:
    """Of CreateSketch."""
    return pb.CreateSketchResponse(sketch=sketch_of(sketch), created=new).SerializeToString()


def page(sketches: list[Info], following: str | None) -> bytes:
    """Of ListSketches."""
    message = pb.ListSketchesResponse(sketches=map(sketch_of, sketches))
    if following is not None:
        message.next_cursor = following
    return message.SerializeToString()


def acknowledgement(done: Acknowledgement) -> pb.UpdateResponse:
    """What a change of a sketch is answered with."""
    return pb.UpdateResponse(accepted=done.accepted, version=done.version)


def samples(answer: SampleAnswer, several: bool, tensors: bool) -> pb.SampleResponse:
    """The draws: as columns, one answer a query, or all of it as safetensors."""
    if tensors:
        return pb.SampleResponse(safetensors=answer_objects.sample_tensors(answer, several))
    if several:
        return pb.SampleResponse(results=[_sample(one, answer) for one in answer.samples])
    return _sample(answer.samples[0], answer)


def _sample(drawn: Sample, whole: SampleAnswer) -> pb.SampleResponse:
    message = pb.SampleResponse(
        status=drawn.status,
        value=drawn.value.tolist(),
        probability=drawn.probability.tolist(),
        norm=drawn.norm,
        threshold=drawn.threshold,
        draw=drawn.draw,
        version=whole.version,
        exact=whole.exact,
    )
    _set_index(message, drawn.index)
    if drawn.inclusion_probability is not None:
        message.inclusion_probability.extend(drawn.inclusion_probability.tolist())
    if whole.draws is not None:
        message.draws = whole.draws
    return message


def _set_index(message: Any, index: npt.NDArray[np.integer]) -> None:
    """Coordinates (b,), or pairs of them (b, 2)."""
    if index.ndim == 1:
        message.index.extend(index.tolist())
    else:
        message.index.extend(index[:, 0].tolist())
        message.index2.extend(index[:, 1].tolist())


def estimates(answers: list[EstimateAnswer], version: str, several: bool) -> pb.EstimateResponse:
    """Point estimates: one answer, or one a query."""
    results = []
    for one in answers:
        message = pb.EstimateResponse(
            value=one.value.tolist(),
            standard_error=one.standard_error.tolist(),
            version=version,
            exact=one.exact,
        )
        _set_index(message, one.index)
        results.append(message)
    return pb.EstimateResponse(results=results) if several else results[0]


def norms(answers: list[NormAnswer], version: str, several: bool) -> pb.NormResponse:
    """Norms: one answer, or one a query."""
    results = []
    for one in answers:
        message = pb.NormResponse(
            norm=one.norm, standard_error=one.standard_error, version=version, exact=one.exact
        )
        if one.power is not None:
            message.power = one.power
        results.append(message)
    return pb.NormResponse(results=results) if several else results[0]
