"""Keys, roles and the cached directory, without a transport."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable

import pytest

from service import app as composition
from service.access import Access, Principal, credentials_of, new_key
from service.access_admin import Administration
from service.access_ports import ROLES, AccessKey, Directory, Quota, Tenant
from service.directory import CachedDirectory
from service.errors import Conflict, RoleTooLow, StoreUnavailable, Unauthorized, Unavailable
from service.settings import InvalidSetting, Settings, markdown, read
from service.store_memory import MemoryStore
from service.store_memory_access import MemoryAccess
from tests.contract.changes import ManualClock

BOOTSTRAP = "a-key-for-the-first-admin-of-all-of-them"


class Rig:
    """Everything of one replica, over a store that others may share."""

    def __init__(self, store: MemoryAccess | None = None, bootstrap: str = "") -> None:
        self.clock = ManualClock()
        self.store = store if store is not None else MemoryAccess(self.clock)
        self.sketches = MemoryStore(self.clock)
        settings = Settings(bootstrap_admin_key=bootstrap)
        self.directory = CachedDirectory(self.store, 0.01)
        self.access = Access(self.directory, self.clock, demand_keys=bool(bootstrap))
        self.administration = Administration(self.sketches, self.store, settings, self.clock)

    async def key(self, role: str = "admin", tenant: str = "default", **more: float) -> str:
        """The text of a new key that this replica knows."""
        issued = await self.administration.add_key(tenant, role, **more)  # type: ignore[arg-type]
        await self.directory.refresh()
        return issued.text

    def admit(self, text: str | None) -> Principal:
        """Who a key's text lets in."""
        return self.access.admit(None if text is None else f"Bearer {text}")


def test_a_key_has_its_form_and_shows_its_secret_to_nobody() -> None:
    made = new_key()
    assert re.fullmatch(r"skd_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", made.text)
    assert made.text[4:20] == made.credentials.id
    assert made.credentials.digest == hashlib.sha256(made.text[21:].encode()).digest()
    assert made.text != new_key().text
    assert made.text[21:] not in repr(made)
    assert str(made.credentials.digest) not in repr(made)
    stored = AccessKey("0" * 16, "a", "read", made.credentials.digest, 0.0)
    assert str(made.credentials.digest) not in repr(stored)


def test_a_text_of_another_form_is_its_own_secret() -> None:
    digest = hashlib.sha256(BOOTSTRAP.encode()).digest()
    found = credentials_of(BOOTSTRAP)
    assert (found.id, found.digest) == (digest.hex()[:16], digest)


def test_each_role_includes_those_before_it() -> None:
    for at, role in enumerate(ROLES):
        principal = Principal("a", role, None)
        assert [principal.may(other) for other in ROLES] == [other <= at for other in range(3)]
    with pytest.raises(RoleTooLow, match="read; this needs write"):
        Principal("a", "read", None).check("write")


async def test_without_keys_everybody_is_the_admin_of_default() -> None:
    rig = Rig()
    await rig.directory.refresh()
    assert rig.access.keyless
    assert rig.admit(None) == Principal("default", "admin", None)


async def test_a_key_lets_in_and_nothing_else_does() -> None:
    rig = Rig()
    text = await rig.key("write")
    assert not rig.access.keyless
    assert rig.admit(text) == Principal("default", "write", text[4:20])
    other = new_key().text
    wrong = [
        None, "", other, text[:-1], text + "x", text[:21] + other[21:], other[:21] + text[21:],
        text.upper(), "skd_" + "0" * 16 + "_", "ü" * 60, "x" * 10_000, text + " " + text,
    ]  # fmt: skip
    said = set()
    for one in wrong:
        with pytest.raises(Unauthorized) as refused:
            rig.admit(one)
        said.add((refused.value.detail, refused.value.code, refused.value.pointer))
    for header in (text, f"Basic {text}", f"Bearer{text}", f"Bearer\t{text}"):
        with pytest.raises(Unauthorized) as refused:
            rig.access.admit(header)
        said.add((refused.value.detail, refused.value.code, refused.value.pointer))
    assert len(said) == 1
    assert rig.access.admit(f"bearer  {text} ").role == "write"


async def test_a_key_expires() -> None:
    rig = Rig()
    text = await rig.key(expires_in_seconds=60.0)
    rig.clock.advance(59.9)
    rig.admit(text)
    rig.clock.advance(0.1)
    with pytest.raises(Unauthorized):
        rig.admit(text)
    assert not rig.access.keyless


async def test_who_has_lost_all_keys_is_not_open_again() -> None:
    rig = Rig()
    text = await rig.key()
    await rig.administration.remove_key(text[4:20], force=True)
    await rig.directory.refresh()
    with pytest.raises(Unauthorized):
        rig.admit(None)
    with pytest.raises(Unauthorized):
        rig.admit(text)


class Away(MemoryAccess):
    """A store that can be told to fail, and counts how often all of it is read."""

    down = False
    asked = 0
    read = 0

    async def directory(self, version: str | None) -> Directory | None:
        """As MemoryAccess, or StoreUnavailable."""
        self.asked += 1
        if self.down:
            raise StoreUnavailable("gone")
        found = await super().directory(version)
        self.read += found is not None
        return found


async def until(seen: Callable[[], object]) -> None:
    """Return when `seen()`; fail after ten seconds."""
    async with asyncio.timeout(10):
        while not seen():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.002)


async def test_before_the_first_load_nobody_comes_in(caplog: pytest.LogCaptureFixture) -> None:
    store = Away(ManualClock())
    store.down = True
    rig = Rig(store)
    await rig.directory.start()
    open_at_first = rig.access.keyless
    assert not open_at_first
    with pytest.raises(Unavailable) as refused:
        rig.admit(None)
    assert refused.value.code == "not_ready"
    store.down = False
    await until(lambda: rig.directory.loaded)
    assert rig.access.keyless
    await rig.directory.stop()
    assert [one.levelno for one in caplog.records].count(logging.WARNING) == 1


