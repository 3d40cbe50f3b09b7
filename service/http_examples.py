"""Examples of /openapi.json. A test sends every request here to a running service.

They belong to three sketches: the vector `clicks`, the matrix `attention`
(4 columns, to keep the page readable) and the tensor `crosses` (2 and 3 columns).
"""

from __future__ import annotations

from typing import Any, Final

from service.http_openapi import example

VECTOR: Final = "clicks"
MATRIX: Final = "attention"
TENSOR: Final = "crosses"
VERSION: Final = "7c9e6679-3"

_SPEC_VECTOR: Final[dict[str, Any]] = {"kind": "vector", "shape": {"n": 1000000}, "seed": 7}
_SPEC_MATRIX: Final[dict[str, Any]] = {"kind": "matrix", "shape": {"n": 100000, "d": 4}, "seed": 7}
_SPEC_TENSOR: Final[dict[str, Any]] = {
    "kind": "tensor",
    "shape": {"n1": 100000, "n2": 200000, "d1": 2, "d2": 3},
    "seed": 7,
}
_X: Final = [[1, 0, -1], [0.5, 2, 0]]

SPECS: Final = {
    "vector": example("A vector of a million coordinates", _SPEC_VECTOR, VECTOR),
    "matrix": example("A matrix whose products A x are sampled", _SPEC_MATRIX, MATRIX),
    "tensor": example("Two matrices whose products A1 X A2ᵀ are sampled", _SPEC_TENSOR, TENSOR),
    "fixed": example(
        "A tensor with a fixed X and sizes of its own",
        {**_SPEC_TENSOR, "samples": 4, "width": 512, "second_width": 256, "X": _X},
        "crosses-of-one-X",
    ),
    "full": example(
        "Everything said",
        {
            "kind": "vector",
            "shape": {"n": 1000000},
            "method": "sketch",
            "distribution": {"power": 1.5},
            "samples": 8,
            "repetitions": 4,
            "seed": 42,
            "magnitude": 4096,
            "ttl_seconds": 86400,
        },
        "clicks-by-the-day",
    ),
    "softmax": example(
        "Softmax over an exact matrix with a fixed query",
        {
            "kind": "matrix",
            "shape": {"n": 1000, "d": 4},
            "method": "exact",
            "distribution": {"softmax": {"temperature": 2}},
            "x": [0.5, -1, 0.25, 2],
        },
        "softmax-head",
    ),
}
WHO_AM_I: Final[dict[str, Any]] = {
    "tenant": "acme",
    "role": "write",
    "key": "9f86d081884c7d65",
    "quota": {
        "sketches": 1000,
        "state_bytes": None,
        "updates_per_second": None,
        "requests_per_second": 500.0,
        "batch_updates": None,
    },
    "version": "0.1.0",
}
ACTIVITY: Final[dict[str, Any]] = {
    "window_seconds": 300.0,
    "watched_seconds": 284.2,
    "processes": 1,
    "update": {
        "requests": 120,
        "failed": 1,
        "coordinates": 12000,
        "seconds": {"p50": 0.00113, "p90": 0.00194, "p99": 0.00419, "max": 0.0102},
    },
    "sample": {"requests": 0, "failed": 0, "seconds": None},
}
UPDATES: Final = {
    "vector": example("Two coordinates of a vector", {"index": [5, 9], "delta": [1.5, -2]}),
    "large": example("Indices as strings", {"index": ["999999", 4], "delta": [1, 1]}),
    "rows": example(
        "Whole rows of a matrix",
        {"operand": "A", "row": [7, 8], "values": [[1, 0, 0.5, -1], [0, 2, 0, 0.25]]},
        MATRIX,
    ),
    "entries": example(
        "Entries of a matrix",
        {"operand": "A", "row": [7, 9], "column": [0, 3], "delta": [-1, 4]},
        MATRIX,
    ),
    "x": example(
        "A streamed query", {"operand": "x", "index": [0], "delta": [0.5]}, "attention-streamed"
    ),
    "first": example(
        "Whole rows of a tensor's first operand",
        {"operand": "A1", "row": [3, 4], "values": [[1, 0], [0, -2]]},
        TENSOR,
    ),
    "second": example(
        "Entries of its second",
        {"operand": "A2", "row": [8, 9], "column": [0, 2], "delta": [1, 0.5]},
        TENSOR,
    ),
    "X": example(
        "A streamed X",
        {"operand": "X", "row": [0, 1], "column": [0, 2], "delta": [1, -1]},
        "crosses-streamed",
    ),
}
MANY_UPDATES: Final = {
    "two": example(
        "One of each kind",
        {
            "updates": [
                {"sketch": VECTOR, "index": [5], "delta": [1]},
                {"sketch": MATRIX, "operand": "A", "row": [7], "values": [[1, 1, 1, 1]]},
                {"sketch": TENSOR, "operand": "A1", "row": [3], "values": [[1, 1]]},
            ]
        },
    )
}
SAMPLES: Final = {
    "defaults": example("The spec's number of draws", {}),
    "one": example("One draw", {"count": 1, "replacement": False, "draw": 0}),
    "query": example("A matrix and one query", {"count": 4, "x": [1, 0, -1, 0.5]}, MATRIX),
    "queries": example(
        "A matrix and two queries", {"count": 4, "queries": [[1, 0, 0, 0], [0, 1, 0, 0]]}, MATRIX
    ),
    "tensor": example("A tensor and its X", {"count": 4, "X": _X}, TENSOR),
}
MANY_SAMPLES: Final = {
    "two": example(
        "One of each kind",
        {
            "requests": [
                {"sketch": VECTOR, "count": 2},
                {"sketch": MATRIX, "count": 2, "x": [1, 0, -1, 0.5]},
                {"sketch": TENSOR, "count": 2, "X": _X},
            ]
        },
    )
}
ESTIMATES: Final = {
    "vector": example("Coordinates of y", {"index": [5, 9]}),
    "matrix": example("Coordinates of A x", {"index": [7], "x": [1, 0, -1, 0.5]}, MATRIX),
    "tensor": example("Pairs of a tensor", {"index": [[3, 8], [4, 9]], "X": _X}, TENSOR),
}
NORMS: Final = {
    "default": example("Of the spec's power", {}),
    "power": example("Of another power", {"power": 2}),
    "matrix": example("Of A x", {"x": [1, 0, -1, 0.5]}, MATRIX),
    "tensor": example("Of A1 X A2ᵀ", {"X": _X}, TENSOR),
}
SEALS: Final = {
    "matrix": example("No more changes of A", {"operand": "A"}, "attention-sealed"),
    "tensor": example("No more changes of A2", {"operand": "A2"}, "crosses-sealed"),
}
MERGES: Final = {
    "default": example("Everything of another sketch", {"source": "clicks-of-tuesday"}),
    "operands": example(
        "Named operands", {"source": "attention-elsewhere", "operands": ["A"]}, MATRIX
    ),
    "tensor": example(
        "The one operand of a tensor", {"source": "crosses-streamed", "operands": ["A1"]}, TENSOR
    ),
}
PATCHES: Final = {
    "day": example("Forget it a day after its last update", {"ttl_seconds": 86400}),
    "never": example("Keep it", {"ttl_seconds": None}),
}

