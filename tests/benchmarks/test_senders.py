"""What the senders of the benchmarks report is what happened."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring import ingest_streams
from benchmarks.measuring.processes import serve_nothing
from service import request_bodies
from service.bench.jobs import grpc_job, http_job
from service.bench.sender_processes import Senders, send_all
from service.bench.senders import Client, Plan
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from sketch_core.codec import to_snapshot
from sketch_core.sketch import new_sketch
from tests.service.rig import reference

ANSWER = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}"


def answer_each(listening: socket.socket, statuses: list[list[int]]) -> None:
    """Answer the requests of one connection after another, in two pieces; close each at the end."""
    for of_one in statuses:
        connection, _ = listening.accept()
        with connection:
            for status in of_one:
                connection.recv(1 << 16)
                whole = ANSWER % status
                connection.sendall(whole[:20])
                connection.sendall(whole[20:])
            connection.recv(1 << 16)


def test_every_request_is_answered_refused_or_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        statuses = [[200, 503, 200], [200]]
        answering = threading.Thread(target=answer_each, args=(listening, statuses))
        answering.start()
        jobs = [http_job("a", "POST", "/a", b"{}"), http_job("b", "GET", "/b")]
        sent = send_all([Plan(jobs, [Client(host, port, [0, 0, 1, 1, 1])], None)])
        answering.join()
    assert sent.answered == Counter({0: 1, 1: 2})
    assert sent.refused == Counter({"503": 1})
    assert sent.lost == 1  # the fourth; the fifth went over a new connection
    assert {kind: len(taken) for kind, taken in sent.seconds.items()} == {"a": 1, "b": 2}
    assert sent.started < sent.ended


def test_the_reference_is_the_state_of_the_batches_one_by_one(rng: np.random.Generator) -> None:
    """In both formats, whose increments differ in the last digits."""
    source = ingest_streams.stream(1 << 10, 30, int(rng.integers(1 << 30)))
    read = {
        "safetensors": request_bodies.update_from_tensors,
        "json": request_bodies.update_from_json,
    }
    times = [2, 0, 3, 1]
    for form in ingest_streams.FORMATS:
        batches = [read[form](body) for body in source.bodies(form)]
        sent = [batch for batch, many in zip(batches, times, strict=True) for _ in range(many)]
        assert source.snapshot(form, times) == to_snapshot(reference(source.spec, sent))
    assert source.snapshot("json", [0] * 4) == to_snapshot(new_sketch(source.spec))


@pytest.mark.parametrize("tensors", [False, True])
def test_a_message_over_grpc_carries_all_that_it_was_given(tensors: bool) -> None:
    """A field of another number would be skipped in silence."""
    body = b"t" * 200 if tensors else pb.UpdateRequest(index=[3], delta=[2.0]).SerializeToString()
    sent = grpc_job("update", "name", body, updates=1, tensors=tensors).over_grpc(b"k-1")
    whole = pb.UpdateRequest(sketch="name", idempotency_key="k-1")
    whole.MergeFrom(
        pb.UpdateRequest(safetensors=body) if tensors else pb.UpdateRequest.FromString(body)
    )
    assert pb.UpdateRequest.FromString(sent) == whole


def keys_of(listening: socket.socket, statuses: list[int], seen: list[bytes]) -> None:
    """Answer the requests of one connection; keep their idempotency keys."""
    connection, _ = listening.accept()
    with connection:
        for status in statuses:
            asked = connection.recv(1 << 16)
            seen.append(asked.partition(b"idempotency-key: ")[2].partition(b"\r\n")[0])
            connection.sendall(ANSWER % status)


def test_a_refused_update_is_tried_again_under_its_key() -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        answering = threading.Thread(target=keys_of, args=(listening, [503, 429, 200, 200], seen))
        answering.start()
        jobs = [http_job("update", "POST", "/u", b"{}", updates=5, sketch=7)]
        client = Client(host, port, [0, 0])
        sent = send_all([Plan(jobs, [client], None, attempts=3, keys="k")])
        answering.join()
    assert seen[0] == seen[1] == seen[2] != seen[3]
    assert sent.answered == Counter({0: 2})
    assert sent.retried == 2
    assert sent.refused == Counter()
    assert sent.unsure == Counter()


def test_an_update_given_up_may_have_been_applied() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        answering = threading.Thread(target=keys_of, args=(listening, [503, 503, 429, 422], []))
        answering.start()
        jobs = [http_job("update", "POST", "/u", b"{}", updates=5, sketch=7)]
        client = Client(host, port, [0, 0, 0])
        sent = send_all([Plan(jobs, [client], None, attempts=1)])
        assert sent.unsure == Counter({7: 10})  # two 503; a 429 was certainly not applied
        assert sent.refused == Counter({"503": 2, "429": 1})
        with socket.create_connection((host, port)):
            pass
        answering.join(10)


def slow(listening: socket.socket, pause: float) -> None:
    """Answer one connection until it closes, each request after a pause."""
    connection, _ = listening.accept()
    with connection:
        while connection.recv(1 << 16):
            time.sleep(pause)
            connection.sendall(ANSWER % 200)


def test_at_a_rate_latency_counts_from_the_time_of_the_request() -> None:
    """A service that takes 20 ms, asked 100 times a second: each waits for those before it."""
    pause, rate, seconds = 0.02, 100.0, 0.5
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        answering = threading.Thread(target=slow, args=(listening, pause))
        answering.start()
        jobs = [http_job("a", "POST", "/a")]
        sent = send_all([Plan(jobs, [Client(host, port, [0])], seconds, rate=rate)])
        answering.join()
    taken = sent.seconds["a"]
    # Nobody is faster than the service: at most so many were answered, the others had no client.
    assert len(taken) <= seconds / pause + 1
    assert len(taken) + sent.unsent == rate * seconds
    for at, waited in enumerate(taken):
        assert waited >= (at + 1) * pause - at / rate - 1e-3


def test_what_was_found_may_be_larger_than_a_pipe_holds(tmp_path: Path) -> None:
    many, clients = 2_500, 16
    with serve_nothing(tmp_path) as server:
        # Each a job of its own, so that there is something to tell of each.
        jobs = [http_job("a", "POST", "/a")] * (many * clients)
        turns = [range(at, len(jobs), clients) for at in range(clients)]
        everyone = [Client(server.host, server.port, one) for one in turns]
        sent = send_all([Plan(jobs, everyone, None)])
    assert len(sent.seconds["a"]) == len(sent.answered) == many * clients


def test_a_plan_begins_as_late_as_it_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        answering = threading.Thread(target=slow, args=(listening, 0.0))
        answering.start()
        jobs = [http_job("a", "POST", "/a")]
        plan = Plan(jobs, [Client(host, port, [0])], 0.5, rate=4.0, late=0.3)
        sent = send_all([plan])
        answering.join()
    assert len(sent.seconds["a"]) == 1  # at 0.3 s; the next would be after the end


@pytest.mark.parametrize("rate", [0.1, None])
def test_stopped_while_warming_up_it_sends_nothing_more(rate: float | None) -> None:
    """Clients whose next time is far away do not wait for it, and no figure is made of nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        answering = [threading.Thread(target=slow, args=(listening, 0.01)) for _ in range(3)]
        for one in answering:
            one.start()
        clients = [Client(host, port, [0])] * 3
        plan = Plan([http_job("a", "POST", "/a")], clients, 60.0, warmup=60.0, rate=rate)
        with Senders([plan]) as senders:
            senders.go()
            time.sleep(0.5)
            before = time.perf_counter()
            senders.stop()
            sent = senders.found()
        assert time.perf_counter() - before < 5
        for one in answering:
            one.join()
    assert sent.warm[0] == 1 if rate else sent.warm[0] > 3
    assert (sent.answered, sent.unsent) == (Counter(), 0)
    assert (sent.cpu, sent.busiest, sent.ended - sent.started) == (0.0, 0.0, 0.0)
