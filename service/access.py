"""Who a request speaks for: keys, their secrets, and the roles that follow from them.

A key's text is `skd_ID_SECRET`: 16 hex digits that name it, and 32 random bytes in 43
characters of url-safe base64, of which only the SHA-256 is kept. A fast hash is enough for
a secret that nobody can guess. A text of another form, as an operator may choose one for the
first admin key, is its own secret, and the first 16 digits of its SHA-256 are its id.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from service.access_ports import DEFAULT_TENANT, ROLES, AccessKey, Role
from service.directory import CachedDirectory
from service.errors import RoleTooLow, ServiceError, Unauthorized
from service.ports import Clock

_RANKS: Final[dict[Role, int]] = {role: rank for rank, role in enumerate(ROLES)}

_FORM: Final = re.compile(r"skd_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
#: Longer ones are not looked at.
MOST_KEY_CHARACTERS: Final = 512
_NOBODY: Final = AccessKey("", "", "read", hashlib.sha256(b"").digest(), 0.0)
#: One wording for every reason, so that nothing can be learned from it.
_REFUSAL: Final = "a valid key is needed: Authorization: Bearer KEY"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. key_id: None where there are no keys and everybody may do everything."""

    tenant: str
    role: Role
    key_id: str | None

    def may(self, role: Role) -> bool:
        """Whether this role includes the other."""
        return _RANKS[self.role] >= _RANKS[role]

    def check(self, role: Role) -> None:
        """Raises RoleTooLow unless this role includes the other."""
        if not self.may(role):
            raise RoleTooLow(f"the key has the role {self.role}; this needs {role}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a key's text says: which key, and the SHA-256 of the secret."""

    id: str
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key's text, to be shown once and forgotten, and what is stored of it."""

    text: str = field(repr=False)
    credentials: Credentials


def credentials_of(text: str) -> Credentials:
    """What a key's text says, whatever its form. text: printable ASCII."""
    found = _FORM.fullmatch(text)
    if found is not None:
        return Credentials(found[1], hashlib.sha256(found[2].encode()).digest())
    digest = hashlib.sha256(text.encode()).digest()
    return Credentials(digest[:8].hex(), digest)


def new_key() -> NewKey:
    """A key that nobody has."""
    text = f"skd_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"
    return NewKey(text, credentials_of(text))


class Access:
    """Lets requests in. demand_keys: also while there is none, for who is open to a network."""

    def __init__(self, directory: CachedDirectory, clock: Clock, *, demand_keys: bool) -> None:
        self._directory = directory
        self._clock = clock
        self._demand_keys = demand_keys

    def demand_keys(self) -> None:
        """From now on nobody comes in without a key."""
        self._demand_keys = True

    @property
    def keyless(self) -> bool:
        """Whether everybody may do everything: no key has been seen and none is demanded."""
        directory = self._directory
        return directory.loaded and not directory.had_keys and not self._demand_keys

    def admit(self, authorization: str | None) -> Principal:
        """Who an Authorization header (None: absent) stands for.

        Raises Unauthorized, and Unavailable before tenants and keys are known.
        """
        self._directory.check()
        if self.keyless:
            return Principal(DEFAULT_TENANT, "admin", None)
        key = self._find(_bearer(authorization))
        return Principal(key.tenant, key.role, key.id)

    def caller(self, authorization: str | None) -> Principal | ServiceError:
        """As `admit`; the refusal is returned, for who finds out later whether it matters."""
        try:
            return self.admit(authorization)
        except ServiceError as refusal:
            return refusal.with_traceback(None)

    def _find(self, text: str) -> AccessKey:
        """The live key of this text. An unknown id takes the same path as a wrong secret."""
        credentials = credentials_of(text)
        key = self._directory.key(credentials.id)
        known = key if key is not None else _NOBODY
        same = hmac.compare_digest(credentials.digest, known.digest)
        live = known.expires_at is None or self._clock.now() < known.expires_at
        if key is None or not same or not live:
            raise Unauthorized(_REFUSAL)
        return key


def _bearer(authorization: str | None) -> str:
    """The token of an Authorization header. Raises Unauthorized."""
    if authorization is not None and len(authorization) <= MOST_KEY_CHARACTERS:
        scheme, _, token = authorization.partition(" ")
        token = token.strip(" ")
        if scheme.lower() == "bearer" and token.isascii() and token.isprintable():
            return token
    raise Unauthorized(_REFUSAL)
