"""What sync and async clients share: their settings, and when they may be used."""

from __future__ import annotations

import os
import warnings

from service.client import addresses
from service.client.addresses import Tls
from service.client.retry import Retry


class Connection:
    """A client's address and settings; used until closed, in the process that made it."""

    # With slots tracemalloc knows where an instance was made; without, in Python 3.11, it does not.
    __slots__ = ("__weakref__", "_address", "_closed", "_key", "_process", "_retry", "_timeout")

    def __init__(
        self, url: str, key: str | None, timeout: float, retry: Retry, tls: Tls | None
    ) -> None:
        self._closed = True  # until it is whole: what fails below is not left open
        self._address = addresses.parse(url)
        self._key = addresses.checked_key(key)
        if tls is not None and not self._address.encrypted:
            raise ValueError(f"tls: is for https:// and grpcs://, not {self._address.scheme}://")
        self._timeout = checked_timeout(timeout)
        if not isinstance(retry, Retry):
            raise TypeError(f"retry: must be a Retry, is {type(retry).__name__}")
        self._retry = retry
        self._process = os.getpid()

    def __repr__(self) -> str:
        state = " (closed)" if self._closed else ""
        return f"<{type(self).__name__} of {self._address}{state}>"

    @property
    def url(self) -> str:
        """Where the service is."""
        return str(self._address)

    def _seconds(self, timeout: float | None) -> float:
        """The timeout of one call. Raises RuntimeError where the client cannot be used."""
        self._check()
        return self._timeout if timeout is None else checked_timeout(timeout)

    def _check(self) -> None:
        """Raise RuntimeError where the client cannot be used."""
        if self._closed:
            raise RuntimeError(f"{self!r} cannot be used any more")
        if self._process != os.getpid():
            raise RuntimeError(
                f"{self!r} was made before this process was forked, and shares its connections "
                "with the parent: make another one here"
            )

    def _warn_unclosed(self) -> bool:
        """Whether it was left open. tracemalloc, if on, lets Python say where it was made."""
        if getattr(self, "_closed", True) or self._process != os.getpid():
            return False
        warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        return True


def checked_timeout(timeout: float) -> float:
    """Seconds. Raises ValueError for what is not above 0."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout: must be a number of seconds, is {type(timeout).__name__}")
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout: must be above 0 and finite, is {timeout}")
    return float(timeout)
