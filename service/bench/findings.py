"""The figures of a run, and as JSON.

asked        the options
interrupted  whether it was cut short
seconds      measured, without the warm-up
operations   by kind: requests, per_second, and seconds until the answer: p50, p90, p99, p999,
             max, and `quantiles`, pairs of a share of the answers and the seconds within
             which it came
updates      increments acknowledged a second (rows of a matrix); numbers: coordinates
errors       requests given up, by status and code; lost: those without an answer,
                 reasons: why, those that were tried again too
retried, unsent, sent_bytes, received_bytes
service      cpu_seconds, cpu (processors), memory_bytes, peak (since it started), written_bytes,
             source: how that is known; null where it is not
generator    cpu_seconds, busiest (share of one processor)
machine      processors, busy
sketches     count, state_bytes, log_bytes
counts       acknowledged and counted increments, agree, differing: names of sketches,
                 uncounted: why the service could not be asked
each_second  by kind: successes in each second
notes        what to keep in mind
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.bench.options import Options
from service.bench.resources import Used
from service.bench.senders import Sent

#: A generator whose busiest process took this share of a processor may have been too slow.
_BUSY: Final = 0.9
_MACHINE_BUSY: Final = 0.95
#: Answers that came by this share of the time after its end make rates look too low.
_LATE: Final = 0.1
#: Fewer answers than this beyond a percentile say little about it.
_FEW: Final = 10
QUANTILES: Final = (0.0, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 1.0)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run found.

    updates: increments acknowledged while measuring. acknowledged, counted: increments of the
    whole run, as the service acknowledged and as it counts them. differing: sketches of which
    the two do not agree. uncounted: why the service could not be asked for its counts, or "".
    """

    sent: Sent
    updates: int
    used: Used
    differing: list[str]
    acknowledged: int
    counted: int
    state_bytes: int
    log_bytes: int
    uncounted: str
    interrupted: bool

    @property
    def agree(self) -> bool:
        """Whether every sketch counts what was acknowledged."""
        return not self.differing

    @property
    def seconds(self) -> float:
        """Measured."""
        return max(1e-9, self.sent.ended - self.sent.started)


def quantiles(findings: Findings, kind: str) -> list[tuple[float, float]]:
    """Shares of the answers, and the seconds within which they came."""
    taken = np.quantile(findings.sent.seconds[kind], QUANTILES)
    return list(zip(QUANTILES, map(float, taken), strict=True))


def notes(options: Options, findings: Findings) -> list[str]:
    """What makes the figures less than they seem."""
    found, sent, used = [], findings.sent, findings.used
    if sent.busiest >= _BUSY:
        found.append(
            f"The generator took {sent.busiest:.0%} of a processor in a process: it may have been "
            "the slower side. Repeat with more --processes, or from another machine."
        )
    if used.source == "processes" and used.busy is not None and used.busy >= _MACHINE_BUSY:
        found.append(
            f"The processors of this machine were {used.busy:.0%} busy, with the generator and all "
            "else: a service with the machine to itself does better."
        )
    if sent.unsent:
        found.append(
            f"{sent.unsent:,} requests of the asked rate found no client free and were not sent: "
            "the service does not keep up, or --clients are too few. The latencies are too low."
        )
    late = findings.seconds - options.seconds
    if late > _LATE * options.seconds:
        found.append(
            f"The last answers came {late:.1f} s after the load had ended: rates and shares are "
            f"those of {findings.seconds:.1f} s, and too low for the load."
        )
    if options.rate is not None:
        found.append("Timers of the generator are a millisecond coarse: a latency holds up to one.")
    few = [
        f"{len(taken):,} {kind}s"
        for kind, taken in sorted(sent.seconds.items(), reverse=True)
        if len(taken) < 1000 * _FEW
    ]
    if few:
        found.append(f"{' and '.join(few)} are too few to say much about a p99.9.")
    return found


def as_json(options: Options, findings: Findings) -> dict[str, Any]:
    """The report; the module's header lists the fields."""
    sent, used = findings.sent, findings.used
    return {
        "asked": _asked(options),
        "interrupted": findings.interrupted,
        "seconds": findings.seconds,
        "operations": {
            kind: _operation(findings, kind) for kind in sorted(sent.seconds, reverse=True)
        },
        "updates": findings.updates / findings.seconds,
        "numbers": findings.updates * numbers_of(options) / findings.seconds,
        "errors": dict(sent.refused),
        "lost": sent.lost,
        "reasons": dict(sent.reasons),
        "retried": sent.retried,
        "unsent": sent.unsent,
        "sent_bytes": sent.sent_bytes,
        "received_bytes": sent.received_bytes,
        "service": None
        if used.cpu is None
        else {
            "cpu_seconds": used.cpu,
            "cpu": used.cpu / used.seconds,
            "memory_bytes": used.memory,
            "peak": used.peak,
            "written_bytes": used.written,
            "source": used.source,
        },
        "generator": {"cpu_seconds": sent.cpu, "busiest": sent.busiest},
        "machine": {"processors": os.cpu_count(), "busy": used.busy},
        "sketches": {
            "count": options.sketches,
            "state_bytes": findings.state_bytes,
            "log_bytes": findings.log_bytes,
        },
        "counts": {
            "acknowledged": findings.acknowledged,
            "counted": findings.counted,
            "agree": findings.agree,
            "differing": findings.differing,
            "uncounted": findings.uncounted,
        },
        "each_second": {
            kind: [done[second] for second in range(max(done) + 1)]
            for kind, done in sent.each_second.items()
        },
        "notes": notes(options, findings),
    }


def numbers_of(options: Options) -> int:
    """Coordinates of one increment."""
    return options.d if options.kind == "matrix" else 1


def _operation(findings: Findings, kind: str) -> dict[str, Any]:
    of = quantiles(findings, kind)
    at = dict(of)
    return {
        "requests": len(findings.sent.seconds[kind]),
        "per_second": len(findings.sent.seconds[kind]) / findings.seconds,
        "p50": at[0.5],
        "p90": at[0.9],
        "p99": at[0.99],
        "p999": at[0.999],
        "max": at[1.0],
        "quantiles": of,
    }


def _asked(options: Options) -> dict[str, Any]:
    """The options, without the secret."""
    found = dataclasses.asdict(options)
    del found["access_key"], found["store"]  # a store's URL may hold a password
    found["url"] = options.url.text if options.url else None
    return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}


def write(path: Path, options: Options, findings: Findings) -> None:
    """Write the JSON."""
    path.write_text(json.dumps(as_json(options, findings), indent=2) + "\n", encoding="utf-8")
