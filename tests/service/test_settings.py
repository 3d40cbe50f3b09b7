"""Settings: precedence, clear refusals, and documentation that matches the code."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from service import settings
from service.settings import InvalidSetting, Settings, read

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def test_documentation_is_what_the_fields_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == settings.markdown()


def test_every_field_has_a_meaning_that_ends_in_a_full_stop() -> None:
    for item in dataclasses.fields(Settings):
        assert item.metadata["knob"].meaning.endswith("."), item.name


def test_command_line_wins_over_environment_over_default() -> None:
    environ = {"SKETCHD_PORT": "9001", "SKETCHD_POOL_THREADS": "3", "HOME": "/nowhere"}
    found = read(environ, {"port": 9002, "host": None})
    assert (found.port, found.pool_threads, found.host) == (9002, 3, "127.0.0.1")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SKETCHD_PORT", "http"),
        ("SKETCHD_PORT", "70000"),
        ("SKETCHD_PORT", "1.5"),
        ("SKETCHD_DRAIN_SECONDS", "nan"),
        ("SKETCHD_DRAIN_SECONDS", "-1"),
        ("SKETCHD_LOG_LEVEL", "loud"),
        ("SKETCHD_IDEMPOTENCY_RETENTION_SECONDS", "599"),
        ("SKETCHD_POOL_THREADS", "0"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, text: str) -> None:
    with pytest.raises(InvalidSetting, match=variable):
        read({variable: text})


def test_a_ttl_range_that_is_empty_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="SKETCHD_MIN_TTL_SECONDS"):
        read({"SKETCHD_MIN_TTL_SECONDS": "60", "SKETCHD_MAX_TTL_SECONDS": "30"})


def test_an_unknown_override_is_refused_and_an_unknown_variable_reported() -> None:
    with pytest.raises(InvalidSetting, match="colour"):
        read({}, {"colour": "blue"})
    environ = {"SKETCHD_MAX_BODY_BITES": "1", "SKETCHD_PORT": "1", "PATH": "/bin"}
    assert settings.unrecognised(environ) == ["SKETCHD_MAX_BODY_BITES"]


def test_compaction_starts_about_the_state_size_between_its_bounds() -> None:
    some = Settings(compact_min_bytes=1000, compact_ratio=1.0, max_log_bytes=100_000)
    assert some.compact_trigger(10) == 1000
    assert some.compact_trigger(5000) == 5000
    assert some.compact_trigger(10**9) == 50_000
