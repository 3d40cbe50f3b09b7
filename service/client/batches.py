"""Many operations as few exchanges: which go together. Pure.

gRPC carries them in one stream, but for large ones, which go alone: a message that the service
finds too large ends its stream, and what else was in it. By HTTP small ones share a request, whose
JSON costs less than requests of their own would, and large ones go alone, as safetensors, several
at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.client import inputs
from service.client import operations as ops
from service.client.answers import Acknowledgement, Sample
from service.client.errors import SketchdError

#: Requests of one call under way at a time.
AT_ONCE: Final = 8
#: Updates of more numbers than this go alone.
_ALONE: Final = 2000
#: And by gRPC of more than this, half a MiB.
_STREAMED: Final = 1 << 16
#: Numbers, draws and parts of one shared request; the service allows 100,000 draws, 4096 parts.
_TOGETHER: Final = 20_000
_PARTS: Final = 1024
#: What a question that leaves the count to its sketch is taken for: 20 of those with the largest
#: `samples` there may be stay within what one request may draw.
_UNKNOWN_COUNT: Final = 1000


@dataclass(frozen=True, slots=True)
class Unit:
    """One exchange. places: of its parts' results among all."""

    places: tuple[int, ...]
    operation: ops.Operation[Any]

    def results(self, answer: Any) -> list[Any]:
        """The results of the parts, from the answer or the error of the operation."""
        if isinstance(answer, SketchdError):
            return [answer] * len(self.places)
        if isinstance(self.operation, ops.AddMany | ops.DrawMany):
            return list(answer)
        return list(answer) if isinstance(self.operation, ops.Draw) else [answer]


def of_updates(updates: Sequence[inputs.Update], stream: bool) -> list[Unit]:
    """Exchanges for updates. stream: whether one carries them all. Raises ValueError."""
    parts = [inputs.add(update) for update in updates]
    most = _STREAMED if stream else _ALONE
    units, shared = [], []
    for at, (update, part) in enumerate(zip(updates, parts, strict=True)):
        if (update.idempotency_key is not None and not stream) or part.size > most:
            units.append(Unit((at,), part))
        else:
            shared.append(at)
    return units + [
        _adds(parts, places) if len(places) > 1 else Unit(places, parts[places[0]])
        for places in _grouped(shared, [part.size for part in parts], stream)
    ]


def of_questions(questions: Sequence[inputs.SampleOf], stream: bool) -> list[Unit]:
    """Exchanges for questions. stream: whether one carries them all. Raises ValueError."""
    parts = [inputs.draw_of(question) for question in questions]
    most = _STREAMED if stream else _ALONE
    sizes = [_size(part) for part in parts]
    units, shared = [], []
    for at, part in enumerate(parts):
        if sizes[at] > most:
            units.append(Unit((at,), part))
        else:
            shared.append(at)
    return units + [
        _draws(parts, places) if len(places) > 1 else Unit(places, parts[places[0]])
        for places in _grouped(shared, sizes, stream)
    ]


def _size(part: ops.Draw) -> int:
    """Numbers of a question and its answer, roughly."""
    asked = 0 if part.query is None else part.query.values.size
    return asked + (_UNKNOWN_COUNT if part.count is None else part.count)


def _grouped(places: Sequence[int], sizes: Sequence[int], stream: bool) -> list[tuple[int, ...]]:
    """Neighbours together, within what one request should hold; a stream holds them all."""
    if stream:
        return [tuple(places)] if places else []
    groups: list[list[int]] = []
    held = 0
    for at in places:
        if not groups or held + sizes[at] > _TOGETHER or len(groups[-1]) >= _PARTS:
            groups.append([])
            held = 0
        groups[-1].append(at)
        held += sizes[at]
    return [tuple(group) for group in groups]


def _adds(parts: Sequence[ops.Add], places: Sequence[int]) -> Unit:
    chosen = tuple(parts[at] for at in places)
    operation: ops.Operation[list[Acknowledgement | SketchdError]] = ops.AddMany(
        chosen, secrets.token_hex(16), {}
    )
    return Unit(tuple(places), operation)


def _draws(parts: Sequence[ops.Draw], places: Sequence[int]) -> Unit:
    chosen = tuple(parts[at] for at in places)
    operation: ops.Operation[list[Sample | SketchdError]] = ops.DrawMany(chosen, "", {})
    return Unit(tuple(places), operation)
