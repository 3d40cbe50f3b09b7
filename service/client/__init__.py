"""A client of sketchd: sync and async, over HTTP or gRPC, numpy arrays in and out."""

from service.client.answers import (
    Acknowledgement,
    Estimate,
    Info,
    MemoryBytes,
    Norm,
    Plan,
    Sample,
    Snapshot,
)
from service.client.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceFailed,
    SketchdError,
    Unauthorized,
    Unavailable,
    Unreachable,
)

__all__ = [
    "Acknowledgement",
    "Conflict",
    "Estimate",
    "FieldError",
    "Forbidden",
    "Info",
    "InvalidRequest",
    "MemoryBytes",
    "Norm",
    "NotFound",
    "Plan",
    "RateLimited",
    "Sample",
    "ServiceFailed",
    "SketchdError",
    "Snapshot",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
]  # fmt: skip
