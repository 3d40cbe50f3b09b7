"""Ids: 32 hex digits, never the same twice, in threads and in a forked child neither."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

from service.random_ids import new_id


def test_ids_are_32_hex_digits_and_differ_across_threads() -> None:
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda _: [new_id() for _ in range(2000)], range(4)))
    ids = [one for part in parts for one in part]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


def test_a_forked_child_has_ids_of_its_own() -> None:
    new_id()  # so that some are ready
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        theirs = told.read()
    assert os.waitpid(child, 0)[1] == 0
    assert len(theirs) == 32
    assert theirs not in {new_id() for _ in range(1000)}