async def test_a_replica_is_not_ready_before_it_knows_the_keys() -> None:
    clock = ManualClock()
    store = Away(clock)
    store.down = True
    settings = Settings(store="memory://", access_refresh_seconds=0.01)
    runtime = composition.build(settings, clock=clock, store=MemoryStore(clock), access=store)
    await runtime.start()
    with pytest.raises(Unavailable) as refused:
        await runtime.health.check()
    assert refused.value.code == "not_ready"
    store.down = False
    await until(lambda: runtime.directory.loaded)
    await runtime.health.check()
    await runtime.stop()


async def test_a_store_that_is_away_keeps_known_keys_in_and_unknown_ones_out() -> None:
    store = Away(ManualClock())
    rig = Rig(store)
    await rig.directory.start()
    text = await rig.key("read")
    await store.put_tenant(Tenant("slow", 0.0, Quota(sketches=3)), new=True)
    await until(lambda: rig.directory.tenant("slow"))
    read = store.read
    store.down = True
    asked = store.asked
    await until(lambda: store.asked >= asked + 3)
    assert rig.admit(text).role == "read"
    assert rig.directory.quota("slow") == Quota(sketches=3)
    assert rig.directory.quota("nobody") == Quota()
    with pytest.raises(Unauthorized):
        rig.admit(None)
    store.down = False
    asked = store.asked
    await until(lambda: store.asked >= asked + 3)
    assert store.read == read  # nothing has changed, so only the version was asked for
    await store.remove_key(text[4:20])
    await until(lambda: rig.directory.key(text[4:20]) is None)
    await rig.directory.stop()


class TestBootstrap:
    async def test_adds_the_first_admin_key_once(self) -> None:
        first = Rig(bootstrap=BOOTSTRAP)
        second = Rig(first.store, bootstrap=BOOTSTRAP)
        await asyncio.gather(first.administration.bootstrap(), second.administration.bootstrap())
        await second.administration.bootstrap()
        [key] = await first.administration.keys()
        assert (key.tenant, key.role) == ("default", "admin")
        await second.directory.refresh()
        assert second.admit(BOOTSTRAP) == Principal("default", "admin", key.id)

    async def test_demands_keys_even_before_it_is_there(self) -> None:
        rig = Rig(bootstrap=BOOTSTRAP)
        await rig.directory.refresh()
        with pytest.raises(Unauthorized):
            rig.admit(None)

    async def test_a_removed_one_stays_away_while_another_admin_key_exists(self) -> None:
        rig = Rig(bootstrap=BOOTSTRAP)
        await rig.administration.bootstrap()
        await rig.key("admin")
        await rig.administration.remove_key(credentials_of(BOOTSTRAP).id, force=False)
        await rig.administration.bootstrap()
        await rig.directory.refresh()
        with pytest.raises(Unauthorized):
            rig.admit(BOOTSTRAP)

    async def test_keys_of_lower_roles_do_not_keep_it_away(self) -> None:
        rig = Rig(bootstrap=BOOTSTRAP)
        await rig.key("write")
        await rig.administration.bootstrap()
        await rig.directory.refresh()
        assert rig.admit(BOOTSTRAP).role == "admin"

    async def test_a_text_in_our_form_is_a_key_like_any_other(self) -> None:
        made = new_key()
        rig = Rig(bootstrap=made.text)
        await rig.administration.bootstrap()
        await rig.directory.refresh()
        assert rig.admit(made.text).key_id == made.credentials.id

    def test_the_text_is_checked_and_never_shown(self) -> None:
        for wrong in ("short", "has a space " * 4, "ü" * 40, "x" * 257):
            with pytest.raises(InvalidSetting) as refused:
                read({"SKETCHD_BOOTSTRAP_ADMIN_KEY": wrong})
            assert "SKETCHD_BOOTSTRAP_ADMIN_KEY" in str(refused.value)
            assert wrong not in str(refused.value)
        assert BOOTSTRAP not in repr(read({"SKETCHD_BOOTSTRAP_ADMIN_KEY": BOOTSTRAP}))
        assert "BOOTSTRAP_ADMIN_KEY` | none |" in markdown()


class TestTheLastAdminKey:
    async def test_is_kept_unless_forced(self) -> None:
        rig = Rig()
        text = await rig.key("admin")
        await rig.key("write")
        with pytest.raises(Conflict) as refused:
            await rig.administration.remove_key(text[4:20], force=False)
        assert refused.value.code == "last_admin_key"
        with pytest.raises(Conflict):
            await rig.administration.remove_tenant("default", force=False)
        rig.admit(text)
        await rig.administration.remove_key(text[4:20], force=True)

    async def test_one_that_has_expired_is_no_other(self) -> None:
        rig = Rig()
        text = await rig.key("admin")
        await rig.key("admin", expires_in_seconds=5.0)
        rig.clock.advance(6)
        with pytest.raises(Conflict):
            await rig.administration.remove_key(text[4:20], force=False)


async def test_limits_of_the_directory() -> None:
    clock = ManualClock()
    settings = Settings(max_tenants=1, max_access_keys=1)
    administration = Administration(MemoryStore(clock), MemoryAccess(clock), settings, clock)
    await administration.add_tenant("one", Quota())
    with pytest.raises(Conflict) as refused:
        await administration.add_tenant("two", Quota())
    assert refused.value.code == "too_many_tenants"
    await administration.add_key("one", "read")
    with pytest.raises(Conflict) as refused:
        await administration.add_key("one", "read")
    assert refused.value.code == "too_many_keys"
