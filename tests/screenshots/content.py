"""What the pictures of the dashboard show: a tenant that uses the service as tenants do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from service.client import Client

TENANT: Final = "acme"
#: The sketch of a real attention head's keys.
HEAD: Final = "minilm.layer2.head3.keys"
CLICKS: Final = "clicks.by-page"
PAIRS: Final = "minilm.layer2.head3.pairs"
_ATTENTION: Final = Path(__file__).parents[2] / "service" / "data" / "attention.safetensors"
_QUOTA: Final = {"sketches": 200, "state_bytes": 2_000_000_000, "updates_per_second": 1e6}


def key_of_tenant(url: str, admin: str, role: str = "write") -> str:
    """Make the tenant, with a quota, and a key of it."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {admin}"}) as http:
        http.put(f"/v1/admin/tenants/{TENANT}", json=_QUOTA).raise_for_status()
        body = {"tenant": TENANT, "role": role, "label": "dashboard"}
        answer = http.post("/v1/admin/keys", json=body).raise_for_status()
        key: str = answer.json()["key"]
        return key


def fill(url: str, key: str, seed: int = 1) -> None:
    """Make the tenant's sketches and stream into them: a few seconds."""
    rng = np.random.default_rng(seed)
    with Client(url, key=key) as client:
        _heads(client, rng)
        _counts(client, rng)
        _pairs(client, rng)


def query_of_head() -> npt.NDArray[np.float16]:
    """One of the real queries that the head's keys were asked; (32,)."""
    found: npt.NDArray[np.float16] = load_file(_ATTENTION)["queries"][90]
    return found


@contextmanager
def streaming(url: str, key: str, name: str) -> Iterator[None]:
    """Meanwhile counts go on streaming into a sketch, as many a second as a busy site has."""
    ended = threading.Event()

    def stream() -> None:
        rng = np.random.default_rng(2)
        with Client(url, key=key) as client:
            sketch = client.sketch(name)
            size = int(sketch.info().spec["shape"]["n"])
            while not ended.wait(0.1):
                many = int(rng.integers(100, 400))
                sketch.update(_heavy_tailed(rng, many, size), np.ones(many))

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _heavy_tailed(rng: np.random.Generator, many: int, size: int) -> npt.NDArray[np.uint64]:
    """Coordinates of which a few come again and again, all over the range; (many,)."""
    rank = rng.zipf(1.3, many).astype(np.uint64)
    return rank * np.uint64(0x9E3779B97F4A7C15) % np.uint64(size)


def _heads(client: Client, rng: np.random.Generator) -> None:
    """Keys of attention heads: one real, the others of random numbers and fewer."""
    keys = load_file(_ATTENTION)["keys"]
    rows, width = keys.shape
    real = client.create(HEAD, _matrix(rows, width, samples=32))
    for first in range(0, rows, 4096):
        real.update_rows(np.arange(first, first + 4096), keys[first : first + 4096])
    for layer in (0, 1):
        for head in range(6):
            name = f"minilm.layer{layer}.head{head}.keys"
            made = client.create(name, _matrix(131_072, width))
            first = int(rng.integers(131_072 - 512))
            made.update_rows(np.arange(first, first + 512), keys[:512] * rng.uniform(0.5, 2))
    sealed = client.create("eval.prompt-0417.keys", _matrix(2_000, width, ttl_seconds=7200))
    sealed.update_rows(np.arange(2_000), keys[:2_000])
    sealed.seal("A")


def _matrix(rows: int, width: int, **more: object) -> dict[str, object]:
    return {"kind": "matrix", "shape": {"n": rows, "d": width}, "seed": 7, **more}


def _counts(client: Client, rng: np.random.Generator) -> None:
    """Counters over large key spaces, heavy-tailed as such counters are."""
    specs: dict[str, dict[str, object]] = {
        CLICKS: {
            "shape": {"n": 50_000_000},
            "distribution": {"power": 1},
            "samples": 24,
            "repetitions": 2,
        },
        "clicks.by-user.today": {"shape": {"n": 2_000_000_000}, "ttl_seconds": 86400},
        "clicks.by-user.yesterday": {"shape": {"n": 2_000_000_000}, "ttl_seconds": 43200},
        "errors.by-endpoint": {"shape": {"n": 4_096}, "distribution": {"power": 1}},
        "tokens.emitted": {"shape": {"n": 128_256}, "distribution": {"power": 1.5}},
        "router.experts": {
            "shape": {"n": 256},
            "method": "exact",
            "distribution": {"softmax": {"temperature": 4}},
        },
        "flows.by-address-pair": {"shape": {"n": 2**48}, "samples": 64},
        "gradient.embedding": {"shape": {"n": 38_597_376}, "quantum_bits": 30},
    }
    for at, (name, spec) in enumerate(specs.items()):
        made = client.create(name, {"kind": "vector", "seed": 7, **spec})
        size = int(made.info().spec["shape"]["n"])
        for _ in range(3 if at else 12):
            made.update(_heavy_tailed(rng, 4000, size), np.ones(4000))
    # Far more than its cells are sure to hold: what it answers is proven no longer.
    lost = client.create("import.broken-feed", {"kind": "vector", "shape": {"n": 1_000_000}})
    for _ in range(40):
        lost.update(rng.integers(0, 1_000_000, 50), np.full(50, 1e11))
    lost.sample(4)  # whoever folds the log notices


def _pairs(client: Client, rng: np.random.Generator) -> None:
    """Pairs of queries and keys of the real head."""
    found = load_file(_ATTENTION)
    queries, keys = found["queries"], found["keys"]
    shape = {"n1": len(queries), "n2": len(keys), "d1": 32, "d2": 32}
    made = client.create(PAIRS, {"kind": "tensor", "shape": shape, "samples": 16, "seed": 7})
    made.update_rows(np.arange(len(queries)), queries, operand="A1")
    for first in range(0, len(keys), 8192):
        rows = np.arange(first, first + 8192)
        made.update_rows(rows, keys[first : first + 8192], operand="A2")
    small = client.create(
        "cross.users-items",
        {"kind": "tensor", "shape": {"n1": 200_000, "n2": 300_000, "d1": 2, "d2": 3}, "samples": 4},
    )
    rows = rng.integers(0, 200_000, 300)
    small.update_rows(rows, rng.standard_normal((300, 2)), operand="A1")
