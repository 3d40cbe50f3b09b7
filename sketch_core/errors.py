"""What sketch_core raises, in one tree.

    SketchError
    ├── InvalidSpec          a spec field is missing, unknown, out of range or contradicts another
    ├── InvalidBatch         an update batch cannot be applied: nothing of it was
    ├── InvalidQuery         a sample, estimate or norm request cannot be answered as put
    │   └── DrawsExhausted   `draw` is not below the sketch's number of repetitions
    ├── IncompatibleSketches a merge of sketches whose fingerprints differ: nothing was changed
    └── InvalidSnapshot      bytes that are not a whole, unharmed snapshot
        └── UnsupportedSnapshot   a snapshot of a format version this code does not know

Errors about a field carry its JSON pointer (RFC 6901) in `pointer`, so that a
service can say which one without parsing prose.
"""

from __future__ import annotations


class SketchError(Exception):
    """Base of everything sketch_core raises on purpose."""

    def __init__(self, detail: str, *, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer

    def __str__(self) -> str:
        return f"{self.pointer}: {self.detail}" if self.pointer else self.detail


class InvalidSpec(SketchError):
    """A spec field is missing, unknown, out of range or contradicts another."""


class InvalidBatch(SketchError):
    """An update batch cannot be applied; nothing of it was."""


class InvalidQuery(SketchError):
    """A request for samples, estimates or a norm cannot be answered as put."""


class DrawsExhausted(InvalidQuery):
    """`draw` is not below the number of repetitions the sketch holds."""


class IncompatibleSketches(SketchError):
    """Sketches whose fingerprints differ do not merge; nothing was changed."""


class InvalidSnapshot(SketchError):
    """Bytes that are not a whole, unharmed snapshot of the expected sketch."""


class UnsupportedSnapshot(InvalidSnapshot):
    """A snapshot of a format version that this code does not know."""
