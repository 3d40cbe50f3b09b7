"""What mkdocs.yml cannot say: decision records in the navigation, and a home without sidebars.

MkDocs calls the functions by their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Put every record under docs/decisions where the navigation says `Decisions: []`."""
    docs = Path(config["docs_dir"])
    records = sorted(path.relative_to(docs).as_posix() for path in docs.glob("decisions/*.md"))
    for section in config["nav"]:
        for entries in section.values():
            if not isinstance(entries, list):
                continue
            for entry in entries:
                if isinstance(entry, dict) and entry.get("Decisions") == []:
                    entry["Decisions"] = records
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Home has no sidebars. Said here: a page's front matter would be text to a code host."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation", "toc"]
    return markdown
