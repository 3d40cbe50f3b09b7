"""Quantities as Kubernetes writes them."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "m": 1e-3, "": 1,
}  # fmt: skip


def quantity(text: str | float) -> float:
    """Bytes, processors or a number: "2Gi", "500m", "1". Raises ValueError."""
    read = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    if read is None or read[2] not in _UNITS:
        raise ValueError(f"{text} is no quantity")
    return float(read[1]) * _UNITS[read[2]]
