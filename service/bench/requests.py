"""The requests of a load: bodies prepared once and shared, and who sends which when."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from service.bench.jobs import Job, grpc_job, http_job
from service.bench.options import Options
from service.bench.senders import Client

#: Different updates, which every sketch is sent over and over; as many different queries.
BODIES: Final = 8
#: Requests of a client before it starts its list again.
_TURNS: Final = 5000
_JSON: Final = "application/json"
_SAFETENSORS: Final = "application/x-safetensors"

Columns = dict[str, npt.NDArray[np.generic]]


def spec_of(options: Options) -> dict[str, object]:
    """What each sketch is created with: defaults, but for kind, shape and seed."""
    shape = {"n": options.n} if options.kind == "vector" else {"n": options.n, "d": options.d}
    return {"kind": options.kind, "shape": shape, "seed": options.seed}


def jobs_of(options: Options, names: Sequence[str], host: str) -> list[Job]:
    """Of each sketch: BODIES updates, then BODIES samples."""
    rng = np.random.default_rng(options.seed)
    columns = [_columns(options, rng) for _ in range(BODIES)]
    queries = [_query(options, rng) for _ in range(BODIES)]
    if options.grpc:
        return _over_grpc(options, names, columns, queries)
    return _over_http(options, names, host, columns, queries)


def _columns(options: Options, rng: np.random.Generator) -> Columns:
    """One update: Gaussian increments at random places."""
    place = rng.integers(0, options.n, options.batch)
    if options.kind == "vector":
        return {"index": place, "delta": rng.normal(size=options.batch).astype("f4")}
    return {"row": place, "values": rng.normal(size=(options.batch, options.d)).astype("f4")}


def _query(options: Options, rng: np.random.Generator) -> list[float]:
    """Of a matrix d numbers; nothing of a vector."""
    return [] if options.kind == "vector" else rng.normal(size=options.d).round(6).tolist()


def _operand(options: Options) -> str:
    return "y" if options.kind == "vector" else "A"


def _tensors(options: Options, columns: Columns) -> bytes:
    return save(columns, {"operand": _operand(options)})


def _over_http(
    options: Options,
    names: Sequence[str],
    host: str,
    columns: Sequence[Columns],
    queries: Sequence[list[float]],
) -> list[Job]:
    if options.form == "json":
        media, bodies = _JSON, [_as_json(options, one) for one in columns]
    else:
        media, bodies = _SAFETENSORS, [_tensors(options, one) for one in columns]
    questions = [json.dumps({"x": query} if query else {}).encode() for query in queries]
    found = []
    for at, name in enumerate(names):
        path = f"/v1/sketches/{name}"
        for kind, last, media_type, accept, contents in (
            ("update", "updates", media, None, bodies),
            ("sample", "samples", _JSON, None if media == _JSON else media, questions),
        ):
            found += [
                http_job(
                    kind, "POST", f"{path}/{last}", body, media_type, accept=accept, host=host,
                    access_key=options.access_key, sketch=at,
                    updates=options.batch if kind == "update" else 0,
                )
                for body in contents
            ]  # fmt: skip
    return found


def _as_json(options: Options, columns: Columns) -> bytes:
    """Six digits of each number, as a program that prints floats would send."""
    body: dict[str, object] = {
        name: np.round(values.astype("f8"), 6).tolist() if values.dtype.kind == "f"
        else values.tolist()
        for name, values in columns.items()
    }  # fmt: skip
    return json.dumps(body | {"operand": _operand(options)}).encode()


def _over_grpc(
    options: Options,
    names: Sequence[str],
    columns: Sequence[Columns],
    queries: Sequence[list[float]],
) -> list[Job]:
    # Here, so that a run over HTTP does not wait for protobuf.
    from service.protos.sketchd.v1 import sketchd_pb2 as pb

    if options.tensors:
        bodies = [_tensors(options, one) for one in columns]
    else:
        bodies = [_as_message(pb.UpdateRequest(operand=_operand(options)), one) for one in columns]
    questions = [
        pb.SampleRequest(x=query, as_safetensors=options.tensors).SerializeToString()
        for query in queries
    ]
    found = []
    for at, name in enumerate(names):
        found += [
            grpc_job(
                "update", name, body, sketch=at, updates=options.batch, tensors=options.tensors
            )
            for body in bodies
        ]
        found += [grpc_job("sample", name, body, sketch=at) for body in questions]
    return found


def _as_message(message: Any, columns: Columns) -> bytes:
    for name, values in columns.items():
        getattr(message, name).extend(values.ravel().tolist())
    found: bytes = message.SerializeToString()
    return found


def clients_of(options: Options, host: str, port: int) -> list[Client]:
    """Each asks sketches at random, updates and samples as they are mixed."""
    rng = np.random.default_rng(options.seed + 1)
    part = options.samples / (options.updates + options.samples)

    def turns() -> array[int]:
        sketch = rng.integers(0, options.sketches, _TURNS)
        sample = rng.random(_TURNS) < part
        found = 2 * BODIES * sketch + BODIES * sample + rng.integers(0, BODIES, _TURNS)
        # Four bytes a turn, and so on its way to the process that sends: a list takes ten times
        # that, gigabytes for the most clients there may be.
        return array("I", found.astype("u4").tobytes())

    return [Client(host, port, turns()) for _ in range(options.clients)]


def filling(options: Options, host: str, port: int) -> list[Client]:
    """One update for every sketch, so that the first samples find something."""
    shares = (range(at, options.sketches, options.clients) for at in range(options.clients))
    return [
        Client(host, port, [2 * BODIES * sketch for sketch in share]) for share in shares if share
    ]
