"""JSON Schema as tables of fields: name, type, default, meaning.

A schema that several operations use stands once, under a heading of its own, and is linked to;
one that a single place uses is shown there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from docs.reference.markdown import cell

Schema = Mapping[str, Any]

_REF: Final = "#/components/schemas/"
_PLAIN: Final = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
    "null": "null", "object": "object",
}  # fmt: skip
_POWERS: Final = {2**53: "2⁵³", 2**53 - 1: "2⁵³ - 1", 2**63 - 1: "2⁶³ - 1"}
#: An index: a whole number, or a string of digits where it is over 2^53.
_INDEX: Final = "index"


def name_of(schema: Schema) -> str:
    """The model a reference leads to, or ""."""
    return str(schema.get("$ref", "")).removeprefix(_REF)


def referred(schema: Any) -> Iterator[str]:
    """Names of the models that a schema refers to, wherever in it."""
    if isinstance(schema, Mapping):
        if name := name_of(schema):
            yield name
        for item in schema.values():
            yield from referred(item)
    elif isinstance(schema, list):
        for item in schema:
            yield from referred(item)


def models(schema: Schema) -> list[str]:
    """The models a body may be: one, or one of several."""
    alternatives = schema.get("oneOf", [schema])
    return [name for item in alternatives if (name := name_of(item))]


def anchor(model: str) -> str:
    """Where the section of a shared model begins."""
    return f"#{model.lower()}"


def _constrained(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return ""
    if high is None:
        return f" ≥ {low}"
    return f" {low:g} to {_POWERS.get(high, f'{high:g}')}"


def type_text(schema: Schema, linked: bool = True) -> str:
    """A type in words; models are linked to their sections."""
    if name := name_of(schema):
        return f"[{name}]({anchor(name)})" if linked else name
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _alternatives(schema[key], linked)
    if schema.get("type") == "array":
        return _list_text(schema, linked)
    if schema.get("format") == "binary":
        return "bytes"
    return _PLAIN.get(str(schema.get("type")), "anything") + _constrained(schema)


def _is_index(options: list[Schema]) -> bool:
    return len(options) == 2 and {item.get("type") for item in options} == {"integer", "string"}


def _alternatives(options: list[Schema], linked: bool) -> str:
    nullable = any(item.get("type") == "null" for item in options)
    rest = [item for item in options if item.get("type") != "null"]
    if _is_index(rest):
        words = [_INDEX]
    elif len(rest) == 3 and _is_index(rest[:2]):
        words = [_INDEX, type_text(rest[2], linked)]
    else:
        words = [type_text(item, linked) for item in rest]
    shown = " or ".join(dict.fromkeys(words))
    if not nullable:
        return shown
    return f"{shown}, or null" if " and " in shown else f"{shown} or null"


def _list_text(schema: Schema, linked: bool) -> str:
    if "prefixItems" in schema or (schema.get("minItems") == schema.get("maxItems") == 2):
        return "pair of indices"
    inner = type_text(schema.get("items", {}), linked)
    plural = {
        "number": "numbers", "index": "indices", "text": "texts", "whole number": "whole numbers",
        "list of numbers": "lists of numbers", "number or null": "numbers and nulls",
        "index or pair of indices": "indices or pairs",
    }  # fmt: skip
    return f"list of {plural.get(inner, inner)}"


def _default(name: str, schema: Schema, required: set[str]) -> str:
    if name in required:
        return "**needed**"
    default = schema.get("default")
    if default is None:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _without_null(schema: Schema) -> Schema:
    """Of an optional field of a request the type that is meant: leaving it out is saying null."""
    if "anyOf" not in schema:
        return schema
    rest = [item for item in schema["anyOf"] if item.get("type") != "null"]
    return rest[0] if len(rest) == 1 else {**schema, "anyOf": rest}


def fields(schema: Schema, *, request: bool) -> list[str]:
    """The lines of a table of the fields of a model. request: with defaults.

    A column that would be empty is left out.
    """
    required = set(schema.get("required", ()))
    rows = [("field", "type", "default", "meaning")]
    for name, item in schema.get("properties", {}).items():
        shown = _without_null(item) if request and item.get("default", "") is None else item
        default = _default(name, item, required) if request else ""
        meaning = cell(str(item.get("description", "")))
        rows.append((f"`{name}`", type_text(shown), default, meaning))
    kept = [column for column in range(4) if any(row[column] for row in rows[1:])]
    lines = [f"| {' | '.join(row[column] for column in kept)} |" for row in rows]
    return [lines[0], "|" + " --- |" * len(kept), *lines[1:]]


def shared(document: Schema) -> list[str]:
    """Models with sections of their own: those used more than once, or inside another one."""
    components = document["components"]["schemas"]
    bodies: Counter[str] = Counter()
    for item in document["paths"].values():
        for operation in item.values():
            own = {
                status: answer
                for status, answer in operation["responses"].items()
                if status.startswith("2")
            }
            bodies.update(set(referred([operation.get("requestBody"), own])))
    within = {name for model in components.values() for name in referred(model)}
    return [name for name in components if bodies[name] > 1 or name in within]
