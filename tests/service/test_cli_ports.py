"""Which ports are had, and that two services never have one together."""

from __future__ import annotations

import socket

import pytest

from service.cli_ports import CannotServe, bind, listen, reserve
from service.settings import Settings
from tests.redis_process import free_port
from tests.service.test_cli import refused


def share(port: int) -> socket.socket:
    """A socket that listens as a worker's gRPC does: on a port that others of its kind have."""
    sharing = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sharing.bind(("127.0.0.1", port))
    sharing.listen()
    return sharing


def test_a_reserved_port_is_for_workers_and_nobody_else() -> None:
    port = free_port()
    kept = reserve("127.0.0.1", port)
    assert kept is not None
    with kept:
        # Before any worker listens, while they do, and after they have ended.
        with pytest.raises(CannotServe, match="in use"):
            reserve("127.0.0.1", port)
        with pytest.raises(CannotServe, match="in use"):
            bind("127.0.0.1", port)
        with share(port), share(port):
            with pytest.raises(CannotServe, match="in use"):
                reserve("127.0.0.1", port)
            with pytest.raises(CannotServe, match="in use"):
                bind("127.0.0.1", port)
        with pytest.raises(CannotServe, match="in use"):
            reserve("127.0.0.1", port)
    again = reserve("127.0.0.1", port)
    assert again is not None
    again.close()


def test_workers_of_another_service_are_found() -> None:
    port = free_port()
    with share(port), pytest.raises(CannotServe, match=f"127.0.0.1:{port} for gRPC.* in use"):
        reserve("127.0.0.1", port)


def test_connections_reach_workers_and_never_the_reservation() -> None:
    port = free_port()
    kept = reserve("127.0.0.1", port)
    assert kept is not None
    with kept, share(port) as worker:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                worker.accept()[0].close()


def test_connections_that_another_program_has_just_closed_are_not_in_the_way() -> None:
    # The side that closes first keeps the port in TIME_WAIT; it was bound without SO_REUSEPORT.
    with socket.create_server(("127.0.0.1", 0)) as before:
        port = before.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            before.accept()[0].close()
            assert client.recv(1) == b""
    kept = reserve("127.0.0.1", port)
    assert kept is not None
    with kept, share(port):
        pass


def test_none_is_reserved_where_grpc_is_off() -> None:
    ports = listen(Settings(port=0, grpc_port=0, store="memory://"))
    assert ports.grpc is None
    ports.close()


def test_a_taken_port_is_one_clear_line_and_leaves_http_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(port=free_port(), grpc_port=port, store="memory://")
        with pytest.raises(CannotServe, match="for gRPC"):
            listen(settings)
        bind("127.0.0.1", settings.port).close()  # nothing half done
        for workers in ("1", "2"):
            line = refused("serve", "--port", "0", "--grpc-port", str(port), "--workers", workers)
            assert f"127.0.0.1:{port} for gRPC: Address already in use" in line
            assert "--grpc-port" in line
            assert "0 turns gRPC off" in line


def test_no_port_of_both() -> None:
    port = free_port()
    with pytest.raises(CannotServe, match="for gRPC"):
        listen(Settings(port=port, grpc_port=port))
