"""The unit of what a query returns, from the name and the kind of the metric it reads.

Ids are Grafana's. Prometheus' convention puts the base unit last in a name, before `_total`.
"""

from __future__ import annotations

from typing import Final

from service.metrics_catalogue import METRICS

SECONDS: Final = "s"
BYTES: Final = "bytes"
#: A ratio, shown as per cent.
SHARE: Final = "percentunit"
#: A count of things, shortened (12.3 K).
COUNT: Final = "short"

#: Counters by the noun before `_total`, a second.
_RATES: Final = {
    "requests": "reqps",
    "messages": "mps",
    "updates": "cps",
    "batches": "ops",
    "compactions": "ops",
    "rejected": "reqps",
    "restarts": "cps",
    # Seconds a second: how much of one processor.
    "seconds": SHARE,
}


def of_level(name: str) -> str:
    """Of a metric's own values, as a gauge has them; a histogram's are what it observed."""
    stem = name.removesuffix("_total")
    if stem.endswith("_seconds"):
        return SECONDS
    if stem.endswith("_bytes"):
        return BYTES
    return COUNT


def of_rate(name: str) -> str:
    """Of a counter, or of a histogram's count, a second. Raises ValueError for a gauge."""
    kind = METRICS[name].kind
    if kind == "gauge":
        raise ValueError(f"{name} is a gauge: its rate says nothing")
    if kind == "histogram":
        return "ops" if "store" in name or "fold" in name else "reqps"
    return _RATES[name.removesuffix("_total").rpartition("_")[2]]
