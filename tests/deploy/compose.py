"""deploy/compose.yaml as a test sees it: parsed, with its variables filled in as compose would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from tests.tidy.tree import ROOT

FOLDER: Final = ROOT / "deploy"
TEXT: Final = (FOLDER / "compose.yaml").read_text("utf-8")
#: Name, and what follows it: ":-default", ":?message" or nothing.
VARIABLE: Final = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")


class NotSet(Exception):
    """A variable that compose would refuse to start without."""


def filled(environ: Mapping[str, str]) -> dict[str, Any]:
    """The file with every variable replaced. Raises NotSet."""

    def value(match: re.Match[str]) -> str:
        name, kind, more = match.groups()
        found = environ.get(name, "")
        if not found and kind == ":?":
            raise NotSet(name)
        return found or (more if kind == ":-" else "")

    found: dict[str, Any] = yaml.safe_load(VARIABLE.sub(value, TEXT))
    return found


def example() -> dict[str, str]:
    """The lines of .env.example that set something, those in comments included."""
    text = (FOLDER / ".env.example").read_text("utf-8")
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, flags=re.MULTILINE))


#: What somebody has to fill in.
SECRETS: Final = dict.fromkeys(
    ("REDIS_PASSWORD", "SKETCHD_BOOTSTRAP_ADMIN_KEY", "GRAFANA_ADMIN_PASSWORD"),
    "0123456789abcdef0123456789abcdef",
)
