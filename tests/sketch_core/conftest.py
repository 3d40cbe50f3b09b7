"""Hypothesis without deadlines and stored examples; tests/conftest.py seeds it."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "sketch_core", deadline=None, derandomize=True, database=None, max_examples=20
)
hypothesis.settings.load_profile("sketch_core")
