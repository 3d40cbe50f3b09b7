"""What a buffer of updates raises besides what one request would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.client.errors import SketchdError, Unavailable


@dataclass(frozen=True, slots=True)
class Refusal:
    """A batch that will never be applied as it is. numbers: how many increments were in it."""

    sketch: str
    operand: str
    numbers: int
    error: BaseException


class UpdatesRefused(SketchdError):
    """Batches that a buffer had taken and the service would not.

    code, status, fields and so on: of the first error, which is also the cause. refusals: all of
    them since the last time a call raised, in order.
    """

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        first = refusals[0].error
        told = first if isinstance(first, SketchdError) else None
        super().__init__(
            told.code if told else "client_failed",
            _told(refusals),
            status=told.status if told else 0,
            fields=told.fields if told else (),
            retry_after=told.retry_after if told else None,
            request_id=told.request_id if told else None,
        )
        self.refusals = tuple(refusals)
        self.__cause__ = first


class UpdatesPending(Unavailable):
    """Updates that a buffer has taken wait for a service that does not take them now.

    pending: how many increments. What stopped the last attempt is the cause. refusals: what this
    call would have raised otherwise, where it was the last that could.
    """

    def __init__(
        self,
        pending: int,
        what_now: str,
        last: Exception | None,
        refusals: Sequence[Refusal] = (),
    ) -> None:
        told = last if isinstance(last, SketchdError) else None
        super().__init__(
            told.code if told else "unavailable",
            f"{pending} increments wait{'' if last is None else f' ({last})'}; {what_now}",
            status=told.status if told else 0,
            retry_after=told.retry_after if told else None,
            request_id=told.request_id if told else None,
        )
        self.pending = pending
        self.refusals = tuple(refusals)
        self.__cause__ = last


def _told(refusals: Sequence[Refusal]) -> str:
    """The first error in words, and how much there is of the others."""
    first = refusals[0]
    numbers = sum(refusal.numbers for refusal in refusals)
    names = sorted({refusal.sketch for refusal in refusals})
    named = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    detail = first.error.detail if isinstance(first.error, SketchdError) else str(first.error)
    return f"{first.operand} of {first.sketch}: {detail} ({numbers} increments of {named} dropped)"
