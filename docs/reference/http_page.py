"""docs/reference/http.md, from the OpenAPI document of the service.

One section a tag, one an operation: who may, parameters, body, answer, what is refused. What
every request can be answered is told once, at the top.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from docs.reference import schemas
from docs.reference.json_text import readable
from docs.reference.markdown import cell, heading_anchor, prose
from service import http_access, http_openapi, http_updates
from service.app import create_app
from service.error_codes import CODES
from service.settings import Settings

_HEAD: Final = """\
# HTTP reference

<!-- Made by `make reference` from the schema the service shows at /openapi.json. -->

Every request, with its fields. The [guide to the HTTP interface](../http-api.md) explains them
with examples that run; [errors](../errors.md) says what to do about each code. A running service
has the same at `/docs`, to try out.
"""
_EVERYWHERE: Final = """\
## What every request shares

Bodies are JSON unless another type is named; unknown fields are refused and numbers are finite. An
*index* is a whole number below 2⁶³, as a string of digits where it is over 2⁵³. With keys
configured, a request needs `Authorization: Bearer KEY`; a role includes those before it: `read`,
`write`, `admin`. Every answer has `X-Request-ID`. A name of a sketch is a letter or digit, then up
to 127 letters, digits, `.`, `_`, `:` or `-`. Where `Idempotency-Key` is taken, it is 1 to 255
printable ASCII characters: a retry with the same key and body counts once.

