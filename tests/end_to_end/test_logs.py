"""What a real service writes to its log: never a secret, always one line an event."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.end_to_end.workers import serving

#: A key as the service makes them, and one as an operator may choose it.
SECRETS = ("skd_0123456789abcdef_MARKERmarkerMARKERmarkerMARKERmarker0123456", "MARKER-of-our-own")
SPEC = {"kind": "vector", "shape": {"n": 1000}, "seed": 1}


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("workers", [1, 2])
def test_no_secret_gets_into_the_log(tmp_path: Path, workers: int, log_format: str) -> None:
    with serving(
        tmp_path, workers, access_log="on", log_level="debug", log_format=log_format
    ) as service:
        assert service.call("PUT", "/v1/sketches/a", json=SPEC).status_code == 201
        for secret in SECRETS:
            bearer = {"Authorization": f"Bearer {secret}"}
            service.call("GET", "/v1/sketches/a", headers=bearer)
            service.call("GET", "/v1/sketches/a", headers={"Authorization": secret})
            service.call("GET", "/v1/sketches/a", headers={"X-Api-Key": secret, "Cookie": secret})
            service.call("GET", f"/v1/sketches/a?key={secret}&{secret}")
            service.call("GET", f"/v1/sketches/{secret}")
            service.call("GET", f"/v1/sketches?cursor={secret}")
            service.call("GET", f"/{secret}", headers=bearer)
            service.call("PROPFIND", f"/{secret}")
            for path in ("/v1/sketches/a/updates", "/v1/sketches/a/samples", "/v1/plan"):
                service.call("POST", path, json={"key": secret, secret: 1}, headers=bearer)
                service.call("POST", path, content=f'{{"key": "{secret}', headers=bearer)
                service.call("POST", path, content=secret, headers={"Content-Type": secret})
                service.call("POST", path, json={}, headers={"Idempotency-Key": secret * 9})
            host, port = service.url.removeprefix("http://").split(":")
            for broken in (f"{secret}\r\n\r\n", f"GET /{secret} {secret}\r\n\r\n",
                           f"GET / HTTP/1.1\r\n{secret}\r\n\r\n"):  # fmt: skip
                with socket.create_connection((host, int(port)), timeout=20) as raw:
                    raw.sendall(broken.encode())
                    assert b" 400 " in raw.recv(4096)
        service.process.terminate()
        assert service.process.wait(20) == 0
        said = service.said()
    assert said.count("sketchd.access") >= 2 * 20
    assert "MARKER" not in said
    assert "marker" not in said.replace("markers", "")


def test_every_line_of_a_request_has_its_id_and_an_exception_is_one_line(tmp_path: Path) -> None:
    with serving(tmp_path, 1, access_log="on") as service:
        assert service.call("PUT", "/v1/sketches/a", json=SPEC).status_code == 201
        for file in tmp_path.glob("store.db*"):  # from now on the store fails
            file.write_bytes(b"no database" * 5000)
        answer = service.call("GET", "/v1/sketches/a", headers={"X-Request-ID": "this-one"})
        assert answer.status_code in (500, 503)
        service.process.terminate()
        assert service.process.wait(20) == 0
        ready, *lines = service.said().splitlines()
    assert ready.startswith("sketchd ready: ")
    found = [json.loads(line) for line in lines]
    own = [line for line in found if line.get("request_id") == "this-one"]
    assert {line["logger"] for line in own} >= {"sketchd.http", "sketchd.access"}
    [failure] = [line for line in own if line["logger"] == "sketchd.http"]
    assert failure["level"] in ("warning", "error")
    assert "Traceback" in failure["traceback"]
