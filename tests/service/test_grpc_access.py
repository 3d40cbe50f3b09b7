"""Keys, roles and rates over gRPC: who may call what, at once and while a stream is open."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from service.access_ports import ROLES, Quota
from service.grpc_access import ROLES as RPC_ROLES
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings
from tests.service.grpc_rig import Both, Metadata, bearer, failure_of, refused, serving, vector

FIRST = "the-first-admin-key-of-a-service-in-a-test"
ADMIN = {"authorization": f"Bearer {FIRST}"}


class Keys:
    """A service with two tenants, a key of every role for each, and a sketch of the first."""

    def __init__(self, both: Both) -> None:
        self.both = both
        self._keys: dict[tuple[str, str], dict[str, Any]] = {}
        for tenant in ("acme", "rival"):
            both.http.put(f"/v1/admin/tenants/{tenant}", headers=ADMIN, json={})
            for role in ROLES:
                self._keys[tenant, role] = self.new(tenant, role)
        spec = pb.Spec(kind="vector", shape=pb.Shape(n=100), seed=1)
        request = pb.CreateSketchRequest(name="theirs", spec=spec)
        both.stub.CreateSketch(request, metadata=self.of("acme"))

    def new(self, tenant: str, role: str) -> dict[str, Any]:
        """A key that was just made, with its text."""
        body = {"tenant": tenant, "role": role}
        made = self.both.http.post("/v1/admin/keys", headers=ADMIN, json=body)
        assert made.status_code == 201, made.text
        found: dict[str, Any] = made.json()
        return found

    def of(self, tenant: str, role: str = "write") -> Metadata:
        """The metadata of a tenant's key."""
        return bearer(self._keys[tenant, role]["key"])


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    settings = Settings(store="memory://", bootstrap_admin_key=FIRST, access_refresh_seconds=0.05)
    with serving(settings) as both:
        yield Keys(both)


def calls(both: Both, metadata: Metadata | None) -> dict[str, Callable[[], Any]]:
    """One call of every RPC, of the sketch `theirs`."""
    name: dict[str, Any] = {"sketch": "theirs"}
    requests: dict[str, Any] = {
        "CreateSketch": pb.CreateSketchRequest(name="theirs"),
        "GetSketch": pb.GetSketchRequest(name="theirs"),
        "ListSketches": pb.ListSketchesRequest(),
        "PatchSketch": pb.PatchSketchRequest(name="theirs"),
        "DeleteSketch": pb.DeleteSketchRequest(name="gone"),
        "Plan": pb.PlanRequest(),
        "Update": pb.UpdateRequest(**name),
        "Sample": pb.SampleRequest(**name),
        "Estimate": pb.EstimateRequest(**name),
        "Norm": pb.NormRequest(**name),
        "Seal": pb.SealRequest(**name),
        "Merge": pb.MergeRequest(**name),
        "GetSnapshot": pb.GetSnapshotRequest(**name),
    }
    found: dict[str, Callable[[], Any]] = {}
    for method, request in requests.items():
        call = getattr(both.stub, method)
        found[method] = lambda call=call, request=request: call(  # type: ignore[misc]
            request, metadata=metadata, timeout=20
        )
    found["GetSnapshot"] = lambda call=found["GetSnapshot"]: list(call())  # type: ignore[misc]
    for method, message in (("UpdateStream", pb.UpdateRequest(**name)),
                            ("SampleStream", pb.SampleRequest(**name))):  # fmt: skip
        call = getattr(both.stub, method)
        found[method] = lambda call=call, message=message: list(  # type: ignore[misc]
            call(iter([message]), metadata=metadata, timeout=20)
        )
    add = both.stub.AddSnapshot
    found["AddSnapshot"] = lambda: add(
        iter([pb.AddSnapshotRequest(**name)]), metadata=metadata, timeout=20
    )
    return found


def outcome(call: Callable[[], Any]) -> str:
    """The code of a call: that of its problem, or "" where it was served."""
    try:
        call()
    except grpc.RpcError as error:
        return failure_of(error).code
    return ""


