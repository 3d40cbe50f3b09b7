"""Traffic of every kind that a dashboard or a rule speaks of, until told to stop."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final, Self

import grpc
import httpx

from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.protos.sketchd.v1 import sketchd_pb2_grpc as rpc
from tests.deploy.replicas import Replica, Tenant, admit

#: acme comes near its limits, the starter is over its rate, the others have none.
QUOTAS: Final[dict[str, dict[str, Any]]] = {
    "acme": {"sketches": 6, "state_bytes": 400_000, "updates_per_second": 1e6},
    "research": {},
    "starter": {"sketches": 10, "state_bytes": 400_000_000, "requests_per_second": 4.0},
}
SPECS: Final[dict[str, dict[str, Any]]] = {
    "clicks": {"kind": "vector", "shape": {"n": 1_000_000}, "seed": 1},
    "head.0": {"kind": "matrix", "shape": {"n": 4000, "d": 4}, "seed": 2},
    "pairs": {"kind": "tensor", "shape": {"n1": 40, "n2": 40, "d1": 2, "d2": 2}, "seed": 3},
    "counters": {"kind": "vector", "shape": {"n": 500}, "method": "exact", "seed": 4},
    # Numbers far above its magnitude come in, so that its sums are soon not sure to be exact.
    "spikes": {"kind": "vector", "shape": {"n": 1000}, "magnitude": 1e-6, "seed": 5},
}
_QUESTIONS: Final[dict[str, dict[str, Any]]] = {
    "head.0": {"x": [1, 0, -1, 0.5]}, "pairs": {"X": [[1, 0], [0, 1]]},
}  # fmt: skip


class Traffic:
    """A caller of all replicas, in a thread of its own, for one tenant after another.

    rounds: how many times everything has been done once.
    """

    def __init__(self, fleet: Sequence[Replica], seed: int, pause: float = 0.02) -> None:
        self._fleet = fleet
        self._draw = random.Random(seed)
        self._pause = pause
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._open = ExitStack()
        self._clients = [
            self._open.enter_context(httpx.Client(base_url=one.url, timeout=30)) for one in fleet
        ]
        channels = [self._open.enter_context(grpc.insecure_channel(one.rpc)) for one in fleet]
        self._stubs: list[Any] = [rpc.SketchServiceStub(one) for one in channels]
        self._tenants: list[Tenant] = []
        self._thread = threading.Thread(target=self._run, name="traffic")
        self.rounds = 0

    def __enter__(self) -> Self:
        self._tenants = admit(self._fleet[0], QUOTAS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._open.close()
        if self._failure is not None:
            raise self._failure

    @property
    def alive(self) -> bool:
        """Whether it goes on; if not, leaving the block says why."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._done.is_set():
                for tenant in self._tenants:
                    self._round(tenant)
                self.rounds += 1
                self._done.wait(self._pause)
        except Exception as failure:  # noqa: BLE001 - raised again where the block ends
            self._failure = failure

    def _round(self, tenant: Tenant) -> None:
        if self.rounds == 0:
            for name, spec in SPECS.items():
                # A replica may not know the key yet; the quota of requests may refuse for now.
                while self._http(tenant, "PUT", f"/{name}", spec) in (401, 429):
                    self._done.wait(0.3)
        for name in SPECS:
            self._updates(tenant, name)
            self._samples(tenant, name)
        self._streams(tenant)
        self._refused(tenant)
        self._passing(tenant)

    def _http(
        self, tenant: Tenant, method: str, path: str, body: object = None, key: str = ""
    ) -> int:
        """The status of an answer under /v1/sketches, by any replica."""
        headers = {"Authorization": f"Bearer {tenant.key}"}
        if key:
            headers["Idempotency-Key"] = key
        client = self._draw.choice(self._clients)
        answer = client.request(method, f"/v1/sketches{path}", json=body, headers=headers)
        assert answer.status_code < 500, answer.text
        return answer.status_code

    def _update(self, name: str) -> dict[str, Any]:
        draw, size = self._draw, self._draw.randrange(20, 120)
        if name == "head.0":
            rows = [draw.randrange(4000) for _ in range(size)]
            return {"operand": "A", "row": rows, "values": [[1, 0, 0.5, draw.random()]] * size}
        if name == "pairs":
            rows = [draw.randrange(40) for _ in range(size)]
            return {"operand": draw.choice(["A1", "A2"]), "row": rows, "column": [0] * size,
                    "delta": [draw.random()] * size}  # fmt: skip
        most = SPECS[name]["shape"]["n"]
        delta = 1e9 if name == "spikes" else 1.0
        return {"index": [int(most * draw.random() ** 3) for _ in range(size)],
                "delta": [delta] * size}  # fmt: skip

    def _updates(self, tenant: Tenant, name: str) -> None:
        body, key = self._update(name), f"{self.rounds}-{self._draw.getrandbits(40)}"
        for _ in range(self._draw.choice([1, 1, 2])):  # the second is a replay
            self._http(tenant, "POST", f"/{name}/updates", body, key)
        self._rpc(tenant, "Update", self._message(name))

    def _message(self, name: str) -> pb.UpdateRequest:
        body = self._update(name)
        body["values"] = [number for row in body.get("values", []) for number in row]
        return pb.UpdateRequest(sketch=name, **body)

    def _samples(self, tenant: Tenant, name: str) -> None:
        question = _QUESTIONS.get(name, {})
        self._http(tenant, "POST", f"/{name}/samples", {"count": 5, **question})
        self._http(tenant, "POST", f"/{name}/norm", question)
        if name in ("clicks", "counters"):
            self._http(tenant, "POST", f"/{name}/estimates", {"index": [1, 2, 3]})
            self._rpc(tenant, "Sample", pb.SampleRequest(sketch=name, count=5))

    def _streams(self, tenant: Tenant) -> None:
        messages = [self._message("clicks") for _ in range(4)]
        messages.append(pb.UpdateRequest(sketch="nobody", index=[1], delta=[1]))
        self._rpc(tenant, "UpdateStream", iter(messages))
        self._rpc(tenant, "SampleStream", iter([pb.SampleRequest(sketch="clicks")] * 3))

    def _refused(self, tenant: Tenant) -> None:
        """What is answered with a problem."""
        self._http(tenant, "POST", "/nobody/samples", {})
        self._http(tenant, "POST", "/clicks/updates", {"index": [-1], "delta": [1]})
        self._http(tenant, "GET", "/clicks/updates")
        self._http(Tenant("nobody", "not-a-key", {}), "GET", "/clicks")
        self._rpc(tenant, "GetSketch", pb.GetSketchRequest(name="nobody"))

    def _passing(self, tenant: Tenant) -> None:
        """A sketch that comes and goes; a second one may be one too many for a quota."""
        for name in ("passing", "passing.too"):
            self._http(tenant, "PUT", f"/{name}", {"kind": "vector", "shape": {"n": 100}})
        self._http(tenant, "GET", "?prefix=passing&limit=10")
        for name in ("passing", "passing.too"):
            self._http(tenant, "DELETE", f"/{name}")

    def _rpc(self, tenant: Tenant, method: str, request: object) -> None:
        """Call any replica; refusals are what some calls are for."""
        stub = self._draw.choice(self._stubs)
        metadata = [("authorization", f"Bearer {tenant.key}")]
        try:
            answer = getattr(stub, method)(request, metadata=metadata, timeout=30)
            if method.endswith("Stream"):
                list(answer)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
                raise
