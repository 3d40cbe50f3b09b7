"""schemathesis over the administration, on a service with keys: none is a 5xx, none gets by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import strategies as st
from requests import Session
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.hostile.explore import explore
from tests.hostile.process import served

KEY = "the-admin-key-of-a-hostile-campaign"
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_hostile_requests_to_the_administration(
    tmp_path: Path, mode: GenerationMode, seed: int
) -> None:
    with served(tmp_path, bootstrap_admin_key=KEY) as url, Session() as session:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json").include(
            path_regex="^/v1/admin"
        )
        results = list(schema.get_all_operations())
        operations = [result.ok() for result in results if isinstance(result, Ok)]
        assert len(operations) == 7
        stranger = httpx.Client(base_url=url)

        def attempt(case: Any) -> None:
            answer = case.call(
                base_url=url, session=session, headers={"Authorization": f"Bearer {KEY}"}
            )
            case.validate_response(answer, checks=CHECKS)
            assert stranger.get("/v1/admin/keys").status_code == 401

        for operation in operations:
            cases: st.SearchStrategy[Any] = operation.as_strategy(generation_mode=mode)
            explore(attempt, cases, 15, seed)
        kept = httpx.get(f"{url}/v1/admin/keys", headers={"authorization": f"Bearer {KEY}"})
        assert kept.json()["keys"][0]["label"] == "bootstrap"
        stranger.close()
