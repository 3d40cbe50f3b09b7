"""Specs: every refusal with its pointer, every boundary, and what a fingerprint means."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketch_core import sizing
from sketch_core.errors import InvalidSpec
from sketch_core.parameters import PARAMETERS
from sketch_core.resolve import MAX_QUANTUM_BITS, default_quantum_bits, random_seed, resolve
from sketch_core.spec import Spec

VECTOR: dict[str, Any] = {"kind": "vector", "shape": {"n": 1000}}
MATRIX: dict[str, Any] = {"kind": "matrix", "shape": {"n": 1000, "d": 2}}


def _resolved(request: dict[str, Any]) -> Spec:
    return resolve(request, draw_seed=lambda: 42)


OUT_OF_RANGE = [
    ({**VECTOR, name: value}, f"/{name}")
    for name in ("samples", "repetitions", "seed", "magnitude", "quantum_bits", "width",
                 "upper_width", "estimate_width", "depth")
    for value in (math.nextafter(PARAMETERS[name].low, -math.inf), PARAMETERS[name].low - 1,
                  PARAMETERS[name].high * 2 + 1, -math.inf, math.inf, math.nan, 10**400, -(10**400),
                  True, "16", [16], {"a": 1})
]  # fmt: skip

REFUSED: list[tuple[Any, str]] = [
    *OUT_OF_RANGE,
    (None, ""),
    ([], ""),
    ("vector", ""),
    ({}, "/kind"),
    ({"kind": None, "shape": {"n": 1}}, "/kind"),
    ({"kind": "cube", "shape": {"n": 1}}, "/kind"),
    ({"kind": ["vector"], "shape": {"n": 1}}, "/kind"),
    ({"kind": "vector"}, "/shape"),
    ({"kind": "vector", "shape": None}, "/shape"),
    ({"kind": "vector", "shape": 1000}, "/shape"),
    ({"kind": "vector", "shape": {}}, "/shape/n"),
    ({"kind": "matrix", "shape": {"n": 5}}, "/shape/d"),
    ({"kind": "matrix", "shape": {"d": 5}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": 5, "d": 1}}, "/shape/d"),
    ({"kind": "vector", "shape": {"n": 0}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": -1}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": (1 << 63) + 1}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": 1.5}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": math.nan}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": math.inf}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": None}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": True}}, "/shape/n"),
    ({"kind": "vector", "shape": {"n": "5"}}, "/shape/n"),
    ({"kind": "matrix", "shape": {"n": 5, "d": 0}}, "/shape/d"),
    ({"kind": "matrix", "shape": {"n": 5, "d": (1 << 16) + 1}}, "/shape/d"),
    ({**VECTOR, "sampels": 3}, "/sampels"),
    ({**VECTOR, "a/b~c": 3}, "/a~1b~0c"),
    ({**VECTOR, "method": "magic"}, "/method"),
    ({**VECTOR, "method": ""}, "/method"),
    ({**VECTOR, "method": 0}, "/method"),
    ({**VECTOR, "method": False}, "/method"),
    ({**VECTOR, "method": ["exact"]}, "/method"),
    ({**VECTOR, "samples": 2.5}, "/samples"),
    ({**VECTOR, "seed": 1 << 64}, "/seed"),
    ({**VECTOR, "seed": -1}, "/seed"),
    ({**VECTOR, "depth": 2}, "/depth"),
    ({**VECTOR, "depth": 30}, "/depth"),
    ({**VECTOR, "magnitude": 0}, "/magnitude"),
    ({**VECTOR, "distribution": 2}, "/distribution"),
    ({**VECTOR, "distribution": {}}, "/distribution"),
    ({**VECTOR, "distribution": {"power": 1, "softmax": {}}}, "/distribution"),
    ({**VECTOR, "distribution": {"powr": 1}}, "/distribution/powr"),
    ({**VECTOR, "distribution": {"power": None}}, "/distribution/power"),
    ({**VECTOR, "distribution": {"power": 0}}, "/distribution/power"),
    ({**VECTOR, "distribution": {"power": -1}}, "/distribution/power"),
    ({**VECTOR, "distribution": {"power": -0.0}}, "/distribution/power"),
    ({**VECTOR, "distribution": {"power": math.inf}}, "/distribution/power"),
    ({**VECTOR, "distribution": {"power": 10**309}}, "/distribution/power"),
    ({**VECTOR, "distribution": {"power": math.nan}}, "/distribution/power"),
    ({**VECTOR, "distribution": {"softmax": 1}}, "/distribution/softmax"),
    ({**VECTOR, "distribution": {"softmax": {"t": 1}}}, "/distribution/softmax/t"),
    ({**VECTOR, "distribution": {"softmax": {"temperature": 0}}},
     "/distribution/softmax/temperature"),
    ({**VECTOR, "distribution": {"softmax": {"temperature": -1}}},
     "/distribution/softmax/temperature"),
    ({**VECTOR, "distribution": {"softmax": {"temperature": None}}},
     "/distribution/softmax/temperature"),
    ({**VECTOR, "method": "sketch", "distribution": {"softmax": {}}}, "/distribution/softmax"),
    ({**VECTOR, "method": "sketch", "distribution": {"power": 0.999}}, "/distribution/power"),
    ({**VECTOR, "method": "sketch", "distribution": {"power": math.nextafter(2, 3)}},
     "/distribution/power"),
    ({**VECTOR, "x": [1.0]}, "/x"),
    ({**MATRIX, "x": 1.0}, "/x"),
    ({**MATRIX, "x": "ab"}, "/x"),
    ({**MATRIX, "x": {"0": 1, "1": 2}}, "/x"),
    ({**MATRIX, "x": []}, "/x"),
    ({**MATRIX, "x": [1.0]}, "/x"),
    ({**MATRIX, "x": [1.0, 2.0, 3.0]}, "/x"),
    ({**MATRIX, "x": [1.0, None]}, "/x/1"),
    ({**MATRIX, "x": [math.nan, 1.0]}, "/x/0"),
    ({**MATRIX, "x": [1.0, math.inf]}, "/x/1"),
    ({**MATRIX, "x": [1.0, 1e300]}, "/x/1"),
    ({**MATRIX, "x": [10**400, 1.0]}, "/x/0"),
    ({**MATRIX, "x": [True, 1.0]}, "/x/0"),
    ({**MATRIX, "x": [1e-30, 1e-300]}, "/x"),
    ({**MATRIX, "x": [5e-324, 0.0]}, "/x"),
    ({**MATRIX, "x": [2.0**-60, 0.0], "magnitude": 2.0**60}, "/magnitude"),
]  # fmt: skip


@pytest.mark.parametrize(
    "request_, pointer", REFUSED, ids=[f"{at}-{pointer}" for at, (_, pointer) in enumerate(REFUSED)]
)
def test_refused_with_its_pointer(request_: Any, pointer: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        _resolved(request_)
    assert caught.value.pointer == pointer
    assert caught.value.detail


def test_softmax_on_a_sketch_names_the_theorem() -> None:
    with pytest.raises(InvalidSpec, match=r"Theorem 4\.4"):
        _resolved({**VECTOR, "method": "sketch", "distribution": {"softmax": {}}})


@pytest.mark.parametrize("name", ["samples", "repetitions", "seed", "magnitude", "quantum_bits",
                                  "width", "upper_width", "estimate_width", "depth"])  # fmt: skip
def test_both_ends_of_every_range_are_accepted(name: str) -> None:
    allowed = PARAMETERS[name]
    for value in (allowed.low, allowed.high):
        spec = _resolved({**VECTOR, "method": "sketch", name: value})
        written = spec.to_json()[name]
        assert written == value
        assert type(written) is (int if allowed.integer else float)


@pytest.mark.parametrize("n", [1, 2, (1 << 63) - 1, 1 << 63, 2.0**63, 1e3])
def test_every_n_in_range_is_accepted(n: float) -> None:
    spec = _resolved({"kind": "vector", "shape": {"n": n}, "method": "sketch"})
    assert spec.n == n
    assert type(spec.n) is int


@pytest.mark.parametrize("power", [1, 1.0, 1.5, 2, 2.0])
def test_sketch_powers_are_accepted_at_both_ends(power: float) -> None:
    spec = _resolved({**VECTOR, "method": "sketch", "distribution": {"power": power}})
    assert spec.method == "sketch"
    assert spec.distribution.power == power


@pytest.mark.parametrize("power", [5e-324, 1e-300, 0.5, 0.999, 2.001, 64, 10**30, 1.7e308])
def test_other_powers_go_to_the_exact_method(power: float) -> None:
    huge = {"kind": "vector", "shape": {"n": 1 << 40}, "distribution": {"power": power}}
    assert _resolved(huge).method == "exact"


def test_defaults() -> None:
    spec = _resolved(VECTOR)
    assert spec.to_json() == {
        "kind": "vector",
        "shape": {"n": 1000},
        "method": "exact",
        "distribution": {"power": 2.0},
        "samples": 16,
        "repetitions": 1,
        "seed": 42,
        "magnitude": 1024.0,
        "quantum_bits": MAX_QUANTUM_BITS,
    }
    softmax = _resolved({**VECTOR, "distribution": {"softmax": {}}})
    assert softmax.distribution.to_json() == {"softmax": {"temperature": 1.0}}


@pytest.mark.parametrize("field", ["method", "distribution", "samples", "repetitions", "seed",
                                   "magnitude", "quantum_bits", "width", "upper_width",
                                   "estimate_width", "depth", "x"])  # fmt: skip
def test_null_is_absent(field: str) -> None:
    assert _resolved({**VECTOR, field: None}) == _resolved(VECTOR)


@pytest.mark.parametrize("shape, kind", [({"n": 7}, "vector"), ({"n": 7, "d": 3}, "matrix")])
def test_auto_takes_the_smaller(shape: dict[str, int], kind: str) -> None:
    """Ties to the exact method; below and above the crossing each wins."""
    cells = _resolved({"kind": kind, "shape": {**shape, "n": 1 << 40}, "width": 10,
                       "estimate_width": 4, "upper_width": 4, "depth": 3,
                       "method": "sketch"})  # fmt: skip
    assert cells.sizes is not None
    # On one level there are 3 rows of 10 + 4 cells; n of them is a tie.
    for n, method in ((41, "exact"), (42, "exact"), (43, "sketch")):
        spec = _resolved({"kind": kind, "shape": {**shape, "n": n}, "width": 10,
                          "estimate_width": 4, "depth": 3})  # fmt: skip
        assert spec.method == method
        assert spec.memory_bytes <= spec.exact_memory_bytes


def test_memory_counts_every_cell() -> None:
    from sketch_core.operand_state import empty_arrays

    requests: list[dict[str, Any]] = [
        {**VECTOR, "method": method, "repetitions": 3} for method in ("sketch", "exact")
    ]
    requests += [
        {**MATRIX, "method": method, "x": x}
        for method in ("sketch", "exact")
        for x in (None, [1, 2])
    ]
    for request in requests:
        spec = _resolved(request)
        arrays = empty_arrays(spec)
        held = sum(a.nbytes for named in arrays.values() for a in named.values())
        x_too = 8 * spec.d if spec.kind == "matrix" and not spec.collapsed else 0
        assert spec.memory_bytes == held + x_too


def test_a_fixed_x_is_rounded_to_fourteen_bits() -> None:
    spec = _resolved({**MATRIX, "x": [1.0, -1 / 3]})
    assert spec.collapsed
    assert spec.columns == 1
    assert spec.x is not None
    values = spec.fixed_matrix()
    assert values is not None
    assert values[0] == 1.0
    assert abs(values[1] + 1 / 3) <= 2.0**-14
    assert max(abs(value) for value in spec.x).bit_length() == 14
    assert spec.value_bits == spec.quantum_bits + spec.x_quantum_bits
    assert _resolved({**MATRIX, "x": [0, -0.0]}).x == (0, 0)


def _requests() -> st.SearchStrategy[dict[str, Any]]:
    x_numbers = st.floats(-(2.0**60), 2.0**60).filter(lambda v: v == 0 or abs(v) > 2.0**-40)
    vector = st.fixed_dictionaries(
        {"kind": st.just("vector"), "shape": st.fixed_dictionaries({"n": st.integers(1, 1 << 63)})}
    )
    matrix = st.integers(1, 5).flatmap(
        lambda d: st.fixed_dictionaries(
            {
                "kind": st.just("matrix"),
                "shape": st.fixed_dictionaries({"n": st.integers(1, 1 << 63), "d": st.just(d)}),
            },
            optional={"x": st.lists(x_numbers, min_size=d, max_size=d)},
        )
    )
    power = st.floats(1.0, 2.0) | st.sampled_from([1, 2])
    softmax = st.floats(2.0**-60, 2.0**60).map(lambda t: {"softmax": {"temperature": t}})
    optional = st.fixed_dictionaries(
        {},
        optional={
            "method": st.sampled_from(["auto", "exact"]),
            "distribution": power.map(lambda p: {"power": p}) | softmax,
            "samples": st.integers(1, 4096),
            "repetitions": st.integers(1, 4096),
            "seed": st.integers(0, (1 << 64) - 1),
            "magnitude": st.floats(2.0**-20, 2.0**30),
            "quantum_bits": st.integers(-60, 60),
            "width": st.integers(1, 1 << 22),
            "upper_width": st.integers(1, 1 << 22),
            "estimate_width": st.integers(1, 1 << 22),
            "depth": st.integers(1, 15).map(lambda half: 2 * half + 1),
        },
    )
    return st.tuples(vector | matrix, optional).map(lambda pair: {**pair[0], **pair[1]})


@given(_requests())
def test_a_resolved_spec_resolves_to_itself(request_: dict[str, Any]) -> None:
    """Through its JSON, through JSON text, and through its bytes."""
    spec = _resolved(request_)
    assert _resolved(spec.to_json()) == spec
    assert _resolved(json.loads(json.dumps(spec.to_json()))) == spec
    assert Spec.from_bytes(spec.to_bytes()) == spec
    assert Spec.from_bytes(spec.to_bytes()).to_bytes() == spec.to_bytes()
    assert len(spec.fingerprint()) == 32
    assert Spec.from_bytes(spec.to_bytes()).fingerprint() == spec.fingerprint()
    assert hash(spec) == hash(Spec.from_bytes(spec.to_bytes()))


BASE: dict[str, Any] = {
    "kind": "matrix", "shape": {"n": 1 << 20, "d": 2}, "method": "sketch", "samples": 4,
    "repetitions": 2, "seed": 7, "magnitude": 1024.0, "quantum_bits": 20,
    "width": 100, "upper_width": 50, "estimate_width": 20, "depth": 5,
    "distribution": {"power": 2.0}, "x": [1.0, 2.0],
}  # fmt: skip

MATTERS: dict[str, dict[str, Any]] = {
    "n": {"shape": {"n": (1 << 20) - 1, "d": 2}},
    "d": {"shape": {"n": 1 << 20, "d": 3}, "x": [1.0, 2.0, 0.0]},
    "kind": {"kind": "vector", "shape": {"n": 1 << 20}, "x": None},
    "method": {"method": "exact"},
    "power": {"distribution": {"power": 1.5}},
    "repetitions": {"repetitions": 3},
    "seed": {"seed": 8},
    "quantum_bits": {"quantum_bits": 19},
    "width": {"width": 101},
    "upper_width": {"upper_width": 51},
    "estimate_width": {"estimate_width": 21},
    "depth": {"depth": 7},
    "x": {"x": [1.0, 2.5]},
    "scale of x": {"x": [2.0, 4.0]},
    "x streamed": {"x": None},
}


def test_fingerprints_differ_with_every_field_that_matters() -> None:
    prints = {"base": _resolved(BASE).fingerprint()}
    prints |= {
        name: _resolved({**BASE, **change}).fingerprint() for name, change in MATTERS.items()
    }
    for (one, left), (other, right) in itertools.combinations(prints.items(), 2):
        assert left != right, (one, other)
    softmax = {**BASE, "method": "exact", "distribution": {"softmax": {"temperature": 1}}}
    warmer = {**BASE, "method": "exact", "distribution": {"softmax": {"temperature": 2}}}
    exact = {**BASE, "method": "exact"}
    assert len({_resolved(one).fingerprint() for one in (softmax, warmer, exact)}) == 3


def test_fingerprints_agree_where_states_may_be_added() -> None:
    """`samples` counts through the sizes alone, `magnitude` through the quantum alone."""
    base = _resolved(BASE)
    for change in ({"samples": 5}, {"magnitude": 1.0}):
        assert _resolved({**BASE, **change}).fingerprint() == base.fingerprint()
    free = {name: value for name, value in BASE.items() if "width" not in name}
    assert _resolved({**free, "samples": 400}).fingerprint() != _resolved(free).fingerprint(), (
        "other samples, other sizes"
    )
    coarse = {name: value for name, value in BASE.items() if name != "quantum_bits"}
    assert (
        _resolved({**coarse, "magnitude": 2.0**40}).fingerprint() != _resolved(coarse).fingerprint()
    )


def test_every_field_of_a_spec_is_considered() -> None:
    """A field added to Spec must be put in the table above, or here with its reason."""
    derived = {"sizes", "x_quantum_bits", "distribution"}
    ignored = {"samples", "magnitude"}
    derived |= {"n2", "d2", "second_sizes"}  # of tensors alone, see test_tensor_spec
    names = {field.name for field in dataclasses.fields(Spec)}
    assert names - derived - ignored == MATTERS.keys() & names


@given(
    n=st.integers(1, 1 << 63),
    power=st.sampled_from([1.0, 1.25, 1.5, 2.0]),
    magnitude=st.floats(2.0**-60, 2.0**60),
)
def test_the_default_quantum_leaves_room_for_the_magnitude(
    n: int, power: float, magnitude: float
) -> None:
    """The largest |y_i| times the largest scale among 2^20 touched stays below 2^62."""
    bits = default_quantum_bits(n, power, magnitude)
    touched_bits = (min(n, 1 << 20) - 1).bit_length() + 6
    largest_scale = 2.0 ** (touched_bits / power)
    from sketch_core.scaling import quantum_exponent

    assert magnitude * 2.0**bits * largest_scale * 2.0 ** -quantum_exponent(power) <= 2.0**62
    assert PARAMETERS["quantum_bits"].low <= bits <= MAX_QUANTUM_BITS


def test_default_sizes_are_within_the_ranges_that_may_be_asked_for() -> None:
    for samples in (1, 2, 16, 400, 4096):
        for power in (1.0, 1.01, 1.5, 1.99, 2.0):
            for n in (1, 2, 1000, 1 << 20, 1 << 40, 1 << 63):
                sizes = sizing.suggest_sizes(n, samples, power)
                for name in ("width", "upper_width", "estimate_width", "depth"):
                    allowed = PARAMETERS[name]
                    assert allowed.low <= getattr(sizes, name) <= allowed.high


def test_seeds_are_fresh_and_whole_in_any_json_reader() -> None:
    drawn = {random_seed() for _ in range(64)}
    assert len(drawn) == 64
    assert all(0 <= one < 1 << 53 for one in drawn)
    assert max(drawn) > 1 << 45
    one = resolve(VECTOR)
    assert one.seed != resolve(VECTOR).seed
