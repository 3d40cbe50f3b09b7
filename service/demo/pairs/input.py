"""Pairs of tokens of the shipped head: the operands, what changes between, and the maps' blocks.

Arrays: queries float16 (n1, d) are A1, keys float16 (n2, d) are A2, an X is
float64 (d, d). Y = A1 X A2ᵀ is n1 × n2: with X = 1 the attention scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from service.demo.input import DELETED
from service.demo.law import F64, I64

#: How much more the head's second direction counts in W.
EMPHASIS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done. samples: pairs in a list, and a sketch holds one list."""

    queries: int
    keys: int
    sketches: int
    samples: int

    @property
    def pairs(self) -> int:
        """Pairs there are to draw from."""
        return self.queries * self.keys


FULL: Final = Size(queries=256, keys=32768, sketches=24, samples=64)
QUICK: Final = Size(queries=256, keys=2048, sketches=4, samples=64)


@dataclass(frozen=True, slots=True)
class Case:
    """One law. label: of its X. thinned: whether the deleted keys are gone."""

    label: str
    x: F64
    thinned: bool

    @property
    def keys(self) -> str:
        """Which keys are there, in a word or two."""
        return "9 of 10" if self.thinned else "all"


@dataclass(frozen=True, slots=True)
class Input:
    """What is streamed and asked, in the order of `cases`: the thinned ones come last.

    deleted int64 (m,): keys. query_order int64 (n1,), key_order int64 (n2,):
    along the head's second direction, which the maps follow.
    """

    queries: npt.NDArray[np.float16]
    keys: npt.NDArray[np.float16]
    deleted: I64
    cases: list[Case]
    query_order: I64
    key_order: I64

    def scores(self, case: Case) -> F64:
        """Y of a case, float64 (n1, n2), 0 for deleted keys."""
        found = self.queries.astype(np.float64) @ case.x @ self.keys.astype(np.float64).T
        if case.thinned:
            found[:, self.deleted] = 0.0
        return np.asarray(found)


def read_input(size: Size) -> Input:
    """The part of the shipped file that a run uses.

    The keys that go are those furthest along the head's second direction: many
    of the likeliest under W, so that their absence shows.
    """
    file = resources.files("service") / "data" / "attention.safetensors"
    tensors = load(file.read_bytes())
    queries, keys = tensors["queries"][: size.queries], tensors["keys"][: size.keys]
    directions = Directions(queries.astype(np.float64), keys.astype(np.float64))
    query_order, key_order = directions.orders(1)
    weights = np.ones(keys.shape[1])
    weights[:2] = 0.0, EMPHASIS
    identity, reweighted = np.eye(keys.shape[1]), directions.reweighted(weights)
    return Input(
        queries=queries,
        keys=keys,
        deleted=np.sort(key_order[size.keys - int(size.keys * DELETED) :]),
        cases=[
            Case(label, x, thinned)
            for thinned in (False, True)
            for label, x in (("1", identity), ("W", reweighted))
        ],
        query_order=query_order,
        key_order=key_order,
    )


class Directions:
    """A1 A2ᵀ = Σ s_i u_i v_iᵀ, strongest first, without forming it."""

    def __init__(self, first: F64, second: F64) -> None:
        self._first, self._second = first, second
        self._triangles = [np.linalg.qr(operand).R for operand in (first, second)]
        self._left, self._strength, self._right = np.linalg.svd(
            self._triangles[0] @ self._triangles[1].T
        )

    def orders(self, direction: int) -> tuple[I64, I64]:
        """The rows of A1 and of A2 along one direction."""
        sides = (
            (self._first, self._triangles[0], self._left[:, direction]),
            (self._second, self._triangles[1], self._right[direction]),
        )
        along = [operand @ np.linalg.solve(corner, vector) for operand, corner, vector in sides]
        first, second = (np.argsort(values, kind="stable") for values in along)
        return first, second

    def reweighted(self, weights: F64) -> F64:
        """The X for which direction i of Y is weights[i] times as strong as for X = 1."""
        middle = (self._left * (self._strength * weights)) @ self._right
        x = np.linalg.solve(self._triangles[0], middle)
        return np.asarray(np.linalg.solve(self._triangles[1], x.T).T)


def bands(order: I64, count: int) -> I64:
    """A band for each row, int64 (n,): `count` bands of equally many, following `order`."""
    found = np.empty(order.size, dtype=np.int64)
    found[order] = np.arange(order.size) * count // order.size
    return found
