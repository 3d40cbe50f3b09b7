"""The documentation: examples are accepted, answers are as described, all of it is local."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter

from service import error_codes, http_examples, http_service
from service import http_answer_schemas as answers
from service.settings import Settings
from tests.service.http_rig import PROBLEM, TENSORS, Service, running

#: The model behind each schema name of an answer.
MODELS: dict[str, type[BaseModel]] = {
    name: found
    for name, found in vars(answers).items()
    if isinstance(found, type) and issubclass(found, BaseModel) and found is not BaseModel
}


KEY = "first-admin-key-of-the-examples-of-docs"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    # With keys from the start: the example that makes one would shut the others out.
    with running(Settings(store="memory://", bootstrap_admin_key=KEY)) as found:
        found.client.headers["authorization"] = f"Bearer {KEY}"
        vector, matrix, tensor = (
            http_examples.SPECS[one]["value"] for one in ("vector", "matrix", "tensor")
        )
        for name in (http_examples.VECTOR, "clicks-of-tuesday"):
            found.make(name, vector)
        for name in (
            http_examples.MATRIX, "attention-streamed", "attention-sealed", "attention-elsewhere",
        ):  # fmt: skip
            found.make(name, matrix)
        for name in (http_examples.TENSOR, "crosses-streamed", "crosses-sealed"):
            found.make(name, tensor)
        yield found


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of the whole document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def model_of(schema: dict[str, Any]) -> Any:
    """The type that a schema of an answer stands for."""
    refs = [one["$ref"] for one in schema.get("oneOf", [schema])]
    models = [MODELS[ref.rsplit("/", 1)[1]] for ref in refs]
    joined: Any = models[0]
    for model in models[1:]:
        joined = joined | model
    return joined


def test_every_route_of_the_interface_is_there(document: dict[str, Any]) -> None:
    found = {(method.upper(), path) for path, method, _ in operations(document)}
    one = "/v1/sketches/{name}"
    assert found == {
        ("PUT", one), ("GET", one), ("DELETE", one), ("PATCH", one), ("POST", "/v1/plan"),
        ("GET", "/v1/sketches"), ("GET", "/v1/whoami"), ("GET", f"{one}/activity"),
        ("POST", f"{one}/updates"), ("POST", "/v1/updates"),
        ("POST", f"{one}/samples"), ("POST", "/v1/samples"), ("POST", f"{one}/estimates"),
        ("POST", f"{one}/norm"), ("POST", f"{one}/seal"), ("POST", f"{one}/merge"),
        ("GET", f"{one}/snapshot"), ("POST", f"{one}/snapshot"), ("GET", "/healthz"),
        ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/v1/admin/tenants"),
        *((method, "/v1/admin/tenants/{tenant}") for method in ("PUT", "PATCH", "DELETE")),
        ("GET", "/v1/admin/keys"), ("POST", "/v1/admin/keys"), ("DELETE", "/v1/admin/keys/{id}"),
    }  # fmt: skip


def test_operations_say_what_they_are(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert set(operation["tags"]) <= tags, where
        names = {one["name"] for one in operation.get("parameters", [])}
        assert set(re.findall(r"{(\w+)}", path)) <= names, where
        if path.startswith("/v1"):
            assert {"422", "429", "503"} <= set(operation["responses"]), where
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert set(response["content"]) == {PROBLEM}, where
                assert response["content"][PROBLEM]["example"]["code"] in error_codes.CODES, where


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    for reference in references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place


def test_keyed_operations_are_the_posts_that_change_state(document: dict[str, Any]) -> None:
    keyed = {
        operation["operationId"]
        for _, _, operation in operations(document)
        if any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", []))
    }
    assert keyed == {"updateSketch", "updateMany", "sealOperand", "mergeSketch", "addSnapshot"}


def send(service: Service, path: str, method: str, example: dict[str, Any]) -> httpx.Response:
    """Send one example to the sketch it is meant for."""
    name = example.get("x-sketch", http_examples.VECTOR)
    path = path.replace("{name}", name).replace("{tenant}", http_examples.TENANT)
    return service.client.request(method, path, json=example["value"])


def test_every_example_is_accepted_and_answered_as_described(
    service: Service, document: dict[str, Any]
) -> None:
    sent = 0
    for path, method, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        assert content["examples"], path
        for name, example in content["examples"].items():
            answer = send(service, path, method, example)
            where = f"{method} {path} {name}: {answer.text}"
            assert answer.status_code in (200, 201), where
            described = operation["responses"][str(answer.status_code)]["content"]
            schema = described["application/json"]["schema"]
            TypeAdapter(model_of(schema)).validate_python(answer.json())
            if "results" in answer.json() and path in ("/v1/updates", "/v1/samples"):
                assert {one["status"] for one in answer.json()["results"]} == {200}, where
            sent += 1
    assert sent >= 35


def test_examples_of_answers_fit_their_schemas(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            for kind, content in response.get("content", {}).items():
                if kind in ("application/json", PROBLEM):
                    TypeAdapter(model_of(content["schema"])).validate_python(content["example"])
                else:
                    assert kind in (
                        TENSORS,
                        "application/octet-stream",
                        "application/openmetrics-text",
                        "text/plain",
                    ), f"{method} {path} {status}"


def test_answers_have_no_more_fields_than_are_described(service: Service) -> None:
    for made in (http_examples.VECTOR, http_examples.MATRIX, http_examples.TENSOR):
        assert set(service.info(made)) <= set(answers.Info.model_fields)
    specs = [http_examples.SPECS[one]["value"] for one in ("vector", "matrix", "tensor", "fixed")]
    for spec in (*specs, {"kind": "vector", "shape": {"n": 9}}):
        assert set(service.post("/v1/plan", spec).json()) <= set(answers.Plan.model_fields)
    drawn = service.post(f"/v1/sketches/{http_examples.VECTOR}/samples", {}).json()
    assert set(drawn) <= set(answers.Drawn.model_fields)


def test_every_property_of_an_answer_is_explained(document: dict[str, Any]) -> None:
    plain = {"kind", "shape"}
    for model in ("Info", "Plan", "Drawn", "Estimates", "NormAnswer", "ExpectedErrors"):
        properties = document["components"]["schemas"][model]["properties"]
        silent = {name for name, one in properties.items() if not one.get("description")}
        assert silent <= plain, model
    drawn = document["components"]["schemas"]["Drawn"]["properties"]
    for name in ("norm", "threshold"):
        assert "logarithm" in drawn[name]["description"]


def test_docs_come_from_here_alone(service: Service) -> None:
    page = service.client.get("/docs")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"(?:https?:)?//[\w.-]+", page.text.replace("<!doctype", ""))
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) == 4
    for path in linked:
        asset = service.client.get(path)
        assert asset.status_code == 200, path
        assert len(asset.content) > 100
    start = service.client.get("/docs/assets/start.js").text
    assert '"/openapi.json"' in start
    assert "validatorUrl: null" in start
    assert "http" not in start.replace("://", "")
    assert "@import" not in service.client.get("/docs/assets/swagger-ui.css").text
    for odd in ("/docs/assets/index.html", "/docs/assets/..%2f__init__.py", "/docs/assets/x"):
        assert service.client.get(odd).status_code == 404


def test_the_page_can_read_the_document(service: Service, document: dict[str, Any]) -> None:
    script = service.client.get("/docs/assets/swagger-ui-bundle.js").text
    versions = re.findall(r'PACKAGE_VERSION:"(\d+)\.(\d+)\.\d+"', script)
    assert len(versions) == 1, "where Swagger UI says its version has changed"
    major, minor = map(int, versions[0])
    # OpenAPI 3.1 is read from Swagger UI 5.0 on; 3.2 by none that is known here.
    assert re.fullmatch(r"3\.[01]\.\d+", document["openapi"])
    assert (major, minor) >= (5, 0)


def test_the_type_of_a_problem_leads_to_its_explanation(service: Service) -> None:
    problem = service.client.get("/v1/sketches/gone").json()
    page, anchor = problem["type"].split("#")
    shown = service.client.get(page)
    assert shown.status_code == 200
    assert f'id="{anchor}"' in shown.text
    for code in error_codes.CODES:
        assert f'id="{code}"' in http_service.errors_page()


def test_metrics_are_prometheus_text_without_paths(service: Service) -> None:
    service.post(f"/v1/sketches/{http_examples.VECTOR}/updates", {"index": [1], "delta": [1]})
    answer = service.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'sketchd_update_duration_seconds_count{kind="vector",outcome="ok",transport="http"}' in (
        answer.text
    )
    assert f"/v1/sketches/{http_examples.VECTOR}" not in answer.text
