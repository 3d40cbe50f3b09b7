"""What a Redis store URL says, and how to show one without its password.

    redis://[user:password@]host[:port][/database]
    redis+cluster://[user:password@]host[:port],host[:port]
    redis+sentinel://[user:password@]host[:port],host[:port][/database]/NAME

and the same with `rediss` for TLS. User and password are percent-decoded.
After a `?`: prefix (of every key), with TLS ca, cert, key (paths) and verify
(full, ca or none), and for sentinels that want a password of their own
sentinel_user and sentinel_password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

Mode = Literal["single", "cluster", "sentinel"]
Verify = Literal["full", "ca", "none"]

DEFAULT_PREFIX: Final = "sketchd"

_MODES: Final[dict[str, tuple[Mode, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
}
_PORTS: Final[dict[Mode, int]] = {"single": 6379, "cluster": 6379, "sentinel": 26379}
_TLS: Final = frozenset({"ca", "cert", "key", "verify"})
_SENTINEL: Final = frozenset({"sentinel_user", "sentinel_password"})
_VERIFY: Final[dict[str, Verify]] = {"full": "full", "ca": "ca", "none": "none"}
_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MASTER: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+")
_MAX_DATABASE: Final = 1 << 20
_ENCODE: Final = "; a password with reserved characters must be percent-encoded"


class InvalidRedisUrl(ValueError):
    """A store URL that cannot be used. The message names SKETCHD_STORE and holds no secret."""

    def __init__(self, what: str) -> None:
        super().__init__(f"SKETCHD_STORE: {what}")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """What a server is told first; neither for one that asks for nothing."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """ca: file of the certificates to trust, the system's without one. cert, key: our own files.

    verify: the chain and the host name (full), the chain alone (ca), or nothing (none).
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: Verify = "full"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A store URL, taken apart.

    addresses: the server, or members of the cluster, or the sentinels. master: the name the
    sentinels know it by. prefix: how every key begins.
    """

    mode: Mode
    addresses: tuple[Address, ...]
    login: Login = Login()
    database: int = 0
    master: str = ""
    tls: Tls | None = None
    prefix: str = DEFAULT_PREFIX
    sentinel_login: Login = Login()

    @property
    def scheme(self) -> str:
        """As it was written."""
        wanted = (self.mode, self.tls is not None)
        return next(scheme for scheme, found in _MODES.items() if found == wanted)

    def __str__(self) -> str:
        """Without passwords."""
        who = f"{quote(self.login.user or '')}:***@" if self.login.password else ""
        path = f"/{self.database}" if self.database else ""
        path += f"/{self.master}" if self.master else ""
        tls = self.tls or Tls()
        query = {
            "prefix": self.prefix if self.prefix != DEFAULT_PREFIX else None,
            "ca": tls.ca,
            "cert": tls.cert,
            "key": tls.key,
            "verify": tls.verify if tls.verify != "full" else None,
            "sentinel_user": self.sentinel_login.user,
            "sentinel_password": "***" if self.sentinel_login.password else None,
        }
        asked = urlencode({name: value for name, value in query.items() if value}, safe="*/")
        where = ",".join(map(str, self.addresses))
        return f"{self.scheme}://{who}{where}{path}" + (f"?{asked}" if asked else "")


def is_redis(text: str) -> bool:
    """Whether this store URL is meant for Redis, be it right or wrong."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in _MODES


