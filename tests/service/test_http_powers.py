"""Powers over HTTP: what the exact method takes, what a sketch refuses, norms beyond float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.settings import Settings
from tests.service.http_rig import Service, assert_problem, running


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://")) as found:
        yield found


def _spec(power: float, method: str) -> dict[str, object]:
    return {
        "kind": "vector",
        "shape": {"n": 8},
        "seed": 7,
        "method": method,
        "distribution": {"power": power},
    }


@pytest.mark.parametrize("method", ["auto", "exact"])
@pytest.mark.parametrize("power", [5e-324, 1e-300, 0.01, 100, 1e300])
def test_any_power_above_zero_is_served_exactly(
    service: Service, power: float, method: str
) -> None:
    path = f"/v1/sketches/{method}-{float(power).hex().replace('+', '')}"
    made = service.client.put(path, json=_spec(power, method)).json()
    assert (made["method"], made["distribution"]) == ("exact", {"power": power})
    planned = service.post("/v1/plan", _spec(power, method)).json()
    assert planned["advice"]["method"] == "exact"
    service.post(f"{path}/updates", {"index": [1, 2, 5], "delta": [3, -2, 5]})
    answer = service.post(f"{path}/samples", {"count": 2}).json()
    assert answer["status"] == "ok"
    norm = service.post(f"{path}/norm", {}).json()
    assert norm["power"] == power
    assert norm["norm"] == answer["norm"]
    if power < 0.001:
        assert norm["norm"] is None, "3^(1/p) is no float64"
        assert answer["probability"] == pytest.approx([1 / 3, 1 / 3])
    if power > 64:
        assert norm["norm"] == 5.0
        assert answer["index"] == [5, 1]
    assert service.post(f"{path}/norm", {"power": 1}).json()["norm"] == pytest.approx(10.0)


@pytest.mark.parametrize("power", [5e-324, 0.999, 2.001, 1e300])
def test_a_sketch_refuses_other_powers_and_says_which_it_takes(
    service: Service, power: float
) -> None:
    refused = service.client.put("/v1/sketches/refused", json=_spec(power, "sketch"))
    [error] = assert_problem(refused, 422, "invalid_spec")["errors"]
    assert error["pointer"] == "/distribution/power"
    assert "from 1 to 2" in error["detail"]


@pytest.mark.parametrize("power", [0, -1])
def test_powers_that_are_not_positive_are_refused(service: Service, power: float) -> None:
    refused = service.client.put("/v1/sketches/refused", json=_spec(power, "auto"))
    [error] = assert_problem(refused, 422, "invalid_spec")["errors"]
    assert error == {
        "pointer": "/distribution/power",
        "detail": "must be finite and more than 0",
    }
    service.client.put("/v1/sketches/kept", json=_spec(3.0, "exact"))
    asked = service.post("/v1/sketches/kept/norm", {"power": power})
    assert assert_problem(asked, 422, "invalid")["errors"][0]["pointer"] == "/power"
