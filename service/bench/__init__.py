"""`sketchd bench`: load on a service, as much of it and of the kind that somebody expects.

It speaks to the service as any client does, makes sketches of its own under names that no other
run has, counts what was acknowledged, compares that with what the service counts, and removes
them again.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

#: The extra `demo` by what is in it, since no index has sketchd.
_EXTRA = "matplotlib tqdm"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns 0; 1 when it could not run, nothing succeeded, or a sketch does not count what was
    acknowledged; 2 for a wrong command line; 130 when it was interrupted.
    """
    from service.bench.options import InvalidOption, parse

    try:
        options = parse(arguments)
    except InvalidOption as error:
        print(f"sketchd bench serve: {error}", file=sys.stderr)
        return 2
    try:
        from service.bench.control import Refused
        from service.bench.processes import CannotStart
        from service.bench.run import run
        from service.bench.sender_processes import CannotSend

        if options.plot is not None:
            from service.bench import plot

            plot.check(options.plot)
    except InvalidOption as error:
        print(f"sketchd bench serve: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"the load generator needs {error.name}: pip install {_EXTRA}", file=sys.stderr)
        return 1
    # Whoever ends it politely gets the report and no sketches left behind, too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(options)
    except (CannotStart, CannotSend, Refused, OSError) as error:
        print(f"sketchd bench serve: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"the load generator needs {error.name}: pip install {_EXTRA}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
