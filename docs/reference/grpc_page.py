"""docs/reference/grpc.md, from the .proto: what protoc knows of it, comments included."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from docs.reference.markdown import cell, heading_anchor, prose

_PROTOS: Final = Path(__file__).resolve().parents[2] / "service" / "protos"
_PROTO: Final = "sketchd/v1/sketchd.proto"

#: What each RPC is over HTTP.
MIRRORS: Final[Mapping[str, str]] = {
    "CreateSketch": "PUT /v1/sketches/{name}",
    "GetSketch": "GET /v1/sketches/{name}",
    "ListSketches": "GET /v1/sketches",
    "PatchSketch": "PATCH /v1/sketches/{name}",
    "DeleteSketch": "DELETE /v1/sketches/{name}",
    "Plan": "POST /v1/plan",
    "Update": "POST /v1/sketches/{name}/updates",
    "UpdateStream": "POST /v1/updates",
    "Sample": "POST /v1/sketches/{name}/samples",
    "SampleStream": "POST /v1/samples",
    "Estimate": "POST /v1/sketches/{name}/estimates",
    "Norm": "POST /v1/sketches/{name}/norm",
    "Seal": "POST /v1/sketches/{name}/seal",
    "Merge": "POST /v1/sketches/{name}/merge",
    "GetSnapshot": "GET /v1/sketches/{name}/snapshot",
    "AddSnapshot": "POST /v1/sketches/{name}/snapshot",
}
_HEAD: Final = """\
# gRPC reference

<!-- Made by `make reference` from service/protos/sketchd/v1/sketchd.proto. -->

The service `{package}.{service}`, call by call and message by message. [gRPC](../grpc.md) tells
how to use it, with examples that run; fields mean what they mean [over HTTP](http.md). The key
goes into the metadata as `authorization: Bearer KEY`. Errors have the gRPC code of [this
table](../errors.md), and the problem's code in an `ErrorInfo`. Every field may be left out unless
the call cannot do without; *optional* marks those whose absence is told from 0 or empty. Tenants
and keys are administered over HTTP or by the command line.
"""
#: Fields that mean the same in every request; the .proto explains them once.
_ALIKE: Final = frozenset({"x", "X", "queries", "idempotency_key"})
#: Places in a descriptor, as its source locations name them.
_MESSAGES, _SERVICES, _METHODS, _FIELDS, _NESTED = 4, 6, 2, 2, 3
_Path = tuple[int, ...]


def descriptor() -> FileDescriptorProto:
    """The .proto, read by protoc. Raises RuntimeError where it fails."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        options = [f"-I{_PROTOS}", "--include_source_info", f"--descriptor_set_out={out}"]
        status = protoc.main(["protoc", *options, _PROTO])
        if status != 0:
            raise RuntimeError(f"protoc ended with {status}")
        return FileDescriptorSet.FromString(out.read_bytes()).file[0]


def page(file: FileDescriptorProto, requests: Mapping[str, str]) -> str:
    """The whole page. requests: headings of the page of HTTP, by request."""
    written = Proto(file)
    service = file.service[0]
    lines = [_HEAD.format(package=file.package, service=service.name), "## Calls", ""]
    lines += _overview(service.method, requests)
    for position, method in enumerate(service.method):
        lines += ["", *_call(written, method, position)]
    lines += ["", "## Messages", "", "What several calls take or answer, and what messages hold."]
    for position, message in enumerate(file.message_type):
        if message.name not in written.of_one_call:
            lines += ["", f"### {message.name}"]
            lines += _message(written, message, (_MESSAGES, position))
    return "\n".join(lines) + "\n"


class Proto:
    """The .proto with its comments.

    of_one_call: the messages that nothing but one call uses; they are shown there.
    """

    def __init__(self, file: FileDescriptorProto) -> None:
        self.messages = {
            message.name: (message, (_MESSAGES, position))
            for position, message in enumerate(file.message_type)
        }
        self._comments = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
            if location.leading_comments
        }
        uses = Counter(
            _plain(kind)
            for method in file.service[0].method
            for kind in (method.input_type, method.output_type)
        )
        uses.update(
            _plain(field.type_name)
            for message in file.message_type
            for field in message.field
            if field.type_name
        )
        self.of_one_call = {name for name, count in uses.items() if count == 1} & {
            _plain(kind)
            for method in file.service[0].method
            for kind in (method.input_type, method.output_type)
        }

    def said(self, path: _Path) -> str:
        """The comment above what lies at this path of the descriptor, or ""."""
        return self._comments.get(path, "")

    def meaning(self, message: DescriptorProto, path: _Path, position: int) -> str:
        """The comment of a field, or what the field of this name means in another request."""
        if said := self.said((*path, _FIELDS, position)):
            return said
        field = message.field[position]
        if field.name not in _ALIKE or not message.name.endswith("Request"):
            return ""
        for name, (other, elsewhere) in self.messages.items():
            for number, same in enumerate(other.field):
                said = self.said((*elsewhere, _FIELDS, number))
                if name.endswith("Request") and same.name == field.name and said:
                    return said
        return ""


def _plain(type_name: str) -> str:
    return type_name.rpartition(".")[2]


def _overview(
    methods: Iterable[MethodDescriptorProto], requests: Mapping[str, str]
) -> Iterator[str]:
    yield "| call | over HTTP |"
    yield "| --- | --- |"
    for method in methods:
        request = MIRRORS[method.name]
        shown = f"[`{request}`](http.md{heading_anchor(requests[request])})"
        yield f"| [{method.name}](#{method.name.lower()}) | {shown} |"


def _call(written: Proto, method: MethodDescriptorProto, position: int) -> Iterator[str]:
    yield f"### {method.name}"
    if told := written.said((_SERVICES, 0, _METHODS, position)):
        yield ""
        yield prose(told)
    for verb, many, kind in (
        ("Takes", method.client_streaming, method.input_type),
        ("Answers", method.server_streaming, method.output_type),
    ):
        name = _plain(kind)
        inline = name in written.of_one_call
        shown = f"`{name}`" if inline else f"[{name}](#{name.lower()})"
        message, path = written.messages[name]
        end = ":" if inline and message.field else "."
        yield ""
        yield f"{verb} {'a stream of ' if many else ''}{shown}{end}"
        if inline and message.field:
            yield from _message(written, message, path)


def _message(written: Proto, message: DescriptorProto, path: _Path) -> Iterator[str]:
    if told := written.said(path):
        yield ""
        yield prose(told)
    yield ""
    if not message.field:
        yield "No fields."
        return
    yield "| field | type | number | meaning |"
    yield "| --- | --- | --- | --- |"
    for position, field in enumerate(message.field):
        meaning = cell(written.meaning(message, path, position))
        yield f"| `{field.name}` | {_type(message, field)} | {field.number} | {meaning} |"
    for position, nested in enumerate(message.nested_type):
        yield ""
        yield f"#### {nested.name}"
        yield from _message(written, nested, (*path, _NESTED, position))


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    if field.type_name:
        name = _plain(field.type_name)
        shown = f"[{name}](#{name.lower()})"
    else:
        shown = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {shown}"
    if field.proto3_optional:
        return f"optional {shown}"
    if field.HasField("oneof_index"):
        return f"{shown}, one of {message.oneof_decl[field.oneof_index].name}"
    return shown
