"""Hostile requests over the whole HTTP surface: none is a 5xx, none is half applied."""

from __future__ import annotations

import time

import pytest

from tests.hostile.campaigns import CAMPAIGNS
from tests.hostile.ledger import Ledger

FEW = 60
MANY = 2000
#: What the long run must at least send.
LEAST = 10_000


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_few_hostile_requests(ledger: Ledger, campaign: str, seed: int) -> None:
    before = ledger.requests
    CAMPAIGNS[campaign](ledger, FEW, seed)
    ledger.check_all()
    assert ledger.requests - before >= FEW


@pytest.mark.long
def test_ten_thousand_hostile_requests(ledger: Ledger, seed: int) -> None:
    for name, campaign in CAMPAIGNS.items():
        before, started = ledger.requests, time.monotonic()
        campaign(ledger, MANY, seed)
        ledger.check_all()
        print(f"{name}: {ledger.requests - before} in {time.monotonic() - started:.0f} s")
    print(f"{ledger.requests} hostile requests, answered {sorted(ledger.answers.items())}")
    print(f"refused as {sorted(ledger.codes.items())}")
    assert ledger.requests >= LEAST
