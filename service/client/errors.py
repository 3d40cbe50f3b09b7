"""What the client raises, in one tree; by HTTP and gRPC the same error for the same cause.

SketchdError                code, detail, fields, status, retry_after, request_id
├── InvalidRequest          400, 408, 413, 415, 422, 431: the request itself is at fault
├── Unauthorized            401
├── Forbidden               403: role too low, standing quota used up
├── NotFound                404
├── Conflict                409: spec differs, operand sealed, sketches do not merge
├── RateLimited             429
├── Unavailable             503, and a deadline that passed at the service
│   └── Unreachable         no answer at all: connection refused, broken or too slow
└── ServiceFailed           500, and answers that make no sense
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """pointer: JSON pointer of a field of the request. detail: what is wrong with it."""

    pointer: str
    detail: str


class SketchdError(Exception):
    """A request that was not answered as asked.

    code: stable, of docs/errors.md; "unreachable" where no answer came. status: of HTTP, also
    when gRPC answered; 0 where no answer came. retry_after: seconds, where trying again later may
    help. request_id: what the service's log calls the request, None where it is not known.
    uncertain: whether an earlier attempt of the same call ended without a clear answer, so that a
    change may have been applied all the same.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 0,
        fields: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.fields = fields
        self.retry_after = retry_after
        self.request_id = request_id
        self.uncertain = False


class InvalidRequest(SketchdError):
    """The request is at fault; sending it again would be refused again."""


class Unauthorized(SketchdError):
    """No key, or one that lets nobody in."""


class Forbidden(SketchdError):
    """The key's role, or a standing quota of the tenant, does not allow it."""


class NotFound(SketchdError):
    """No such sketch of this tenant."""


class Conflict(SketchdError):
    """The sketch's state forbids it."""


class RateLimited(SketchdError):
    """A rate of the tenant is used up."""


class Unavailable(SketchdError):
    """The service cannot do it now. A change may or may not have been applied."""


class Unreachable(Unavailable):
    """No answer came. A change may or may not have been applied."""


class ServiceFailed(SketchdError):
    """A fault of the service."""
