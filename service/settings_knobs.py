"""What a setting is: its meaning, unit and range, its variable, and how its text is read."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Final

PREFIX: Final = "SKETCHD_"

#: Shorter ones could be guessed; longer ones are not looked at in a request.
_SECRET_CHARACTERS: Final = (32, 256)


class InvalidSetting(ValueError):
    """A setting that cannot be used; the message names its variable."""


@dataclass(frozen=True, slots=True)
class Knob:
    """What a setting means, its unit, and the inclusive range or the words it may take."""

    meaning: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    words: tuple[str, ...] = ()


def knob(
    default: Any,
    meaning: str,
    unit: str = "",
    low: float = -math.inf,
    high: float = math.inf,
    words: tuple[str, ...] = (),
) -> Any:
    """A field of Settings, as Knob has it."""
    return field(default=default, metadata={"knob": Knob(meaning, unit, low, high, words)})


def byte_count(default: int, meaning: str, low: int = 1) -> Any:
    """A number of bytes."""
    return knob(default, meaning, "bytes", low, 1 << 50)


def seconds(default: float, meaning: str, low: float = 0.0) -> Any:
    """A length of time."""
    return knob(default, meaning, "seconds", low, 1e10)


def secret(meaning: str) -> Any:
    """A text that no message, no repr and no document ever shows; "" for none."""
    return field(default="", repr=False, metadata={"knob": Knob(meaning)})


def count(default: int, meaning: str, low: int = 1, high: int = 1 << 40) -> Any:
    """A number of things."""
    return knob(default, meaning, "", low, high)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def check(name: str, value: object, knob: Knob) -> None:
    """Raise InvalidSetting for a value out of range."""
    if isinstance(value, int | float):
        if not knob.low <= value <= knob.high:
            raise InvalidSetting(
                f"{variable(name)} must be between {knob.low:g} and {knob.high:g}, not {value}"
            )
    elif knob.words and value not in knob.words:
        raise InvalidSetting(f"{variable(name)} must be one of {', '.join(knob.words)}")


def check_secret(name: str, text: str) -> None:
    """Raise InvalidSetting for one too short, or too long; the message never holds the text."""
    low, high = _SECRET_CHARACTERS
    if text and not low <= len(text) <= high:
        raise InvalidSetting(f"{variable(name)} must have {low} to {high} characters")
    if not all("!" <= character <= "~" for character in text):
        raise InvalidSetting(f"{variable(name)} must be printable ASCII without spaces")


def parse(name: str, kind: str, text: str) -> object:
    """The value a text stands for. kind: "str", "int" or "float". Raises InvalidSetting."""
    if kind == "str":
        return text
    number = int if kind == "int" else float
    try:
        value = number(text)
    except ValueError:
        what = "a whole number" if kind == "int" else "a number"
        raise InvalidSetting(f"{variable(name)} must be {what}, not {text!r}") from None
    if not math.isfinite(value):
        raise InvalidSetting(f"{variable(name)} must be finite, not {text!r}")
    return value


def row(name: str, default: object, knob: Knob) -> str:
    """The setting's row of a table in Markdown: variable, default, unit and meaning."""
    meaning = knob.meaning + (f" One of {', '.join(knob.words)}." if knob.words else "")
    shown = f"`{_shown(default)}`" if default != "" else "none"
    return f"| `{variable(name)}` | {shown} | {knob.unit} | {meaning} |"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def document_of(settings: type) -> str:
    """A Markdown page with a row for each field of a class of knobs."""
    lines = [
        "# Settings",
        "",
        "Rendered from `service/settings.py`; a test keeps the two equal. Options of the command",
        "line win over the environment, which wins over the default.",
        "",
        "| variable | default | unit | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for item in dataclasses.fields(settings):
        lines.append(row(item.name, item.default, item.metadata["knob"]))
    return "\n".join(lines) + "\n"
