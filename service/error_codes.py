"""Every error code of the interfaces: stable names that callers may test for.

docs/errors.md is rendered from this table, /docs/errors shows it, and a test
looks for codes in the source that are missing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The gRPC code that goes with an HTTP status, where a code of ours has none of its own.
_RPC_CODES: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    405: "UNIMPLEMENTED", 408: "DEADLINE_EXCEEDED", 409: "FAILED_PRECONDITION",
    413: "RESOURCE_EXHAUSTED", 415: "INVALID_ARGUMENT", 422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED", 431: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Code:
    """status: the HTTP status. title: the problem's. meaning: what to do about it.

    own_rpc: the gRPC code where it is not the one of the status.
    """

    status: int
    title: str
    meaning: str
    own_rpc: str = ""

    @property
    def rpc(self) -> str:
        """The gRPC code, by its name in google.rpc.Code."""
        return self.own_rpc or _RPC_CODES[self.status]


_RETRY: Final = "Wait `Retry-After` seconds and send the request again."

CODES: Final[dict[str, Code]] = {
    "malformed_json": Code(
        400,
        "The body is not JSON",
        "It is empty, cut short, not UTF-8, nested deeper than 200 levels, or not JSON at all.",
    ),
    "malformed_safetensors": Code(
        400,
        "The body is not safetensors",
        "The header, the offsets or the length do not fit; often the body was cut short.",
    ),
    "malformed_protobuf": Code(
        400,
        "The message is not what the RPC takes",
        "Its bytes are cut short, or made from another .proto; service/protos has ours.",
    ),
    "malformed_http": Code(
        400,
        "The request is not HTTP",
        "Or it has a body and asks for another protocol (`Upgrade`). The connection is closed.",
    ),
    "client_disconnected": Code(
        400, "The client went away", "It closed the connection before its request was read."
    ),
    "unauthorized": Code(
        401,
        "A key is needed",
        "There was none, or one that is unknown, expired or malformed. Send "
        "`Authorization: Bearer KEY`; `sketchd key add` makes one.",
    ),
    "role_too_low": Code(
        403, "The key's role does not allow this", "The detail names the role that does."
    ),
    "quota_exceeded": Code(
        403, "A quota is used up", "Delete sketches, or ask for more.", "RESOURCE_EXHAUSTED"
    ),
    "cross_origin": Code(
        403,
        "A web page of another site sent this",
        "Browsers may change things only from pages of the service itself, and, while it has no "
        "access keys, may reach it only as localhost, 127.0.0.1 or [::1]. Other clients: leave "
        "out `Origin` and `Sec-Fetch-Site`.",
    ),
    "route_not_found": Code(404, "No such resource", "No route has this path; see /docs."),
    "sketch_not_found": Code(
        404,
        "No such sketch",
        "It was never made, was deleted, or has expired.",
    ),
    "tenant_not_found": Code(
        404, "No such tenant", "`PUT /v1/admin/tenants/{tenant}` or `sketchd tenant add` makes it."
    ),
    "key_not_found": Code(404, "No such key", "Its id is wrong, or it was removed."),
    "method_not_allowed": Code(
        405, "The method is not allowed here", "The header `Allow` names those that are."
    ),
    "body_too_slow": Code(
        408,
        "The body did not come in time",
        "Each 256 KiB of it, or its rest, must arrive within `SKETCHD_BODY_SECONDS`. Nothing was "
        "applied; the connection is closed. Send the request again.",
    ),
    "conflict": Code(409, "The sketch's state forbids it", "The detail says what is in the way."),
    "spec_differs": Code(
        409,
        "The sketch exists with another spec",
        "Choose another name, or delete the sketch first.",
        "ALREADY_EXISTS",
    ),
    "operand_sealed": Code(409, "The operand is sealed", "Nothing changes it any more."),
    "tenant_exists": Code(
        409, "The tenant exists", "Change it with `sketchd tenant set`.", "ALREADY_EXISTS"
    ),
    "tenant_has_sketches": Code(
        409,
        "The tenant has sketches",
        "Delete them first, or send `?force=true` (`--force`), which deletes these too.",
    ),
    "last_admin_key": Code(
        409,
        "No admin key would be left",
        "Add another one first, or send `?force=true` (`--force`). Without one only `sketchd key "
        "add` against the store brings keys back.",
    ),
    "too_many_tenants": Code(
        409, "There are too many tenants", "`SKETCHD_MAX_TENANTS` is the limit."
    ),
    "too_many_keys": Code(
        409, "There are too many keys", "Remove some; `SKETCHD_MAX_ACCESS_KEYS` is the limit."
    ),
    "incompatible_sketches": Code(
        409,
        "The sketches do not merge",
        "They differ in kind, shape, distribution, sizes, seed or fixed x or X: cells cannot be "
        "added.",
    ),
    "body_too_large": Code(
        413,
        "The body is over the limit",
        "Send it in several requests; `SKETCHD_MAX_BODY_BYTES` and "
        "`SKETCHD_MAX_SNAPSHOT_BYTES` are the limits.",
    ),
    "unsupported_media_type": Code(
        415,
        "The content type is not read here",
        "Columns come as application/json or application/x-safetensors, snapshots as "
        "application/octet-stream, all without content-encoding.",
    ),
    "invalid": Code(
        422,
        "The request is not valid",
        "`errors` points to the fields at fault: a wrong type, an index out of range, columns of "
        "different lengths, a number that is not finite. Nothing was applied.",
    ),
    "unknown_field": Code(422, "A field is not known", "`errors` points to it; look for a typo."),
    "invalid_spec": Code(422, "The spec is not valid", "`errors` points to the field at fault."),
    "sketch_too_large": Code(
        422, "The sketch would be too large", "`errors` points to the field to reduce."
    ),
    "dense_too_large": Code(
        422,
        "The dense operands would be too large",
        "Use method `sketch` or `auto`, or fewer coordinates.",
    ),
    "invalid_name": Code(
        422,
        "The name is not valid",
        "A name is a letter or digit, then up to 127 letters, digits, '.', '_', ':' or '-'; of a "
        "sketch and of a tenant.",
    ),
    "invalid_snapshot": Code(
        422,
        "The bytes are not a snapshot",
        "They are cut short, damaged, or of a version this service does not know.",
    ),
    "unsupported_snapshot": Code(
        422, "The snapshot is of a newer version", "Upgrade the service first, then what writes."
    ),
    "batch_too_large": Code(422, "Too many numbers in one batch", "Send them in several requests."),
    "too_many_indices": Code(
        422, "Too many coordinates in one request", "Ask for them in several requests."
    ),
    "too_many_queries": Code(
        422, "Too many queries in one request", "Send them in several requests."
    ),
    "query_too_large": Code(
        422,
        "The x or X has too many numbers",
        "Stream it. `SKETCHD_MAX_QUERY_NUMBERS` is the limit with a question, "
        "`SKETCHD_MAX_FIXED_NUMBERS` at creation.",
    ),
    "too_many_draws": Code(
        422,
        "Too many draws in one request",
        "Ask for them in several requests; `SKETCHD_MAX_REQUEST_DRAWS` is the limit.",
    ),
    "too_many_parts": Code(422, "Too many parts in one request", "Send them in several requests."),
    "draws_exhausted": Code(
        422,
        "The sketch holds no such list of draws",
        "`draw` must be below the spec's `repetitions`; a list used twice is not independent.",
        "OUT_OF_RANGE",
    ),
    "idempotency_key_reused": Code(
        422,
        "The key was used for another request",
        "A retry must send the same body; another request needs another key.",
    ),
    "invalid_idempotency_key": Code(
        422, "The idempotency key is not valid", "It is 1 to 255 printable ASCII characters."
    ),
    "rate_limited": Code(
        429,
        "The tenant's rate is used up",
        f"{_RETRY} Nothing was applied. In a batch request single parts may be answered so.",
    ),
    "head_too_large": Code(
        431,
        "The head of the request is too large",
        "Path, query and headers together have at most 64 KiB. The connection is closed.",
    ),
    "internal": Code(
        500,
        "The service failed",
        "A bug of ours; the log has it under the `request_id` of the problem.",
    ),
    "unavailable": Code(503, "Not now", _RETRY),
    "store_unavailable": Code(
        503,
        "The store does not answer",
        f"{_RETRY} An update answered so may or may not have been applied, whole: retry it with "
        "its idempotency key.",
    ),
    "backlog_full": Code(
        503, "The sketch's log is full", f"Compaction is behind. {_RETRY} Nothing was applied."
    ),
    "stored_format_unknown": Code(
        503,
        "The sketch was stored by a newer release",
        "This replica does not know the format; others may. Upgrade it: see docs/upgrading.md.",
    ),
    "stored_data_damaged": Code(
        503,
        "The stored sketch is damaged",
        "What the store returned makes no sense. The operator restores it from a backup.",
    ),
    "restore_unfinished": Code(
        503,
        "The sketch is being restored",
        f"{_RETRY} If a restore was broken off, the operator runs it again.",
    ),
    "overloaded": Code(503, "The service works to capacity", _RETRY),
    "not_ready": Code(503, "The service is starting or stopping", _RETRY),
}


def markdown() -> str:
    """docs/errors.md."""
    lines = [
        "# Errors",
        "",
        "Rendered from `service/error_codes.py`; a test keeps the two equal.",
        "",
        "Every error is a problem of RFC 9457, `application/problem+json`: `type`, `title`,",
        "`status`, `detail`, a stable `code`, and `errors` with the JSON pointers of the fields at",
        "fault where there are any. Pointers are of the whole body, in safetensors bodies those",
        "the same columns would have in JSON; path and query parameters are `/name`, `/limit` and",
        "so on. Test for `status` and `code`; `title` and `detail` are for people and may change.",
        "Status 429 and 503 come with `Retry-After`. Every response has `X-Request-ID`.",
        "",
        "An RPC that fails has the gRPC code below, the message `code: detail`, and in its",
        "`google.rpc.Status` the `code` as the reason of an `ErrorInfo`, the fields at fault as a",
        "`BadRequest`, and a `RetryInfo` instead of `Retry-After` ([gRPC](grpc.md#errors)).",
        "",
        "| code | status | gRPC | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, code in CODES.items():
        lines.append(f"| `{name}` | {code.status} | {code.rpc} | {code.title}. {code.meaning} |")
    return "\n".join(lines) + "\n"
