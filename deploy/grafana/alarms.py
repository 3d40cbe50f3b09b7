"""The alerts that panels point to, and the objectives beside them, out of Prometheus' rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).parents[1] / "prometheus" / "rules"
#: Of the names of all alerts, for Prometheus.
NAMES: Final = "Sketchd.+"
#: A comparison with a number, as most alerts end with.
_LIMIT: Final = re.compile(r"(?:[<>]=?|==|!=)\s*(?:bool\s+)?(-?[\d.]+(?:e-?\d+)?)(?![\w.\[])")
_VECTOR: Final = re.compile(r"vector\(([\d.]+)\)")
_BUCKET: Final = re.compile(r'le="([\d.]+)"')


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alert. runbook: where to read on. limits: the numbers its expression compares with."""

    name: str
    runbook: str
    limits: tuple[float, ...]

    @property
    def limit(self) -> float:
        """The one number it compares with. Raises ValueError where there are several, or none."""
        if len(self.limits) != 1:
            raise ValueError(f"{self.name} compares with {self.limits}, not with one number")
        return self.limits[0]


@cache
def _rules() -> dict[str, dict[str, Any]]:
    """Every rule by the name of its alert or of what it records."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    ]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule.get("alert") or rule["record"]: rule for rule in rules}


def alarm(name: str) -> Alarm:
    """An alert of the rules. Raises KeyError where there is none of this name."""
    rule = _rules()[name]
    if "alert" not in rule:
        raise KeyError(name)
    base = _rules()["sketchd:runbook:info"]["labels"]["url"]
    limits = dict.fromkeys(float(found) for found in _LIMIT.findall(rule["expr"]))
    return Alarm(name, f"{base}#{name.lower()}", tuple(limits))


def alarms(*names: str) -> list[Alarm]:
    """Several alerts."""
    return [alarm(name) for name in names]


def budget(record: str) -> float:
    """An objective that a rule records as a constant."""
    return _only(_VECTOR, record)


def objective_seconds(record: str) -> float:
    """The bucket that tells slow from fast in what a rule records."""
    return _only(_BUCKET, record)


def _only(pattern: re.Pattern[str], record: str) -> float:
    found = set(pattern.findall(_rules()[record]["expr"]))
    if len(found) != 1:
        raise ValueError(f"{record}: no one number in {_rules()[record]['expr']}")
    return float(found.pop())
