"""What the senders of the benchmarks report is what happened."""

from __future__ import annotations

import socket
import threading
from collections import Counter

import numpy as np

from benchmarks.measuring import ingest_streams
from service import http_bodies
from service.bench.jobs import http_job
from service.bench.sender_processes import send_all
from service.bench.senders import Client, Plan
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
        "safetensors": http_bodies.update_from_tensors,
        "json": http_bodies.update_from_json,
    }
    times = [2, 0, 3, 1]
    for form in ingest_streams.FORMATS:
        batches = [read[form](body) for body in source.bodies(form)]
        sent = [batch for batch, many in zip(batches, times, strict=True) for _ in range(many)]
        assert source.snapshot(form, times) == to_snapshot(reference(source.spec, sent))
    assert source.snapshot("json", [0] * 4) == to_snapshot(new_sketch(source.spec))