INFO: Final = {
    "name": VECTOR,
    "kind": "vector",
    "shape": {"n": 1000000},
    "method": "sketch",
    "distribution": {"power": 2.0},
    "samples": 16,
    "repetitions": 1,
    "seed": 7,
    "magnitude": 1024.0,
    "quantum_bits": 24,
    "width": 3360,
    "upper_width": 1440,
    "estimate_width": 864,
    "depth": 5,
    "levels": 2,
    "ttl_seconds": None,
    "memory_bytes": {"state": 226560, "log": 96},
    "updates": 2,
    "underflowed": 0,
    "version": VERSION,
    "exact": True,
    "sealed": [],
    "created_at": "2026-01-05T09:30:00.000Z",
    "expires_at": None,
}
ACKNOWLEDGED: Final = {"accepted": 2, "version": VERSION}
DRAWN: Final = {
    "status": "ok",
    "index": [9],
    "value": [-2.0],
    "probability": [0.64],
    "inclusion_probability": [0.66],
    "norm": 2.5,
    "threshold": 0.0,
    "draw": 0,
    "draws": 1,
    "version": VERSION,
    "exact": True,
}
ESTIMATED: Final = {
    "index": [5, 9],
    "value": [1.5, -2.0],
    "standard_error": [0.1, 0.1],
    "version": VERSION,
    "exact": True,
}
NORM: Final = {
    "power": 2.0,
    "norm": 2.5,
    "standard_error": 0.2,
    "version": VERSION,
    "exact": True,
}
_MISSING: Final = {
    "type": "/docs/errors#sketch_not_found",
    "title": "No such sketch",
    "status": 404,
    "detail": "there is no sketch 'gone'",
    "code": "sketch_not_found",
}
UPDATE_RESULTS: Final = {
    "results": [
        {"sketch": VECTOR, "status": 200, "accepted": 1, "version": VERSION},
        {"sketch": "gone", "status": 404, "problem": _MISSING},
    ]
}
SAMPLE_RESULTS: Final = {
    "results": [
        {"sketch": VECTOR, "status": 200, "answer": DRAWN},
        {"sketch": "gone", "status": 404, "problem": _MISSING},
    ]
}
_SIZES: Final = {
    "width": 3360,
    "upper_width": 1440,
    "estimate_width": 864,
    "depth": 5,
}
PLAN: Final[dict[str, Any]] = {
    "spec": {
        "kind": "vector",
        "shape": {"n": 1000000},
        "method": "sketch",
        "distribution": {"power": 2.0},
        "samples": 16,
        "repetitions": 1,
        "seed": 7,
        "magnitude": 1024.0,
        "quantum_bits": 24,
        **_SIZES,
    },
    "kind": "vector",
    "shape": {"n": 1000000},
    "method": "sketch",
    "samples": 16,
    "repetitions": 1,
    "quantum_bits": 24,
    "quantum": 5.960464477539063e-08,
    "largest_value": 4096.0,
    "memory_bytes": 226560,
    "exact_memory_bytes": 8000000,
    "limit_bytes": 268435456,
    "fits": True,
    "ttl_seconds": None,
    "expected_errors": {"estimate": 0.0182, "norm": 0.0108},
    "advice": {
        "method": "sketch",
        "reason": "the sketch takes 226560 bytes where the dense operands take 8000000",
    },
    **_SIZES,
    "levels": 2,
}

