"""A client of sketchd: sync and async, over HTTP or gRPC, numpy arrays in and out."""

from service.client.addresses import Tls
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
from service.client.async_client import AsyncClient
from service.client.async_sketch import AsyncSketch
from service.client.buffer import UpdateBuffer
from service.client.buffer_async import AsyncUpdateBuffer
from service.client.buffer_errors import UpdatesPending, UpdatesRefused
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
from service.client.inputs import SampleOf, Update
from service.client.local import LocalSketch
from service.client.retry import Retry
from service.client.sync_client import Client
from service.client.sync_sketch import Sketch

__all__ = [
    "Acknowledgement",
    "AsyncClient",
    "AsyncSketch",
    "AsyncUpdateBuffer",
    "Client",
    "Conflict",
    "Estimate",
    "FieldError",
    "Forbidden",
    "Info",
    "InvalidRequest",
    "LocalSketch",
    "MemoryBytes",
    "Norm",
    "NotFound",
    "Plan",
    "RateLimited",
    "Retry",
    "Sample",
    "SampleOf",
    "ServiceFailed",
    "Sketch",
    "SketchdError",
    "Snapshot",
    "Tls",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "Update",
    "UpdateBuffer",
    "UpdatesPending",
    "UpdatesRefused",
]  # fmt: skip
