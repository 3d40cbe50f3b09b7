"""schemathesis over /openapi.json: every operation, with data that fits its schema and data that
does not."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import requests as requests_library
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.hostile.explore import explore
from tests.hostile.ledger import Exchange, Ledger
from tests.hostile.live_sketches import LIVE

CHECKS: Final = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip
#: These answer 200 with a status for each part, whatever is wrong with the parts.
_BY_PARTS: Final = frozenset({"updateMany", "drawMany"})
#: These take nothing that could be wrong, so that negative data does not exist.
_NOTHING_TO_BREAK: Final = frozenset({"healthz", "readyz", "metrics", "whoAmI"})


def openapi(ledger: Ledger, requests: int, seed: int) -> None:
    """About so many requests, shared evenly among the operations."""
    # The service has no keys, and the first one would shut the other campaigns out: test_admin
    # asks a service of its own.
    schema = schemathesis.openapi.from_url(f"{ledger.url}/openapi.json").exclude(
        path_regex="^/v1/admin"
    )
    results = list(schema.get_all_operations())
    operations = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(operations) == len(results)
    examples = requests // (2 * (len(operations) - len(_NOTHING_TO_BREAK))) + 1
    with requests_library.Session() as session:
        for operation in operations:
            name = operation.definition.raw["operationId"]
            modes = [GenerationMode.POSITIVE]
            if name not in _NOTHING_TO_BREAK:
                modes.append(GenerationMode.NEGATIVE)
            for mode in modes:
                explore(
                    lambda case: _attempt(ledger, session, case), _cases(operation, mode),
                    examples, seed,
                )  # fmt: skip


def _cases(operation: Any, mode: GenerationMode) -> st.SearchStrategy[Any]:
    """Cases of one operation; where it takes a name, most often that of a live sketch."""
    free: st.SearchStrategy[Any] = operation.as_strategy(generation_mode=mode)
    if "{name}" not in operation.path:
        return free
    live = [
        operation.as_strategy(generation_mode=mode, path_parameters={"name": name}) for name in LIVE
    ]
    return st.one_of(free, *live)


def _attempt(ledger: Ledger, session: requests_library.Session, case: Any) -> None:
    response = case.call(base_url=ledger.url, session=session)
    request = response.request
    parts = urlsplit(request.url)
    body = request.body or b""
    exchange = Exchange(
        request.method,
        parts.path + (f"?{parts.query}" if parts.query else ""),
        body.encode() if isinstance(body, str) else body,
        {name.lower(): _text(value) for name, value in request.headers.items()},
        response.status_code,
        {name.lower(): values[0] for name, values in response.headers.items()},
        response.content,
    )
    ledger.book(exchange)
    by_parts = case.operation.definition.raw["operationId"] in _BY_PARTS
    case.validate_response(
        response, checks=CHECKS if by_parts else [*CHECKS, negative_data_rejection]
    )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
