"""How many bytes of request bodies are held at once, over all requests.

Each body has a limit of its own, but any number may come at a time. A body counts
from when its length is known, or as its bytes arrive where no length was announced,
until its answer begins. What goes over is refused at once: a body that waited for
room would keep what it has, and the others might wait for just that.

Once bodies of a second tenant have come, each tenant has at most its share, so that
room is left for the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from service.errors import Overloaded

_SCOPE_KEY = "sketchd.body"


class BodiesInFlight:
    """The bytes of bodies now held, at most `limit`; touched on the event loop only.

    One body is taken whatever its size while no other is held: its own limit bounds it.
    share: the part of the limit that one of several tenants may hold; one body of a
    tenant is taken whatever its share, if there is room. changed: told the bytes after
    each change.
    """

    def __init__(
        self, limit: int, share: float = 1.0, *, changed: Callable[[int], None] | None = None
    ) -> None:
        self._limit = limit
        self._share = int(limit * share)
        self._changed = changed
        self._held = 0
        self._of_tenant: Counter[str] = Counter()
        self._first: str | None = None
        self._several = False

    @property
    def held(self) -> int:
        """Bytes of all bodies under way."""
        return self._held

    def begin(self, scope: MutableMapping[str, Any] | None = None) -> BodyInFlight:
        """The body of a request, empty so far. scope: of ASGI, where `of` finds it again."""
        body = BodyInFlight(self)
        if scope is not None:
            scope[_SCOPE_KEY] = body
        return body

    def _grow(self, tenant: str, own: int, more: int) -> None:
        others = self._held - own
        if others and self._held + more > self._limit:
            raise Overloaded(
                f"the bodies of other requests hold {others} of the {self._limit} bytes there are "
                "for all of them"
            )
        self._meet(tenant)
        beside = self._of_tenant[tenant] - own
        if self._several and beside and beside + own + more > self._share:
            raise Overloaded(
                f"the bodies of other requests of the tenant hold {beside} of the {self._share} "
                "bytes there are for one tenant"
            )
        self._change(tenant, more)

    def _meet(self, tenant: str) -> None:
        if self._first is None:
            self._first = tenant
        elif tenant != self._first:
            self._several = True

    def _shrink(self, tenant: str, size: int) -> None:
        self._change(tenant, -size)
        if not self._of_tenant[tenant]:
            del self._of_tenant[tenant]

    def _change(self, tenant: str, size: int) -> None:
        self._held += size
        self._of_tenant[tenant] += size
        if self._changed is not None and size:
            self._changed(self._held)


class BodyInFlight:
    """What one request's body takes of the whole."""

    def __init__(self, bodies: BodiesInFlight) -> None:
        self._bodies = bodies
        self._tenant = ""
        self._size = 0

    def belongs_to(self, tenant: str) -> None:
        """Whose it is; said before any of it is held."""
        self._tenant = tenant

    def reaches(self, size: int) -> None:
        """The body is, or will be, at least `size` bytes. Raises Overloaded."""
        if size > self._size:
            self._bodies._grow(self._tenant, self._size, size - self._size)
            self._size = size

    def release(self) -> None:
        """The body is held no longer. Releasing twice is releasing once."""
        size, self._size = self._size, 0
        self._bodies._shrink(self._tenant, size)


def of(scope: Mapping[str, Any]) -> BodyInFlight:
    """The body of a request that the boundary has let in."""
    body: BodyInFlight = scope[_SCOPE_KEY]
    return body
