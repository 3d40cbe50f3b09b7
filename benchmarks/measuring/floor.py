"""An HTTP service that takes a body and says so: what uvicorn alone costs.

    python -m benchmarks.measuring.floor

Prints its address on standard error when it is ready, as the service does.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from service import cli_ports, cli_serve

_ANSWER = b'{"accepted":0,"version":"0"}'
#: What a sample of 16 takes as JSON, more or less.
SAMPLE_BYTES = 1600
_SAMPLE = b"x" * SAMPLE_BYTES


async def take(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, keep nothing, answer as an update is answered, or a sample."""
    assert scope["type"] == "http"
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    answer = _SAMPLE if scope["path"].endswith("/samples") else _ANSWER
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def main() -> None:
    """Serve until a signal."""
    cli_serve.share_the_processor()
    listening = cli_ports.bind("127.0.0.1", 0)
    config = uvicorn.Config(
        take, http="httptools", ws="none", lifespan="off", log_config=None,
        access_log=False, server_header=False,
    )  # fmt: skip
    # The kernel queues whoever connects before the loop runs.
    host, port = listening.getsockname()[:2]
    print(f"ready: http://{host}:{port}", file=sys.stderr, flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