@pytest.mark.parametrize("metadata", [None, bearer("wrong"), (("authorization", "Basic eA=="),)])
def test_nobody_calls_without_a_key(keys: Keys, metadata: Metadata | None) -> None:
    for method, call in calls(keys.both, metadata).items():
        failure = refused(call)
        assert failure.status is grpc.StatusCode.UNAUTHENTICATED, method


def test_every_rpc_lets_in_whom_the_table_lets_in(keys: Keys) -> None:
    assert set(calls(keys.both, None)) == set(RPC_ROLES)
    for at, role in enumerate(ROLES):
        for method, call in calls(keys.both, keys.of("rival", role)).items():
            needed = ROLES.index(RPC_ROLES[method])
            assert (outcome(call) == "role_too_low") == (at < needed), (method, role)


def test_anothers_sketch_answers_as_one_that_does_not_exist(keys: Keys) -> None:
    for metadata, found in ((keys.of("rival"), False), (keys.of("acme"), True)):
        for method in ("GetSketch", "Update", "Sample", "Norm", "GetSnapshot", "AddSnapshot"):
            code = outcome(calls(keys.both, metadata)[method])
            assert (code == "sketch_not_found") != found, method


def test_a_stream_ends_soon_after_its_key(keys: Keys) -> None:
    made = keys.new("acme", "write")
    sent: queue.Queue[pb.UpdateRequest | None] = queue.Queue()
    results = keys.both.stub.UpdateStream(
        iter(sent.get, None), metadata=bearer(made["key"]), timeout=30
    )
    sent.put(vector("theirs", [1], [1.0]))
    assert next(results).response.accepted == 1
    gone = keys.both.http.delete(f"/v1/admin/keys/{made['id']}", headers=ADMIN)
    assert gone.status_code == 204
    failure = refused(lambda: next(results))  # though nothing more is sent
    sent.put(None)
    assert failure.status is grpc.StatusCode.UNAUTHENTICATED


def test_what_was_begun_is_answered_before_the_stream_ends(keys: Keys) -> None:
    """A message that comes with a key that is gone is refused; those before it have results."""
    made = keys.new("acme", "write")
    before = keys.both.stub.GetSketch(
        pb.GetSketchRequest(name="theirs"), metadata=keys.of("acme")
    ).updates
    sent: queue.Queue[pb.UpdateRequest | None] = queue.Queue()
    results = keys.both.stub.UpdateStream(
        iter(sent.get, None), metadata=bearer(made["key"]), timeout=30
    )
    for _ in range(20):
        sent.put(vector("theirs", [2], [1.0]))
    keys.both.http.delete(f"/v1/admin/keys/{made['id']}", headers=ADMIN)
    answered: list[pb.UpdateResult] = []
    failure = refused(lambda: answered.extend(results))
    sent.put(None)
    assert failure.code == "unauthorized"
    after = keys.both.stub.GetSketch(
        pb.GetSketchRequest(name="theirs"), metadata=keys.of("acme")
    ).updates
    assert after - before == sum(one.WhichOneof("result") == "response" for one in answered)


class TwoARequest:
    """Every tenant may send two requests a second."""

    def quota(self, tenant: str) -> Quota:
        """As QuotaSource.quota."""
        return Quota(requests_per_second=2.0)


def test_every_message_of_a_stream_is_a_request() -> None:
    """Rejected ones have problems, and the stream goes on."""
    with serving(Settings(store="memory://"), tenants=TwoARequest()) as both:
        deadline = time.monotonic() + 20
        while outcome(lambda: both.make("v")):
            assert time.monotonic() < deadline
        results = list(both.stub.UpdateStream(iter([vector("v", [1], [1.0])] * 12)))
        codes = [one.problem.code for one in results]
        assert len(codes) == 12
        assert set(codes) <= {"", "rate_limited"}
        assert codes.count("rate_limited") >= 8
        assert all(one.problem.retry_after_seconds >= 1 for one in results if one.problem.code)
