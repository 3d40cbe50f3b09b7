"""Errors as the problem objects of RFC 9457, whichever transport sends them. Codes: error_codes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from service import errors
from service.error_codes import CODES
from service.sketch_requests import NAME_RULE

#: From the class of an error to its status; the first class that matches counts.
STATUSES: Final[tuple[tuple[type[errors.ServiceError], int], ...]] = (
    (errors.InvalidRequest, 422),  # 400 when malformed
    (errors.Unauthorized, 401),
    (errors.RoleTooLow, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.TooSlow, 408),
    (errors.UnsupportedMedia, 415),
    (errors.QuotaExceeded, 403),
    (errors.RateLimited, 429),
    (errors.Unavailable, 503),
)

#: What pydantic calls an error -> our code; everything else is "invalid".
_PYDANTIC_CODES: Final[dict[str, str]] = {"extra_forbidden": "unknown_field"}
#: And what it says, in the words the columns' own readers use; {} are of its context.
_PYDANTIC_DETAILS: Final[dict[str, str]] = {
    "extra_forbidden": "unknown field",
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": NAME_RULE,  # no other field has a pattern
    "too_long": "must have at most {max_length} items",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field at fault: its JSON pointer, and what is wrong with it."""

    pointer: str
    detail: str
    code: str = "invalid"


class InvalidFields(errors.InvalidRequest):
    """Several fields at fault at once."""

    def __init__(self, fields: Sequence[FieldError]) -> None:
        first = fields[0]
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        super().__init__(f"{first.detail}{more}", code=first.code, pointer=first.pointer)
        self.fields = tuple(fields)


def fields_of(failures: Sequence[Any], prefix: str = "") -> list[FieldError]:
    """pydantic's errors as field errors with JSON pointers under `prefix`."""
    fields = []
    for failure in failures:
        parts = [str(part).replace("~", "~0").replace("/", "~1") for part in failure["loc"]]
        pointer = prefix + "".join(f"/{part}" for part in parts)
        code = _PYDANTIC_CODES.get(failure["type"], "invalid")
        wording = _PYDANTIC_DETAILS.get(failure["type"])
        detail = (
            str(failure["msg"]) if wording is None else wording.format(**failure.get("ctx", {}))
        )
        fields.append(FieldError(pointer, detail, code))
    return fields


def status_of(error: errors.ServiceError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, errors.InvalidRequest) and error.malformed:
        return 400
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return status
    return 500


def retry_after_of(error: errors.ServiceError) -> int | None:
    """Whole seconds after which the request may be worth sending again; None where never."""
    if isinstance(error, errors.Unavailable | errors.RateLimited):
        return max(1, math.ceil(error.retry_after))
    return None


def body_of(error: errors.ServiceError, prefix: str = "") -> dict[str, Any]:
    """The problem object of an error. prefix: the pointer, in the body, of the part that failed."""
    found = problem(status_of(error), error.code, error.detail)
    if isinstance(error, InvalidFields):
        fields = [(field.pointer, field.detail) for field in error.fields]
    else:
        fields = [(error.pointer, error.detail)] if error.pointer else []
    if fields:
        found["errors"] = [
            {"pointer": prefix + pointer, "detail": detail} for pointer, detail in fields
        ]
    return found


def problem(status: int, code: str, detail: str) -> dict[str, Any]:
    """A problem object without fields."""
    title = CODES[code].title if code in CODES else "The request failed"
    return {
        "type": f"/docs/errors#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }


@contextmanager
def sent_as(sent: str, known: str) -> Iterator[None]:
    """Errors that point at what a use case calls `known` point at the field that was sent."""
    try:
        yield
    except errors.ServiceError as error:
        if error.pointer == known or error.pointer.startswith(f"{known}/"):
            error.pointer = sent
        raise


def sent_queries(several: bool) -> AbstractContextManager[None]:
    """The same for the query of a matrix, which the use cases call x however many there are."""
    return sent_as("/queries", "/x") if several else nullcontext()
