"""What the senders of the benchmarks report is what happened."""

from __future__ import annotations

import socket
import threading
from collections import Counter

import numpy as np

from benchmarks.measuring import ingest_streams
from benchmarks.measuring.senders import Client, Job, Plan, request_bytes, send_all
from service import request_bodies
from sketch_core.codec import to_snapshot
from sketch_core.sketch import new_sketch
from tests.service.rig import reference

ANSWER = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}"


def answer_each(listening: socket.socket, statuses: list[int]) -> None:
    """Answer one connection's requests with these, in two pieces, then close it."""
    connection, _ = listening.accept()
    with connection:
        for status in statuses:
            connection.recv(1 << 16)
            whole = ANSWER % status
            connection.sendall(whole[:20])
            connection.sendall(whole[20:])
        connection.recv(1 << 16)


def test_every_request_is_answered_refused_or_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        answering = threading.Thread(target=answer_each, args=(listening, [200, 503, 200]))
        answering.start()
        jobs = [Job("a", request_bytes("POST", "/a", b"{}")), Job("b", request_bytes("GET", "/b"))]
        sent = send_all([Plan(jobs, [Client(host, port, [0, 0, 1, 1, 1])], None)])
        answering.join()
    assert sent.answered == Counter({0: 1, 1: 1})
    assert sent.refused == Counter({503: 1})
    assert sent.lost == 1  # the fourth; the fifth was never sent
    assert {kind: len(taken) for kind, taken in sent.seconds.items()} == {"a": 1, "b": 1}
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