def parse(text: str) -> RedisUrl:
    """Take a URL apart. Raises InvalidRedisUrl."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidRedisUrl(f"not a URL{_ENCODE}") from None
    if parts.scheme not in _MODES:
        raise InvalidRedisUrl(f"the scheme is none of {', '.join(_MODES)}")
    if parts.fragment:
        raise InvalidRedisUrl(f"a '#' has no meaning here{_ENCODE}")
    mode, with_tls = _MODES[parts.scheme]
    who, _, where = parts.netloc.rpartition("@")
    database, master = _path(mode, parts)
    query = _query(parts.query, mode, with_tls)
    return RedisUrl(
        mode=mode,
        addresses=_addresses(where, mode),
        login=_login(who),
        database=database,
        master=master,
        tls=_tls(query) if with_tls else None,
        prefix=_prefix(query),
        sentinel_login=Login(
            query.get("sentinel_user") or None, query.get("sentinel_password") or None
        ),
    )


def _login(who: str) -> Login:
    user, _, password = who.partition(":")
    if who and not password:
        raise InvalidRedisUrl("a user needs a password: user:password@ or :password@")
    return Login(unquote(user) or None, unquote(password) or None)


def _addresses(where: str, mode: Mode) -> tuple[Address, ...]:
    written = where.split(",")
    if mode == "single" and len(written) > 1:
        raise InvalidRedisUrl(
            "several hosts need redis+cluster:// or redis+sentinel:// in place of redis://"
        )
    return tuple(_address(one, _PORTS[mode]) for one in written)


def _address(text: str, default: int) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):  # no port, or the colons of an IPv6 address
        host, port = text, str(default)
    if not _HOST.fullmatch(host):
        raise InvalidRedisUrl(f"a host is missing or has characters no host name has{_ENCODE}")
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise InvalidRedisUrl(f"a port is a whole number from 1 to 65535{_ENCODE}")
    return Address(host.strip("[]"), int(port))


def _path(mode: Mode, parts: SplitResult) -> tuple[int, str]:
    pieces = [unquote(piece) for piece in parts.path.split("/")[1:]]
    if pieces == [""]:  # a lone slash at the end
        pieces = []
    master = ""
    if mode == "sentinel":
        if not pieces or not _MASTER.fullmatch(pieces[-1]) or (len(pieces) > 2):
            raise InvalidRedisUrl(
                "redis+sentinel:// ends with the master's name: /NAME or /DATABASE/NAME"
            )
        master = pieces.pop()
    if len(pieces) > 1:
        raise InvalidRedisUrl("at most a database follows the host, as in /0")
    if not pieces:
        return 0, master
    text = pieces[0]
    if not (text.isascii() and text.isdigit() and int(text[:8]) < _MAX_DATABASE):
        raise InvalidRedisUrl(f"a database is a whole number, as in /0{_ENCODE}")
    if mode == "cluster" and int(text):
        raise InvalidRedisUrl("a cluster has database 0 and no other")
    return int(text), master


def _query(text: str, mode: Mode, with_tls: bool) -> dict[str, str]:
    known = (
        {"prefix"} | (_TLS if with_tls else set()) | (_SENTINEL if mode == "sentinel" else set())
    )
    query: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in query:
            raise InvalidRedisUrl(f"{name} is given twice")
        if name not in known:
            # Not named unless it is one of ours: it may be the rest of a password.
            which = f"{name} is" if name in _TLS | _SENTINEL else "there is"
            raise InvalidRedisUrl(
                f"{which} a parameter this URL does not take; it takes {', '.join(sorted(known))}"
            )
        query[name] = value
    return query


def _prefix(query: dict[str, str]) -> str:
    prefix = query.get("prefix", DEFAULT_PREFIX)
    if not _PREFIX.fullmatch(prefix):
        raise InvalidRedisUrl("prefix is 1 to 64 letters, digits, dots, dashes or underscores")
    return prefix


def _tls(query: dict[str, str]) -> Tls:
    verify = _VERIFY.get(query.get("verify", "full"))
    if verify is None:
        raise InvalidRedisUrl(f"verify is one of {', '.join(_VERIFY)}")
    if query.get("key") and not query.get("cert"):
        raise InvalidRedisUrl("key needs cert")
    return Tls(query.get("ca") or None, query.get("cert") or None, query.get("key") or None, verify)


def shown(text: str) -> str:
    """A store URL for a person: every password, and whatever might be one, is `***`."""
    if is_redis(text):
        try:
            return str(parse(text))
        except InvalidRedisUrl:
            pass
    scheme, separator, rest = text.partition("://")
    if not separator or scheme == "sqlite":
        return text
    # It may be wrong because a password was not encoded: hide all that could belong to one.
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    return scheme + separator + re.sub(r"(password=)[^&]*", r"\1***", rest)