TENANT: Final = "acme"
_QUOTA: Final[dict[str, Any]] = {
    "sketches": 1000,
    "state_bytes": 17179869184,
    "updates_per_second": 1000000.0,
    "requests_per_second": None,
    "batch_updates": 100000,
}
QUOTAS: Final = {
    "limited": example("With limits", _QUOTA),
    "free": example("Without limits", {}),
}
QUOTA_CHANGES: Final = {
    "raise": example("Another limit; the others stay", {"sketches": 2000}),
    "lift": example("One limit lifted", {"updates_per_second": None}),
}
TENANT_INFO: Final[dict[str, Any]] = {
    "name": TENANT,
    "created_at": "2026-01-05T09:00:00.000Z",
    "quota": _QUOTA,
}
KEY: Final[dict[str, Any]] = {
    "id": "5f2b8c01d94e7a36",
    "tenant": TENANT,
    "role": "write",
    "label": "ingest",
    "created_at": "2026-01-05T09:00:00.000Z",
    "expires_at": None,
}
NEW_KEYS: Final = {
    "write": example("For who streams in", {"tenant": TENANT, "role": "write", "label": "ingest"}),
    "month": example(
        "For a month", {"tenant": TENANT, "role": "read", "expires_in_seconds": 2592000}
    ),
}
ISSUED: Final[dict[str, Any]] = {**KEY, "key": "skd_5f2b8c01d94e7a36_…"}
