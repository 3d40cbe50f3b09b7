"""The alerts that panels point to: their limits and runbooks, out of Prometheus' rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).parents[1] / "prometheus" / "rules" / "alerts.yml"
#: A comparison with a number, as most alerts end with.
_LIMIT: Final = re.compile(r"(?:[<>]=?|==|!=)\s*(?:bool\s+)?(-?[\d.]+(?:e-?\d+)?)(?![\w.\[])")


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alert. limit: the number its expression compares with. runbook: where to read on."""

    name: str
    limit: float
    runbook: str


@cache
def _rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule for rule in rules}


def alarm(name: str) -> Alarm:
    """An alert of the rules. Raises KeyError where there is none of this name, ValueError where
    it compares with no number, or with several.
    """
    rule = _rules()[name]
    limits = {float(found) for found in _LIMIT.findall(rule["expr"])}
    if len(limits) != 1:
        raise ValueError(f"{name} compares with {sorted(limits)}, not with one number")
    return Alarm(name, limits.pop(), rule["annotations"]["runbook_url"])
