"""Pages made from the code are what the code says today, and leave nothing out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docs.reference import grpc_page, http_page, schemas, sizing_table
from docs.reference.json_text import readable
from docs.reference.markdown import between, cell, prose
from service.error_codes import CODES
from tests.tidy import documents
from tests.tidy.tree import ROOT

DOCS = ROOT / "docs"
OLD = "run `make reference`: {} is old"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """What the service shows at /openapi.json."""
    return http_page.openapi()


def test_the_page_of_http_is_the_schemas(schema: dict[str, Any]) -> None:
    kept = (DOCS / "reference" / "http.md").read_text("utf-8")
    assert kept == http_page.page(schema), OLD.format("docs/reference/http.md")


def test_the_page_of_grpc_is_the_protos(schema: dict[str, Any]) -> None:
    kept = (DOCS / "reference" / "grpc.md").read_text("utf-8")
    made = grpc_page.page(grpc_page.descriptor(), http_page.headings(schema))
    assert kept == made, OLD.format("docs/reference/grpc.md")


def test_the_table_of_installations_is_computed() -> None:
    kept = (DOCS / "sizing.md").read_text("utf-8")
    assert kept == sizing_table.updated(kept), OLD.format("docs/sizing.md")


def test_every_operation_field_and_call_is_there(schema: dict[str, Any]) -> None:
    page = http_page.page(schema)
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            assert f"`{method.upper()} {path}` · role: " in page
            assert f"### {operation['summary']}\n" in page
    for model in schema["components"]["schemas"].values():
        for field in model.get("properties", {}):
            assert f"| `{field}` | " in page
    proto = grpc_page.descriptor()
    calls = grpc_page.page(proto, http_page.headings(schema))
    for message in proto.message_type:
        for field in message.field:
            assert f"| `{field.name}` | " in calls


def test_every_section_has_a_heading_of_its_own(schema: dict[str, Any]) -> None:
    for page in (
        http_page.page(schema),
        grpc_page.page(grpc_page.descriptor(), http_page.headings(schema)),
    ):
        heads = [line for line in page.splitlines() if line.startswith("#")]
        assert len(heads) == len(documents.anchors(page))


def test_calls_mirror_requests_that_exist(schema: dict[str, Any]) -> None:
    calls = {method.name for method in grpc_page.descriptor().service[0].method}
    assert calls == grpc_page.MIRRORS.keys()
    assert set(grpc_page.MIRRORS.values()) <= http_page.headings(schema).keys()


def test_codes_of_refusals_are_codes_of_that_status(schema: dict[str, Any]) -> None:
    requests = http_page.headings(schema)
    for (request, status), codes in http_page.CODES_OF.items():
        assert request in requests
        assert {CODES[code].status for code in codes} == {int(status)}


def test_json_is_broken_where_it_is_long() -> None:
    value = {"short": [1, 2], "long": ["word " * 5] * 6, "empty": {}, "inner": {"a": None}}
    text = readable(value)
    assert json.loads(text) == value
    assert '"short": [1, 2],' in text
    assert max(map(len, text.splitlines())) <= 88
    nested = {"a" * 20: {"b" * 20: {"c": "d" * 50}}}
    assert readable(nested).count("\n") == 4  # names of outer lines take no room on inner ones
    assert readable([1, {"a": "ü"}]) == '[1, {"a": "ü"}]'


def test_types_are_words() -> None:
    index = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    pair = {"type": "array", "items": index, "minItems": 2, "maxItems": 2}
    nullable = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    model = {"$ref": "#/components/schemas/Spec"}
    for schema, words in (
        ({"type": "integer", "minimum": 0, "maximum": 2**53}, "whole number 0 to 2⁵³"),
        ({"type": "integer", "minimum": 1}, "whole number ≥ 1"),
        ({"enum": ["a", "b"]}, "`a` or `b`"),
        ({"type": "array", "items": index}, "list of indices"),
        ({"type": "array", "items": {"anyOf": [*index["anyOf"], pair]}},
         "list of indices or pairs"),
        ({"anyOf": [{"type": "array", "items": nullable}, {"type": "null"}]},
         "list of numbers and nulls, or null"),
        ({"anyOf": [model, {"type": "null"}]}, "[Spec](#spec) or null"),
    ):  # fmt: skip
        assert schemas.type_text(schema) == words


def test_text_is_never_markup() -> None:
    assert (
        prose("`a_b` of <x>, ttl_seconds, |y_i|^p") == r"`a_b` of &lt;x>, `ttl_seconds`, |y\_i|^p"
    )
    assert cell("|y|") == r"\|y\|"
    with pytest.raises(ValueError, match="there is no <a>"):
        between("nothing", "<a>", "<b>", "new")


def test_a_small_installation_is_reckoned_by_hand() -> None:
    costs = sizing_table.Measured({10: 50.0}, 0.01)
    one = sizing_table.Installation(
        "", {"kind": "vector", "shape": {"n": 10**6}, "samples": 1}, 10, 1000, 10, 20
    )
    taken = sizing_table.needs(one, costs)
    # Tables of 5 rows, 8 bytes a bucket: the last level's, the first level's, the estimates'.
    assert taken.state == 5 * 8 * (896 + 384 + 256) == 61_440
    assert taken.states == 614_400
    assert taken.redis == 10 * (2 * 61_440 + 262_144 + 1500) + 250 * 100 * 600
    assert taken.processors == pytest.approx(0.05 + 0.2)
    assert taken.replicas == 2
    with pytest.raises(ValueError, match="no such rows"):
        sizing_table.measured("<!-- durable_ingest -->\n\na\n\n| a |\n| - |\n\n")
