"""`python -m docs.reference`: write every made page, or part of one, into docs/."""

from __future__ import annotations

from pathlib import Path

from docs.reference import grpc_page, http_page, sizing_table

DOCS = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write the pages and say which."""
    pages = DOCS / "reference"
    pages.mkdir(exist_ok=True)
    document = http_page.openapi()
    calls = grpc_page.page(grpc_page.descriptor(), http_page.headings(document))
    for file, text in (
        (pages / "http.md", http_page.page(document)),
        (pages / "grpc.md", calls),
        (DOCS / "sizing.md", sizing_table.updated((DOCS / "sizing.md").read_text("utf-8"))),
    ):
        file.write_text(text, "utf-8")
        print(file.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