A refusal is `application/problem+json`. These can come from every request that needs a key, or
from every one with a body, and are not repeated below:
"""
#: An example up to this many characters is quicker read again than looked up.
_SHORT: Final = 60
#: Statuses any request may have, then those of requests with a body.
_COMMON: Final = ("401", "403", "422", "429", "503")
_OF_BODIES: Final = ("400", "408", "413", "415")
#: Codes that no request under /v1 is refused with: of gRPC, or of what is no request at all.
_ELSEWHERE: Final = frozenset({"malformed_protobuf", "malformed_http", "client_disconnected"})
#: What an operation's own 404 and 409 are called, where it is not the example in the schema.
CODES_OF: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("PUT /v1/sketches/{name}", "409"): ("spec_differs",),
    ("POST /v1/sketches/{name}/updates", "409"): ("operand_sealed",),
    ("POST /v1/sketches/{name}/merge", "409"): ("incompatible_sketches", "operand_sealed"),
    ("POST /v1/sketches/{name}/snapshot", "409"): ("incompatible_sketches", "operand_sealed"),
    ("PUT /v1/admin/tenants/{tenant}", "409"): ("too_many_tenants",),
    ("PATCH /v1/admin/tenants/{tenant}", "404"): ("tenant_not_found",),
    ("DELETE /v1/admin/tenants/{tenant}", "404"): ("tenant_not_found",),
    ("DELETE /v1/admin/tenants/{tenant}", "409"): ("tenant_has_sketches", "last_admin_key"),
    ("GET /v1/admin/keys", "404"): ("tenant_not_found",),
    ("POST /v1/admin/keys", "404"): ("tenant_not_found",),
    ("POST /v1/admin/keys", "409"): ("too_many_keys",),
    ("DELETE /v1/admin/keys/{id}", "404"): ("key_not_found",),
    ("DELETE /v1/admin/keys/{id}", "409"): ("last_admin_key",),
}


def openapi() -> dict[str, Any]:
    """What /openapi.json says once keys exist; nothing is started or stored for it."""
    app = create_app(Settings(store="memory://"))
    return http_openapi.document(
        app,
        http_updates.PLAIN_PATHS,
        "",
        http_access.roles(Settings().metrics_access),
        keyless=False,
    )


def page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    by_tag: dict[str, list[tuple[str, dict[str, Any]]]] = {name: [] for name in tags}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            by_tag[operation["tags"][0]].append((f"{method.upper()} {path}", operation))
    for tag, operations in by_tag.items():
        # What the tag is named after comes first; the rest keeps its order.
        operations.sort(key=lambda one: not one[0].endswith(tag))
    common = set(schemas.shared(document))
    lines = [_HEAD, *_overview(by_tag), _EVERYWHERE, *_common_refusals()]
    examples = Examples()
    for tag, operations in by_tag.items():
        lines += ["", f"## {tag.capitalize()}", "", tags[tag]]
        for request, operation in operations:
            lines += ["", *_operation(request, operation, document, common, examples)]
    lines += ["", "## Objects", "", "What several requests and answers are made of."]
    asked = _asked(document)
    for name in document["components"]["schemas"]:
        if name in common:
            lines += ["", *_object(name, document, request=name in asked)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def headings(document: Mapping[str, Any]) -> dict[str, str]:
    """The heading of each request's section."""
    return {
        f"{method.upper()} {path}": operation["summary"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


class Examples:
    """Examples in the order of the page: the second time one comes, it is linked to."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def place(self, value: object, section: str) -> str:
        """The section that shows this example: `section` itself, the first time or if short."""
        text = readable(value)
        return self._first.setdefault(text, section) if len(text) > _SHORT else section


def _overview(by_tag: Mapping[str, list[tuple[str, dict[str, Any]]]]) -> Iterator[str]:
    yield "| request | what it does | role |"
    yield "| --- | --- | --- |"
    for operations in by_tag.values():
        for request, operation in operations:
            target = heading_anchor(operation["summary"])
            yield f"| `{request}` | [{operation['summary']}]({target}) | {_role(operation)} |"
    yield ""


def _role(operation: Mapping[str, Any]) -> str:
    needed = operation.get("security") or [{}]
    return str(needed[0].get("bearer", ["open"])[0])


def _common_refusals() -> Iterator[str]:
    yield "| status | codes |"
    yield "| --- | --- |"
    for status in (*_COMMON, *_OF_BODIES):
        codes = [
            f"`{name}`"
            for name, code in CODES.items()
            if code.status == int(status) and name not in _ELSEWHERE
        ]
        where = " with a body" if status in _OF_BODIES else ""
        yield f"| {status}{where} | {', '.join(codes)} |"


def _operation(
    request: str,
    operation: Mapping[str, Any],
    document: Mapping[str, Any],
    common: set[str],
    examples: Examples,
) -> Iterator[str]:
    section = operation["summary"]
    told_of = {item["name"]: item for item in operation.get("parameters", ())}
    keyed = " · takes `Idempotency-Key`" if told_of.pop("Idempotency-Key", None) else ""
    told_of.pop("name", None)
    yield f"### {section}"
    yield ""
    yield f"`{request}` · role: {_role(operation)}{keyed}"
    if told := operation.get("description"):
        yield ""
        yield prose(told)
    if told_of:
        yield ""
        yield from _parameters(told_of.values())
    if body := operation.get("requestBody"):
        yield ""
        yield from _body(body, document, common)
        yield from _examples(body["content"].get("application/json", {}), section, examples)
    yield ""
    yield from _answers(operation["responses"], document, common, section, examples)
    yield ""
    yield from _refusals(request, operation["responses"])


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "| parameter | in | type | meaning |"
    yield "| --- | --- | --- | --- |"
    for item in parameters:
        schema = item["schema"]
        kind = schemas.type_text(schema).replace(" or null", "")
        default = schema.get("default")
        meaning = cell(item.get("description", ""))
        if default not in (None, ""):
            meaning += f" Default: `{str(default).lower()}`."
        yield f"| `{item['name']}` | {item['in']} | {kind} | {meaning} |"


def _body(body: Mapping[str, Any], document: Mapping[str, Any], common: set[str]) -> Iterator[str]:
    content = body["content"]
    optional = "" if body.get("required", True) else ", which may be left out"
    for media, item in content.items():
        if media != "application/json":
            told = prose(item["schema"].get("description", ""))
            kind = "**Body**" if len(content) == 1 else "Or"
            yield f"{kind} as `{media}`{': ' + told if told else '.'}"
            yield ""
            continue
        named = _models(item["schema"], common)
        if not named:
            [model] = schemas.models(item["schema"])
            named = prose(document["components"]["schemas"][model].get("description", ""))
        yield f"**Body**{optional}: {named}"
        yield ""
        yield from _inline(item["schema"], document, common, request=True)


def _models(schema: Mapping[str, Any], common: set[str]) -> str:
    """Links to the models, but for one that is shown right below."""
    names = schemas.models(schema)
    if not names:
        return schemas.type_text(schema) + "."
    if len(names) == 1 and names[0] not in common:
        return ""
    shown = [f"[{name}]({schemas.anchor(name)})" if name in common else name for name in names]
    return " or ".join(shown) + "."


def _inline(
    schema: Mapping[str, Any], document: Mapping[str, Any], common: set[str], *, request: bool
) -> Iterator[str]:
    """Tables of the models that only this body uses."""
    for name in schemas.models(schema):
        model = document["components"]["schemas"][name]
        if name in common or not model.get("properties"):
            continue
        yield from schemas.fields(model, request=request)
        yield ""


def _examples(item: Mapping[str, Any], section: str, examples: Examples) -> Iterator[str]:
    elsewhere = set()
    for example in item.get("examples", {}).values():
        if (place := examples.place(example["value"], section)) != section:
            elsewhere.add(place)
            continue
        sketch = f" (`{example['x-sketch']}`)" if "x-sketch" in example else ""
        yield f"{example['summary']}{sketch}:"
        yield ""
        yield from _fenced(example["value"])
    if elsewhere:
        links = [f"[{place}]({heading_anchor(place)})" for place in sorted(elsewhere)]
        yield f"Examples are those of {' and '.join(links)}."


def _fenced(value: object) -> Iterator[str]:
    yield "```json"
    yield readable(value)
    yield "```"
    yield ""


def _answers(
    responses: Mapping[str, Mapping[str, Any]],
    document: Mapping[str, Any],
    common: set[str],
    section: str,
    examples: Examples,
) -> Iterator[str]:
    last: Mapping[str, Any] = {}
    for status, item in responses.items():
        if not status.startswith("2"):
            continue
        content = item.get("content", {})
        last = content.get("application/json", {})
        kinds = [f"`{media}`" for media in content if media != "application/json"]
        also = f" {'Also as' if last else 'As'} {', '.join(kinds)}." if kinds else ""
        made_of = f" {_models(last['schema'], common)}" if last else ""
        yield f"**{status}** {prose(item['description'])}{made_of}{also}".rstrip()
        yield ""
    if not last:
        return
    yield from _inline(last["schema"], document, common, request=False)
    if "example" in last and examples.place(last["example"], section) == section:
        yield from _fenced(last["example"])


def _refusals(request: str, responses: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    own = [
        _refusal(request, status, responses) for status in responses if _is_own(status, responses)
    ]
    if own:
        yield f"Refused besides: {'; '.join(own)}."


def _is_own(status: str, responses: Mapping[str, Any]) -> bool:
    """Whether a refusal is not one that every request may meet. Where 401 is none, 503 is told."""
    if status.startswith("2"):
        return False
    if "401" not in responses:
        return status == "503"
    return status not in (*_COMMON, *_OF_BODIES)


def _refusal(request: str, status: str, responses: Mapping[str, Mapping[str, Any]]) -> str:
    example = responses[status]["content"]["application/problem+json"]["example"]["code"]
    codes = CODES_OF.get((request, status), (example,))
    return f"**{status}** " + ", ".join(f"`{code}`" for code in codes)


def _asked(document: Mapping[str, Any]) -> set[str]:
    """Models that bodies of requests are made of, however deep."""
    components = document["components"]["schemas"]
    found: set[str] = set()
    waiting = [
        name
        for item in document["paths"].values()
        for operation in item.values()
        for name in schemas.referred(operation.get("requestBody"))
    ]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += schemas.referred(components[name])
    return found


def _object(name: str, document: Mapping[str, Any], *, request: bool) -> Iterator[str]:
    model = document["components"]["schemas"][name]
    yield f"### {name}"
    yield ""
    yield prose(model.get("description", ""))
    if model.get("properties"):
        yield ""
        yield from schemas.fields(model, request=request)
