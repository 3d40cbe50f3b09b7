"""Keyed 64-bit hashing: buckets, signs and the bits behind exponentials.

Problem.   A sketch needs, for every coordinate it meets, a bucket for each row
           of each level, a sign for each cell and one exponential variable, all
           recomputable from (seed, coordinate) alone and the same on every
           machine, because a client that sketches on its side must agree bit
           for bit with the service.
Source.    CountSketch (Charikar, Chen, Farach-Colton, 2002) assumes pairwise
           independent buckets and 4-wise independent signs; the exponential
           race (Jayaram & Woodruff, FOCS 2018) assumes fully independent
           exponentials, derandomised in theory by a pseudorandom generator.
Deviation. Neither k-wise family is used. One keyed mixer on 64-bit words (a
           two-multiplication finaliser with key material at two places) serves
           every purpose under independent keys. It is not a k-wise independent
           family; the tests check what the algorithms need of it (bucket
           uniformity, sign balance, pair correlations) on consecutive, strided
           and random coordinates, where multiply-shift alone is known to fail.
Guarantee. Only integer operations modulo 2^64 are used, so results depend on
           neither the machine nor numpy's vector extensions. tests/golden pins
           them. Against an adversary who sees samples and chooses updates by
           them nothing is promised (oblivious streams only).

The functions, bit for bit (all arithmetic modulo 2^64, >> is a logical shift):

    finalise(h):    h ^= h >> 30;  h *= 0xBF58476D1CE4E5B9
                    h ^= h >> 27;  h *= 0x94D049BB133111EB
                    h ^= h >> 31
    key word:       word(seed, a, b, c, which) folds each part in turn:
                    h = seed;  for part in (a, b, c, which):
                        h = finalise(h + 0x9E3779B97F4A7C15 * (part + 1))
    key (k0, k1):   k_w = word(seed, purpose, repetition, index, w) for w = 0, 1;
                    purposes: EXPONENTIAL = 1, REPEAT = 2, SIGN = 3, BUCKET = 4;
                    the unscaled sketch is repetition 2^32, level 0; those of a
                    tensor's second operand are 2^33 further on
    mix(k, x):      h = x ^ k0
                    h ^= h >> 30;  h *= 0xBF58476D1CE4E5B9
                    h ^= h >> 27;  h += k1;  h *= 0x94D049BB133111EB
                    h ^= h >> 31

    exponential bits:  mix(key(EXPONENTIAL, repetition, 0), i)
    repeat gap bits:   mix(key(REPEAT, repetition, 0), mix(key(EXPONENTIAL, repetition, 1), i) + m)
    sign of cell c:    bit (c mod 64) of mix(key(SIGN, repetition, c div 64), i);
                       1 means minus. Cells are numbered level · depth + row.
    buckets:           bucket = (field · width) >> F, where rows share words. For
                       widths up to 2^14, F = 21 and a word serves three rows with
                       its bits 0 to 20, 21 to 41 and 43 to 63; for greater widths,
                       F = 32 and a word serves two with its low and high half.
                       Row r reads field (r mod rows a word) of word
                       g = r div rows a word, which is the mix of the prefix under
                       key(BUCKET, repetition, 64 · level + g).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

# Purposes of keys. A number, once given, is never used for anything else.
EXPONENTIAL: Final = 1
REPEAT: Final = 2
SIGN: Final = 3
BUCKET: Final = 4
#: The repetition number under which the unscaled sketch draws its keys.
UNSCALED_REPETITION: Final = 1 << 32
#: What is added to the repetition numbers of a tensor's second operand, the unscaled one too.
SECOND_REPETITION: Final = 1 << 33

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_M1: Final = 0xBF58476D1CE4E5B9
_M2: Final = 0x94D049BB133111EB
_M1_U64: Final = np.uint64(_M1)
_M2_U64: Final = np.uint64(_M2)
_S27: Final = np.uint64(27)
_S30: Final = np.uint64(30)
_S31: Final = np.uint64(31)

#: Widest table whose rows take 21-bit fields.
_NARROW_WIDTH: Final = 1 << 14

Key = tuple[np.uint64, np.uint64]


def _finalise(h: int) -> int:
    h ^= h >> 30
    h = (h * _M1) & _MASK
    h ^= h >> 27
    h = (h * _M2) & _MASK
    return h ^ (h >> 31)


def derive_key(seed: int, purpose: int, repetition: int, index: int) -> Key:
    """The two key words for one use of the mixer.

    seed: 0 to 2^64 - 1. purpose: one of this module's constants. repetition and
    index: non-negative, which independent copy and which word of it.
    """
    words = []
    for which in (0, 1):
        h = seed
        for part in (purpose, repetition, index, which):
            h = _finalise((h + _GOLDEN * (part + 1)) & _MASK)
        words.append(np.uint64(h))
    return words[0], words[1]


def mix(key: Key, values: U64) -> U64:
    """Hash 64-bit words under a key. values: uint64, any shape; returns the same shape."""
    h = values ^ key[0]
    h ^= h >> _S30
    h *= _M1_U64
    h ^= h >> _S27
    h += key[1]
    h *= _M2_U64
    h ^= h >> _S31
    return h


class BucketHash:
    """Buckets of one level: `depth` rows of `width` buckets, chosen by the prefix."""

    __slots__ = ("_fields", "_keys", "_shift", "depth", "width")

    def __init__(self, seed: int, repetition: int, level: int, depth: int, width: int) -> None:
        self.depth = depth
        self.width = width
        narrow = width <= _NARROW_WIDTH
        bits = 21 if narrow else 32
        self._shift = np.uint64(bits)
        mask = np.uint64((1 << bits) - 1)
        # (right shift, mask) of each field: None where there is nothing to do.
        self._fields: list[tuple[np.uint64 | None, np.uint64 | None]] = [(None, mask)]
        if narrow:
            self._fields.append((np.uint64(bits), mask))
        self._fields.append((np.uint64(64 - bits), None))
        words = -(-depth // len(self._fields))
        self._keys = [derive_key(seed, BUCKET, repetition, 64 * level + g) for g in range(words)]

    def rows(self, prefixes: U64) -> Iterator[I64]:
        """The buckets of row 0, row 1, …: int64 (b,) each, for prefixes uint64 (b,).

        Every row comes in the same array; it is overwritten by the next.
        """
        buckets = np.empty_like(prefixes)
        width = np.uint64(self.width)
        for row in range(self.depth):
            word, field = divmod(row, len(self._fields))
            if field == 0:
                bits = mix(self._keys[word], prefixes)
            shift, mask = self._fields[field]
            if shift is not None:
                np.right_shift(bits, shift, out=buckets)
                if mask is not None:
                    buckets &= mask
            elif mask is not None:
                np.bitwise_and(bits, mask, out=buckets)
            buckets *= width
            buckets >>= self._shift
            yield buckets.view(np.int64)

    def addresses(self, prefixes: U64) -> I64:
        """Cell addresses, row · width + bucket. prefixes: uint64 (b,); returns int64 (depth, b)."""
        out = np.empty((self.depth, prefixes.size), dtype=np.int64)
        for row, buckets in enumerate(self.rows(prefixes)):
            np.add(buckets, row * self.width, out=out[row])
        return out


class SignHash:
    """Signs of `cells` cells (numbered level · depth + row) for each coordinate."""

    __slots__ = ("_keys", "cells")

    def __init__(self, seed: int, repetition: int, cells: int) -> None:
        self.cells = cells
        self._keys = [derive_key(seed, SIGN, repetition, g) for g in range(-(-cells // 64))]

    def words(self, coordinates: U64) -> list[U64]:
        """The sign bits of all cells, 64 a word: uint64 (b,) each."""
        return [mix(key, coordinates) for key in self._keys]

    @staticmethod
    def negative(words: list[U64], cell: int, out: U64) -> I64:
        """0, or -1 (all bits set) where the sign of a cell is minus: int64 (b,), in `out`.

        With m = this, (v ^ m) - m is v times its sign.
        """
        word, bit = divmod(cell, 64)
        np.left_shift(words[word], np.uint64(63 - bit), out=out)
        mask = out.view(np.int64)
        mask >>= 63
        return mask
