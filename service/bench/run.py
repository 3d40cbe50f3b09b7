"""One run: a service, sketches, a load, what came of it, and nothing left behind."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tqdm import tqdm

from service.bench import findings, plot, report
from service.bench.control import Control, Counted, GrpcControl, HttpControl, Refused
from service.bench.findings import Findings
from service.bench.jobs import Job
from service.bench.options import Options, Url
from service.bench.processes import free_port, serve
from service.bench.requests import clients_of, filling, jobs_of, spec_of
from service.bench.resources import Watch
from service.bench.sender_processes import Senders, shared
from service.bench.senders import GRPC, GRPC_STREAM, HTTP, Client, Plan, Sent

#: Attempts of one request that may be tried again.
_ATTEMPTS: Final = 5
_TRANSPORTS: Final = {"json": HTTP, "safetensors": HTTP, "grpc": GRPC, "grpc-stream": GRPC_STREAM}


@dataclass(frozen=True, slots=True)
class Target:
    """The service under load. pids: its processes, where they are on this machine."""

    url: Url
    where: str
    pids: tuple[int, ...] = ()


def run(options: Options) -> int:
    """The command. Returns its exit status; KeyboardInterrupt ends only what comes before."""
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(_target(options))
        control = stack.enter_context(contextlib.closing(_control(options, target.url)))
        prefix = f"bench-{secrets.token_hex(4)}-"
        print(report.heading(options, target.where), flush=True)
        names = [f"{prefix}{at}" for at in range(options.sketches)]
        try:
            found = _measured(options, target, control, prefix, names)
            _tell(options, found)
        finally:
            removed = options.keep or _remove(control, prefix)
    if options.keep:
        print(f"\n  The sketches are left: their names start with {prefix}")
    if found.interrupted:
        return 130
    return 0 if found.agree and found.sent.answered and removed else 1


def _tell(options: Options, found: Findings) -> None:
    """Before the sketches go: whatever becomes of them, the figures are there."""
    print(report.text(options, found), flush=True)
    if options.json:
        findings.write(options.json, options, found)
    if options.plot:
        plot.save(options.plot, options, found)


@contextlib.contextmanager
def _target(options: Options) -> Iterator[Target]:
    """The service at the URL, or one for this run."""
    if options.url is not None:
        yield Target(options.url, options.url.text)
        return
    with tempfile.TemporaryDirectory(prefix="sketchd-bench-") as folder:
        store = options.store or f"sqlite:///{folder}/bench.db"
        grpc_port = free_port() if options.grpc else 0
        shown = "the given store" if options.store else "a temporary SQLite file"
        with serve(
            Path(folder), store, "--grpc-port", str(grpc_port), **options.settings
        ) as server:
            port = grpc_port or server.port
            text = f"{'grpc' if options.grpc else 'http'}://{server.host}:{port}"
            url = Url(text, options.grpc, False, server.host, port)
            yield Target(url, f"{text}, started for this run on {shown}", (server.pid,))


def _control(options: Options, url: Url) -> Control:
    if url.grpc:
        return GrpcControl(url.host, url.port, options.access_key, url.tls, options.ca)
    return HttpControl(url.text, options.access_key, options.ca)


def _measured(
    options: Options, target: Target, control: Control, prefix: str, names: Sequence[str]
) -> Findings:
    spec = spec_of(options)
    for name in tqdm(names, desc="  making sketches", leave=False, disable=None):
        control.create(name, spec)
    jobs = jobs_of(options, names, target.url.host)
    address = target.url.host, target.url.port
    first = _plan(options, target, jobs, filling(options, *address), f"{prefix}f")
    with Senders([first]) as senders:
        senders.go()
        filled = senders.found()
    if filled.refused or filled.lost:
        why = ", ".join([*filled.refused, *filled.reasons])
        raise Refused(f"the first updates were not taken: {why}")
    parts = list(shared(clients_of(options, *address), options.processes))
    plans = [
        _plan(options, target, jobs, part, f"{prefix}{at}", len(parts), at)
        for at, part in enumerate(parts)
    ]
    watch = Watch(_pids(target), control)
    sent, interrupted = _send(options, plans, watch)
    used = watch.used()
    try:
        counted, uncounted = control.counted(prefix), ""
    except Refused as error:  # gone, perhaps: what was measured until then is worth telling
        counted, uncounted = {}, str(error)
    acknowledged = _acknowledged(jobs, [filled.answered, sent.answered, sent.warm])
    return Findings(
        sent=sent,
        updates=sum(jobs[job].updates * many for job, many in sent.answered.items()),
        used=used,
        differing=_differing(names, counted, acknowledged, sent.unsure),
        acknowledged=sum(acknowledged.values()),
        counted=sum(one.updates for one in counted.values()),
        state_bytes=sum(one.state_bytes for one in counted.values()),
        log_bytes=sum(one.log_bytes for one in counted.values()),
        uncounted=uncounted,
        interrupted=interrupted,
    )


def _plan(
    options: Options,
    target: Target,
    jobs: Sequence[Job],
    clients: Sequence[Client],
    keys: str,
    processes: int = 0,
    number: int = 0,
) -> Plan:
    """What one of so many processes sends; 0 for the first updates, each client's once.

    At a rate they take turns: together they are even, and not so many requests at a time.
    """
    return Plan(
        jobs=jobs,
        clients=clients,
        seconds=options.seconds if processes else None,
        transport=_TRANSPORTS[options.form],
        warmup=options.warmup if processes else 0.0,
        rate=options.rate / processes if options.rate and processes else None,
        late=number / options.rate if options.rate else 0.0,
        attempts=_ATTEMPTS,
        keys=keys if options.keys else None,
        timeout=options.timeout,
        shared=options.shared,
        access_key=options.access_key,
        tls=target.url.tls,
        ca=options.ca,
    )


def _send(options: Options, plans: Sequence[Plan], watch: Watch) -> tuple[Sent, bool]:
    """Carry the plans out, and tell how far they are. Returns whether they were cut short too."""
    total = options.warmup + options.seconds
    shown = "{desc} {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} s{postfix}"
    with (
        Senders(plans) as senders,
        tqdm(total=total, desc="  sending", leave=False, disable=None, bar_format=shown) as bar,
    ):
        senders.go()
        begun = time.perf_counter()

        def look(succeeded: int) -> None:
            passed = time.perf_counter() - begun
            if passed >= options.warmup:
                watch.begin()
            bar.set_postfix_str(f"{succeeded / passed:,.0f} requests/s", refresh=False)
            bar.update(min(passed, total) - bar.n)

        try:
            return senders.found(look), False
        except KeyboardInterrupt:
            bar.close()
            print("\n  interrupted: waiting for what is under way", file=sys.stderr)
            senders.stop()
            return senders.found(), True


def _pids(target: Target) -> Sequence[int]:
    """Of the service, where it is on this machine and this user may look."""
    if target.pids:
        return target.pids
    from service.bench.processes import listening_on

    with contextlib.suppress(ValueError, OSError):
        if target.url.host == "localhost" or ipaddress.ip_address(target.url.host).is_loopback:
            return listening_on(target.url.port)
    return ()


def _acknowledged(jobs: Sequence[Job], runs: Sequence[Counter[int]]) -> Counter[int]:
    """Increments by sketch."""
    found: Counter[int] = Counter()
    for answered in runs:
        for job, many in answered.items():
            found[jobs[job].sketch] += jobs[job].updates * many
    return found


def _differing(
    names: Sequence[str],
    counted: dict[str, Counted],
    acknowledged: Counter[int],
    unsure: Counter[int],
) -> list[str]:
    """Sketches that do not count what was acknowledged, and at most the unsure on top."""
    found = []
    for at, name in enumerate(names):
        count = counted[name].updates if name in counted else -1
        if not acknowledged[at] <= count <= acknowledged[at] + unsure[at]:
            found.append(name)
    return found


def _remove(control: Control, prefix: str) -> bool:
    """Remove every sketch of this run, however far it came; returns whether all are gone."""
    try:
        names = list(control.counted(prefix))
        for name in tqdm(names, desc="  removing sketches", leave=False, disable=None):
            control.delete(name)
    except (Refused, KeyboardInterrupt) as error:
        print(f"\n  sketches may be left: their names start with {prefix}", file=sys.stderr)
        if isinstance(error, KeyboardInterrupt):
            raise
        return False
    return True
