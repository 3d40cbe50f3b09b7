"""Numbers as Grafana writes them in its units, for the preview."""

from __future__ import annotations

import math
from typing import Final

_SUFFIX: Final = {
    "reqps": " req/s", "ops": " ops/s", "mps": " msg/s", "cps": " c/s", "short": "",
}  # fmt: skip


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """A number in a unit of Grafana's. Raises KeyError for a unit that no dashboard has used."""
    if math.isnan(value):
        return "NaN"
    if unit == "percentunit":
        return f"{_rounded(value * 100, decimals)}%"
    if unit == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"), decimals, " ")
    if unit == "s":
        return _duration(value, decimals)
    short = _scaled(value, 1000, ("", "K", "Mil", "Bil", "Tri"), decimals, " ")
    return short + _SUFFIX[unit]


def _duration(value: float, decimals: int | None) -> str:
    size = abs(value)
    for limit, unit, word in (
        (1e-3, 1e-6, "µs"), (1, 1e-3, "ms"), (60, 1, "s"), (3600, 60, "mins"),
        (86400, 3600, "hours"),
    ):  # fmt: skip
        if size < limit:
            return "0 s" if value == 0 else f"{_rounded(value / unit, decimals)} {word}"
    return f"{_rounded(value / 86400, decimals)} days"


def _scaled(value: float, base: int, words: tuple[str, ...], decimals: int | None, gap: str) -> str:
    at = 0
    while abs(value) >= base and at < len(words) - 1:
        value /= base
        at += 1
    return f"{_rounded(value, decimals)}{gap if words[at] else ''}{words[at]}"


def _rounded(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
