"""The table of errors: statuses, codes and documents agree; what no route is there for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import error_codes, errors, problems
from service.settings import Settings
from tests.service.http_rig import (
    MATRIX,
    Service,
    assert_problem,
    running,
    unchanged,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://")) as found:
        found.make("v")
        found.make("m", MATRIX)
        yield found


@pytest.fixture(autouse=True)
def nothing_applied(service: Service) -> Iterator[None]:
    """Every test here is of refusals: versions and counters stay."""
    with unchanged(service, "v", "m"):
        yield


def test_an_unknown_sketch_is_404_everywhere(service: Service) -> None:
    path = "/v1/sketches/gone"
    answers = [
        service.client.get(path),
        service.client.delete(path),
        service.client.patch(path, json={"ttl_seconds": 5}),
        service.client.get(f"{path}/snapshot"),
        service.post(f"{path}/updates", {"index": [1], "delta": [1]}),
        service.post(f"{path}/samples", {}),
        service.post(f"{path}/estimates", {"index": [1]}),
        service.post(f"{path}/norm", {}),
        service.post(f"{path}/seal", {"operand": "y"}),
        service.post(f"{path}/merge", {"source": "v"}),
        service.client.post(f"{path}/snapshot", content=b"x"),
    ]
    for answer in answers:
        assert_problem(answer, 404, "sketch_not_found")


def test_unknown_routes_are_404_and_wrong_methods_405(service: Service) -> None:
    assert_problem(service.client.get("/v2"), 404, "route_not_found")
    assert_problem(service.client.get("/v1/sketches/v/"), 404, "route_not_found")
    for method, path, allowed in [
        ("POST", "/v1/sketches/v", "DELETE, GET, HEAD, PATCH, PUT"),
        ("GET", "/v1/sketches/v/updates", "POST"),
        ("DELETE", "/v1/sketches/v/snapshot", "GET, HEAD, POST"),
        ("PUT", "/healthz", "GET, HEAD"),
    ]:
        answer = service.client.request(method, path)
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


def test_request_ids_are_taken_when_sane(service: Service) -> None:
    def sent_back(given: str | None) -> str:
        headers = {} if given is None else {"x-request-id": given}
        found: str = service.client.get("/healthz", headers=headers).headers["x-request-id"]
        return found

    assert sent_back("trace-1:a/b=") == "trace-1:a/b="
    for odd in ('"quoted"', "a b", "x" * 129, "{}", None):
        assert re.fullmatch("[0-9a-f]{32}", sent_back(odd))
    assert sent_back(None) != sent_back(None)


def test_refusals_are_counted_by_code(service: Service) -> None:
    service.client.get("/v1/sketches/gone")
    text = service.client.get("/metrics").text
    assert 'sketchd_rejected_total{reason="sketch_not_found"}' in text
    assert "gone" not in text.replace("gone (the sketch", "")


def test_every_service_error_has_a_status() -> None:
    def below(kind: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    for kind in below(errors.ServiceError):
        if kind is problems.InvalidFields:
            continue
        error = kind("x")
        assert problems.status_of(error) != 500, kind
        assert error.code in error_codes.CODES, kind
        assert error_codes.CODES[error.code].status == problems.status_of(error)


def codes_in_source() -> set[str]:
    """Every literal given as `code=` or assigned to a name with "code" in it."""
    found = set()
    for path in sorted((ROOT / "service").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            values: list[ast.expr] = []
            if (isinstance(node, ast.keyword) and node.arg == "code") or (
                isinstance(node, ast.Assign)
                and any(
                    isinstance(target, ast.Name) and target.id in ("code", "default_code")
                    for target in node.targets
                )
            ):
                values = [node.value]
            for value in values:
                for part in ast.walk(value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.add(part.value)
    # Words of the same expressions that are no codes of ours.
    others = {"exact", "type", "sqlite_errorcode"}
    return {code for code in found if re.fullmatch(r"[a-z][a-z_]+", code)} - others


def test_codes_documents_and_source_agree() -> None:
    used = codes_in_source()
    assert len(used) > 10
    assert used <= set(error_codes.CODES), used - set(error_codes.CODES)
    written = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert written == error_codes.markdown()
