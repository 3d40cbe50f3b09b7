"""`python -m tests.screenshots docs/images [NAME …]`: take the documents' pictures again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.screenshots.pictures import PICTURES
from tests.screenshots.take import NoBrowser, take


def main() -> int:
    """Returns the exit status: 1 where no browser is installed."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("names", nargs="*", help="only these; all when absent")
    asked = parser.parse_args()
    unknown = set(asked.names) - {one.name for one in PICTURES}
    if unknown:
        parser.error(f"no such picture: {', '.join(sorted(unknown))}")
    chosen = [one for one in PICTURES if not asked.names or one.name in asked.names]
    try:
        for path in take(chosen, asked.folder):
            print(f"{path}  {path.stat().st_size:,} bytes")
    except NoBrowser as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
