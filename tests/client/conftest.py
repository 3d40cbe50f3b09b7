"""One service for the tests that do not harm it, and a client of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import rig


@pytest.fixture(scope="package")
def service() -> Iterator[Any]:
    """A service that all tests of this folder share; their sketches have names of their own."""
    with rig.served() as found:
        yield found


@pytest.fixture(params=rig.WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, bool]:
    """A transport, and whether columns go as safetensors."""
    transport, _, plain = str(request.param).partition(" ")
    return transport, not plain


@pytest.fixture(params=rig.FACES)
def face(request: pytest.FixtureRequest) -> str:
    """Which of the two classes."""
    return str(request.param)


@pytest.fixture
def client(service: Any, way: tuple[str, bool], face: str) -> Iterator[Any]:
    """A client of each kind and way."""
    transport, tensors = way
    with rig.connected(face, rig.url_of(service, transport), tensors=tensors) as found:
        yield found


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for this test's sketch."""
    plain = "".join(one if one.isalnum() else "-" for one in request.node.name)
    return f"t{plain}"[:100]
