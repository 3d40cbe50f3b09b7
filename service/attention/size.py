"""How much of everything a run does, and which heads it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from service.attention.text import WINDOW


@dataclass(frozen=True, slots=True)
class Head:
    """A head of the model, counted from zero."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"layer {self.layer}, head {self.head}"

    @property
    def slug(self) -> str:
        """As part of a sketch's name."""
        return f"{self.layer}-{self.head}"


@dataclass(frozen=True, slots=True)
class PairsSize:
    """windows: of keys. evicted: windows of them that go. samples: pairs in a sketch's one list."""

    windows: int
    evicted: int
    sketches: int
    samples: int


@dataclass(frozen=True, slots=True)
class Size:
    """windows: of the text. retained: the latest of them, which stay. queries: a head's.

    A sketch holds `repetitions` lists of `samples` draws. runs: of the samplers
    that need no sketch.
    """

    windows: int
    retained: int
    heads: tuple[Head, ...]
    queries: int
    samples: int
    repetitions: int
    runs: int
    pairs: PairsSize

    @property
    def tokens(self) -> int:
        """Tokens read."""
        return self.windows * WINDOW

    @property
    def live(self) -> int:
        """Tokens left at the end."""
        return self.retained * WINDOW

    @property
    def draws(self) -> int:
        """The most draws that a query gets."""
        return self.samples * self.repetitions

    @property
    def budgets(self) -> tuple[int, ...]:
        """The numbers of draws compared: powers of four."""
        return tuple(4**power for power in range(16) if 4**power <= self.draws)


#: In layers 0, 2 and 4 one head whose squared scores are spread as most are, and one whose softmax
#: looks at few tokens or whose squared scores do.
_HEADS: Final = (Head(0, 9), Head(0, 2), Head(2, 3), Head(2, 11), Head(4, 0), Head(4, 9))

FULL: Final = Size(
    windows=500,
    retained=258,
    heads=_HEADS,
    queries=16,
    samples=256,
    repetitions=4,
    runs=8,
    pairs=PairsSize(windows=128, evicted=32, sketches=24, samples=64),
)
QUICK: Final = Size(
    windows=20,
    retained=10,
    heads=(_HEADS[0], _HEADS[2]),
    queries=4,
    samples=64,
    repetitions=4,
    runs=4,
    pairs=PairsSize(windows=8, evicted=2, sketches=4, samples=64),
)
