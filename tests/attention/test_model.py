"""The forward pass: published similarities, fixed numbers, and a slower one that shares no code."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from service.attention import main
from service.attention.model import (
    I64,
    Model,
    WeightsMissing,
    attention_weights,
    folder,
    gelu,
    read_tokenizer,
)

F64 = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return read_tokenizer(folder())


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.read(folder())


def tokens(tokenizer: Tokenizer, text: str) -> I64:
    """A window of one sentence in its frame."""
    return np.array([tokenizer.encode(text).ids], dtype=np.int64)


def test_sentences_are_as_similar_as_published(model: Model, tokenizer: Tokenizer) -> None:
    """The figures of the quickstart of Sentence Transformers for all-MiniLM-L6-v2."""
    sentences = (
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    )
    found = np.concatenate([model.embedding(tokens(tokenizer, text)) for text in sentences])
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-6)
    similar = found @ found.T
    assert similar[0, 1] == pytest.approx(0.6660, abs=1e-4)
    assert similar[0, 2] == pytest.approx(0.1046, abs=1e-4)
    assert similar[1, 2] == pytest.approx(0.1411, abs=1e-4)


def test_projections_are_what_they_were(model: Model, tokenizer: Tokenizer) -> None:
    """Computed once with this code, when the similarities above were right."""
    window = tokens(tokenizer, "A sketch forgets what it was told to forget.")
    assert window[0].tolist() == [
        101, 1037, 11080, 5293, 2015, 2054, 2009, 2001, 2409, 2000, 5293, 1012, 102,
    ]  # fmt: skip
    found = model.projections(window, (0, 5))
    assert found[0].keys.shape == (1, 12, 13, 32)
    assert found[0].keys[0, 9, 3, :4] == pytest.approx(
        [0.29844, -0.98751, -0.56600, 1.03256], abs=2e-5
    )
    assert found[0].values[0, 9, 3, :4] == pytest.approx(
        [-0.03765, -0.11277, -0.98748, 0.81416], abs=2e-5
    )
    assert found[5].queries[0, 0, 3, :4] == pytest.approx(
        [1.46865, 0.09095, 2.05331, 0.50824], abs=5e-5
    )


def test_a_slow_forward_pass_in_float64_agrees(model: Model, tokenizer: Tokenizer) -> None:
    """Token by token, head by head, with erf of the standard library."""
    window = tokens(tokenizer, "Keys come, keys go.")
    fast = model.projections(window, range(model.layers))
    weights = {name: value.astype(np.float64) for name, value in _weights().items()}
    states = _slow_embedded(weights, window[0])
    for layer in range(model.layers):
        here = f"encoder.layer.{layer}"
        projected = {
            name: [_slow_linear(weights, f"{here}.attention.self.{name}", row) for row in states]
            for name in ("query", "key", "value")
        }
        for name, quick in (
            ("query", fast[layer].queries),
            ("key", fast[layer].keys),
            ("value", fast[layer].values),
        ):
            slow = np.array(projected[name]).reshape(len(states), model.heads, model.width)
            assert quick[0].transpose(1, 0, 2) == pytest.approx(slow, abs=2e-4), (layer, name)
        states = _slow_layer(weights, here, states, projected, model.heads)
    pooled = np.mean(states, axis=0)
    assert model.embedding(window)[0] == pytest.approx(pooled / np.linalg.norm(pooled), abs=1e-5)


def _weights() -> dict[str, npt.NDArray[np.float32]]:
    return dict(load_file(folder() / "model.safetensors"))


def _slow_linear(weights: dict[str, F64], name: str, row: F64) -> F64:
    return (
        np.array([float(line @ row) for line in weights[f"{name}.weight"]])
        + (weights[f"{name}.bias"])
    )


def _slow_norm(weights: dict[str, F64], name: str, row: F64) -> F64:
    mean = math.fsum(row) / len(row)
    variance = math.fsum((value - mean) ** 2 for value in row) / len(row)
    scale = 1.0 / math.sqrt(variance + 1e-12)
    return (row - mean) * scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _slow_embedded(weights: dict[str, F64], window: I64) -> list[F64]:
    words, places, kinds = (
        weights[f"embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    )
    return [
        _slow_norm(weights, "embeddings.LayerNorm", words[token] + places[place] + kinds[0])
        for place, token in enumerate(window)
    ]


def _slow_layer(
    weights: dict[str, F64],
    here: str,
    states: list[F64],
    projected: dict[str, list[F64]],
    heads: int,
) -> list[F64]:
    width = len(states[0]) // heads
    after = []
    for place, state in enumerate(states):
        mixed = np.zeros_like(state)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            query = projected["query"][place][part]
            scores = [float(query @ key[part]) / math.sqrt(width) for key in projected["key"]]
            raised = [math.exp(score) for score in scores]
            for weight, value in zip(raised, projected["value"], strict=True):
                mixed[part] += weight / math.fsum(raised) * value[part]
        attended = _slow_norm(
            weights,
            f"{here}.attention.output.LayerNorm",
            state + _slow_linear(weights, f"{here}.attention.output.dense", mixed),
        )
        inner = _slow_linear(weights, f"{here}.intermediate.dense", attended)
        inner = np.array([x * 0.5 * (1.0 + math.erf(x / math.sqrt(2.0))) for x in inner])
        out = _slow_linear(weights, f"{here}.output.dense", inner)
        after.append(_slow_norm(weights, f"{here}.output.LayerNorm", attended + out))
    return after


def test_a_window_does_not_see_the_others(model: Model, tokenizer: Tokenizer) -> None:
    one, two = (
        tokens(tokenizer, text) for text in ("The first of two windows.", "The other one is here.")
    )
    assert one.shape == two.shape
    together = model.projections(np.concatenate([one, two]), (3,))[3].keys
    assert together[1] == pytest.approx(model.projections(two, (3,))[3].keys[0], abs=1e-4)


def test_attention_weights_sum_to_one(rng: np.random.Generator) -> None:
    queries, keys = rng.normal(scale=8.0, size=(2, 3, 4, 50, 32)).astype(np.float32)
    found = attention_weights(queries, keys)
    assert found.shape == (3, 4, 50, 50)
    assert (found >= 0).all()
    assert found.sum(axis=-1) == pytest.approx(1.0, abs=1e-5)


def test_gelu_is_that_of_the_normal_distribution() -> None:
    x = np.linspace(-12.0, 12.0, 4801).astype(np.float32)
    exact = [v * 0.5 * math.erfc(-v / math.sqrt(2.0)) for v in x.tolist()]
    assert gelu(x) == pytest.approx(exact, abs=1.5e-6)


def test_missing_weights_are_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.attention.model.PACKAGE", "no_such_weights")
    with pytest.raises(WeightsMissing, match="no-such-weights"):
        folder()
    assert main(["--quick", "--url", "http://127.0.0.1:9"]) == 1
    said = capsys.readouterr().err
    assert "needs no-such-weights" in said


def test_the_command_says_what_to_install() -> None:
    """Where neither tokenizers nor matplotlib is there, the help still comes."""
    hide = "import sys; sys.modules['tokenizers'] = sys.modules['matplotlib'] = None; "
    run = "from service.attention import main; sys.exit(main(sys.argv[1:]))"
    helped, refused = (
        subprocess.run(
            [sys.executable, "-c", hide + run, option],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for option in ("--help", "--quick")
    )
    assert helped.returncode == 0
    assert "transformer" in helped.stdout
    assert refused.returncode == 1
    assert "needs tokenizers: make attention, or pip install" in refused.stderr
