"""Backup files: what was written is read, and nothing else is."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from service.access_ports import Quota
from service.backup_file import (
    MAGIC,
    BackupReader,
    BackupWriter,
    Head,
    InvalidBackup,
    SavedSketch,
    UnsupportedBackup,
)
from service.restore import verify

GOLDEN = Path(__file__).parents[1] / "golden" / "tenant-v1.backup"


def read(data: bytes) -> tuple[Head, list[SavedSketch]]:
    reader = BackupReader(io.BytesIO(data))
    return reader.head, list(reader.sketches())


def written(head: Head, sketches: list[SavedSketch]) -> bytes:
    stream = io.BytesIO()
    writer = BackupWriter(stream, head)
    for sketch in sketches:
        writer.add(sketch)
    writer.finish()
    return stream.getvalue()


def part(kind: bytes, content: bytes) -> bytes:
    """A part as another implementation would write it."""
    start = kind + len(content).to_bytes(8, "little")
    return start + content + hashlib.blake2b(start + content, digest_size=16).digest()


def ended(data: bytes, count: int) -> bytes:
    """A file with a true end."""
    digest = hashlib.blake2b(data, digest_size=32).digest()
    return data + part(b"E", count.to_bytes(8, "little") + digest)


def begun(**head: object) -> bytes:
    fields = {"tenant": "t", "created_at": 1.0, "quota": None} | head
    return MAGIC + b"\1\0" + part(b"H", json.dumps(fields).encode())


def test_the_golden_backup_is_read_and_written_alike() -> None:
    data = GOLDEN.read_bytes()
    head, sketches = read(data)
    assert head.tenant == "acme"
    assert head.quota == Quota(sketches=10, state_bytes=1 << 30, updates_per_second=1e6)
    exact, tensor = sketches
    assert (exact.name, exact.ttl_seconds, exact.updates) == ("exact", 3600.0, 7)
    assert exact.sealed == {"A", "x"}
    assert tensor.ttl_seconds is None
    snapshots = [GOLDEN.with_name(f"{one.name}-v1.snapshot").read_bytes() for one in sketches]
    assert [one.state for one in sketches] == snapshots
    for sketch in sketches:
        verify(sketch)
    assert written(head, sketches) == data


def test_the_bytes_are_those_of_the_documented_layout() -> None:
    assert read(ended(begun(), 0)) == (Head("t", 1.0), [])
    assert ended(begun(), 0)[: len(MAGIC) + 2] == b"SKBACKUP\1\0"


def test_a_file_cut_anywhere_is_noticed() -> None:
    data = GOLDEN.read_bytes()
    for length in range(len(data)):
        with pytest.raises(InvalidBackup):
            read(data[:length])


def test_a_changed_bit_is_noticed_wherever_it_is(rng: np.random.Generator) -> None:
    data = bytearray(GOLDEN.read_bytes())
    for at in range(len(data)):
        bit = 1 << int(rng.integers(8))
        data[at] ^= bit
        with pytest.raises(InvalidBackup):
            read(bytes(data))
        data[at] ^= bit
    read(bytes(data))


def test_what_was_changed_is_never_handed_out(rng: np.random.Generator) -> None:
    """Each part is checked before it is used: the end, which is checked too, may be far away."""
    data = bytearray(GOLDEN.read_bytes())
    _, whole = read(bytes(data))
    for at in range(len(data)):
        bit = 1 << int(rng.integers(8))
        data[at] ^= bit
        with contextlib.suppress(InvalidBackup):
            for number, sketch in enumerate(BackupReader(io.BytesIO(data)).sketches()):
                assert sketch == whole[number]
        data[at] ^= bit


def test_bytes_after_the_end_are_noticed() -> None:
    with pytest.raises(InvalidBackup, match="goes on"):
        read(GOLDEN.read_bytes() + b"\0")


def test_a_sketch_that_was_left_out_or_moved_is_noticed() -> None:
    """Whole parts: every checksum of a part still agrees."""
    head, (one, two) = read(GOLDEN.read_bytes())
    both, first = written(head, [one, two]), written(head, [one])
    end = len(part(b"E", bytes(40)))
    for lacking in (first[:-end] + both[-end:], written(head, [two, one])[:-end] + both[-end:]):
        with pytest.raises(InvalidBackup, match="the end does not agree"):
            read(lacking)


def test_a_newer_backup_is_refused_by_saying_so() -> None:
    data = bytearray(GOLDEN.read_bytes())
    data[8] = 2
    with pytest.raises(UnsupportedBackup, match=r"format version 2.*use a newer release"):
        read(bytes(data))
    with pytest.raises(UnsupportedBackup, match="colour is not known"):
        read(ended(begun(colour="red"), 0))
    with pytest.raises(UnsupportedBackup, match="walruses is not known"):
        read(ended(begun(quota={"walruses": 1}), 0))


def test_a_quota_with_fewer_limits_is_read() -> None:
    assert read(ended(begun(quota={"sketches": 3}), 0))[0].quota == Quota(sketches=3)


@pytest.mark.parametrize(
    "data",
    [
        begun(tenant=5),
        begun(created_at=True),
        begun(created_at=float("nan")),
        begun(quota=[]),
        MAGIC + b"\1\0" + part(b"H", b"{}"),
        MAGIC + b"\1\0" + part(b"H", b"["),
        MAGIC + b"\1\0" + part(b"H", b"[" * 100_000),
        MAGIC + b"\1\0" + part(b"H", b"\xff"),
        MAGIC + b"\1\0" + part(b"T", b"{}"),
        MAGIC + b"\0\0" + part(b"H", b"{}"),
        begun() + part(b"T", b""),
        begun() + part(b"F", b"{}"),
        begun() + b"T" + b"\xff" * 8,
    ],
)
def test_parts_that_make_no_sense_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidBackup):
        read(ended(data, 0))


def changed(**fields: object) -> SavedSketch:
    """The golden sketch with other facts."""
    _, (exact, _) = read(GOLDEN.read_bytes())
    names = SavedSketch.__dataclass_fields__
    return SavedSketch(**{name: getattr(exact, name) for name in names} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a/b"},
        {"spec": b"{}"},
        {"spec": b"nonsense"},
        {"spec": b"[]"},
        {"state": b""},
        {"state": GOLDEN.with_name("tensor-v1.snapshot").read_bytes()},
        {"sealed": frozenset({"A1"})},
        {"ttl_seconds": 0.0},
        {"ttl_seconds": 1e300},
        {"updates": -1},
    ],
)
def test_sketches_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    verify(changed())
    with pytest.raises(InvalidBackup, match=r"^sketch "):
        verify(changed(**fields))


def test_a_state_of_a_newer_release_is_refused_by_saying_so() -> None:
    state = bytearray(changed().state)
    state[8] = 9
    state[-16:] = hashlib.blake2b(state[:-16], digest_size=16).digest()
    with pytest.raises(UnsupportedBackup, match="older than the data"):
        verify(changed(state=bytes(state)))
