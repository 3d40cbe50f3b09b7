"""What the service raises, in one tree; each API maps it to its codes in one table.

    ServiceError                 code, detail, pointer
    ├── InvalidRequest           400 / 422: the request itself is at fault
    ├── Unauthorized             no key, or none that lets anybody in
    ├── RoleTooLow               the key may not do this
    ├── NotFound                 no such sketch of this tenant
    ├── Conflict                 spec differs, operand sealed, fingerprints differ
    ├── TooLarge                 a body over its limit
    ├── TooSlow                  a body that does not come
    ├── UnsupportedMedia         a content type this route does not read
    ├── QuotaExceeded            a standing quota of the tenant
    ├── RateLimited              a rate of the tenant; retry_after seconds
    └── Unavailable              try again later; retry_after seconds
        ├── StoreUnavailable     the store does not answer, or answers nonsense
        ├── BacklogFull          the sketch's log is at its hard limit
        └── Overloaded           the pool's queue, or the room for bodies, is full

`code` is stable and machine-readable; `pointer` is the JSON pointer of the
field at fault, or "".
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base of what the service raises on purpose."""

    default_code = "internal"

    def __init__(self, detail: str, *, code: str | None = None, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code if code is not None else self.default_code
        self.pointer = pointer


class InvalidRequest(ServiceError):
    """The request is understood and wrong. `malformed` is for what could not even be read (400)."""

    default_code = "invalid"

    def __init__(
        self, detail: str, *, code: str | None = None, pointer: str = "", malformed: bool = False
    ) -> None:
        super().__init__(detail, code=code, pointer=pointer)
        self.malformed = malformed


class Unauthorized(ServiceError):
    """No key, or one that is unknown, expired or malformed: nobody learns which."""

    default_code = "unauthorized"


class RoleTooLow(ServiceError):
    """The key's role does not include what was asked."""

    default_code = "role_too_low"


class NotFound(ServiceError):
    """No such sketch of this tenant."""

    default_code = "sketch_not_found"


class Conflict(ServiceError):
    """The sketch's state forbids it: another spec, a sealed operand, fingerprints that differ."""

    default_code = "conflict"


class TooLarge(ServiceError):
    """The body is over its limit."""

    default_code = "body_too_large"


class TooSlow(ServiceError):
    """The body does not come, or only in drips; the connection is given up."""

    default_code = "body_too_slow"


class UnsupportedMedia(ServiceError):
    """The content type is not one this route reads."""

    default_code = "unsupported_media_type"


class QuotaExceeded(ServiceError):
    """A standing quota of the tenant is used up."""

    default_code = "quota_exceeded"


class RateLimited(ServiceError):
    """The tenant's rate is used up for now; worth asking again after `retry_after` seconds."""

    default_code = "rate_limited"

    def __init__(
        self, detail: str, *, code: str | None = None, pointer: str = "", retry_after: float = 1.0
    ) -> None:
        super().__init__(detail, code=code, pointer=pointer)
        self.retry_after = retry_after


class Unavailable(ServiceError):
    """Cannot be served now; the same request may succeed after `retry_after` seconds."""

    default_code = "unavailable"

    def __init__(
        self, detail: str, *, code: str | None = None, pointer: str = "", retry_after: float = 1.0
    ) -> None:
        super().__init__(detail, code=code, pointer=pointer)
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    """The store cannot be reached or fails; an update may or may not have been applied, whole."""

    default_code = "store_unavailable"


class BacklogFull(Unavailable):
    """The sketch's log is at its hard limit until compaction catches up."""

    default_code = "backlog_full"


class Overloaded(Unavailable):
    """The pool that folds and decodes has a full queue, or too many bytes of bodies are held."""

    default_code = "overloaded"
