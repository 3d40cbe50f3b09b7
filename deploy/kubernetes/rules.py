"""The rules of deploy/prometheus/rules as a PrometheusRule: `python -m deploy.kubernetes.rules`.

The rules live in the files that Prometheus itself reads; for clusters with its operator this writes
components/prometheus-operator/prometheusrule.yaml from them. A test holds the two equal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import yaml

_HERE: Final = Path(__file__).parent
RULES: Final = _HERE.parent / "prometheus" / "rules"
TARGET: Final = _HERE / "components" / "prometheus-operator" / "prometheusrule.yaml"
_HEAD: Final = """\
# Made from deploy/prometheus/rules by `python -m deploy.kubernetes.rules`; do not edit.
"""
_METADATA: Final = {
    "name": "sketchd",
    "labels": {
        "app.kubernetes.io/name": "sketchd",
        "app.kubernetes.io/component": "monitoring",
        # What kube-prometheus-stack looks for unless it is told to take all.
        "release": "kube-prometheus-stack",
    },
}


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Expressions of several lines stay as they are."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def rendered(folder: Path = RULES) -> str:
    """The manifest: the groups of every file, recording rules first, since alerts read them."""
    files = sorted(folder.glob("*.yml"), key=lambda file: (file.stem != "recording", file.stem))
    if not files:
        raise FileNotFoundError(f"no rules in {folder}")
    groups: list[Any] = []
    for file in files:
        groups += yaml.safe_load(file.read_text("utf-8"))["groups"]
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _METADATA,
        "spec": {"groups": groups},
    }
    text: str = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return _HEAD + text


def main(arguments: list[str]) -> None:
    """Write it, from another folder of rules where one is named."""
    TARGET.write_text(rendered(Path(arguments[0]) if arguments else RULES), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
