"""Store URLs for Redis: what they say, what is refused, and that no password is ever shown."""

from __future__ import annotations

import traceback

import pytest

from service.redis_url import Address, InvalidRedisUrl, Login, Tls, is_redis, parse, shown

SECRET = "hunter2"


def test_one_server() -> None:
    url = parse("redis://db.example:7000/3?prefix=blue")
    assert (url.mode, url.addresses) == ("single", (Address("db.example", 7000),))
    assert (url.database, url.prefix, url.tls, url.login) == (3, "blue", None, Login())


def test_defaults() -> None:
    assert parse("redis://localhost").addresses == (Address("localhost", 6379),)
    assert parse("redis://localhost/").database == 0
    assert parse("redis://localhost").prefix == "sketchd"
    assert parse("redis+sentinel://one/main").addresses == (Address("one", 26379),)
    assert parse("redis://[::1]").addresses == (Address("::1", 6379),)
    assert parse("redis://[::1]:7").addresses == (Address("::1", 7),)


def test_user_and_password_are_percent_decoded() -> None:
    url = parse("redis://ann%40home:p%2Fa%3As%40s@h:1")
    assert url.login == Login("ann@home", "p/a:s@s")
    assert parse(f"redis://:{SECRET}@h").login == Login(None, SECRET)


def test_a_cluster_has_several_addresses() -> None:
    url = parse(f"redis+cluster://u:{SECRET}@a:1,b:2,[::2]:3")
    assert url.mode == "cluster"
    assert url.addresses == (Address("a", 1), Address("b", 2), Address("::2", 3))
    assert parse("redis+cluster://a:1/0").database == 0


def test_sentinels_name_a_master() -> None:
    url = parse(
        f"redis+sentinel://a:1,b:2/4/main?sentinel_user=s&sentinel_password={SECRET}&prefix=x"
    )
    assert (url.mode, url.master, url.database) == ("sentinel", "main", 4)
    assert url.sentinel_login == Login("s", SECRET)
    assert parse("redis+sentinel://a:1/main").database == 0


def test_tls() -> None:
    assert parse("rediss://h").tls == Tls()
    url = parse("rediss+cluster://h?ca=/ca.pem&cert=/c.pem&key=/k.pem&verify=ca")
    assert url.tls == Tls("/ca.pem", "/c.pem", "/k.pem", "ca")
    assert (url.mode, parse("rediss+sentinel://h/m").mode) == ("cluster", "sentinel")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("redis://", "host"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:99999999999999999999", "port"),
        ("redis://h:", "port"),
        ("redis://h:²", "port"),
        ("redis://h:6379x", "port"),
        ("redis://a:1,b:2", "redis+cluster"),
        ("redis://h/x", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/0/1", "database"),
        ("redis+cluster://h/1", "database"),
        ("redis+cluster://h:1,,i:2", "host"),
        ("redis+sentinel://h:1", "name"),
        ("redis+sentinel://h:1/", "name"),
        ("redis+sentinel://h:1/x/main", "database"),
        ("redis+sentinel://h:1/0/main/more", "name"),
        ("redis+sentinel://h:1/ma%20in", "name"),
        ("redis://h?prefix=", "prefix"),
        ("redis://h?prefix=a{b}", "prefix"),
        ("redis://h?prefix=" + "a" * 65, "prefix"),
        ("redis://h?prefix=a&prefix=b", "twice"),
        ("redis://h?timeout=3", "takes prefix"),
        ("redis://h?ca=/x", "ca is"),
        ("redis://h?sentinel_password=" + SECRET, "sentinel_password is"),
        ("rediss://h?verify=maybe", "verify"),
        ("rediss://h?key=/k.pem", "cert"),
        ("redis://h#x", "#"),
        ("redis://user@h", "password"),
        (f"redis://{SECRET}@h", "password"),
        ("redis+unix:///tmp/x", "scheme"),
        ("redis://[::1", "URL"),
    ],
)
def test_what_is_refused_says_why_and_names_the_setting(text: str, word: str) -> None:
    with pytest.raises(InvalidRedisUrl) as refused:
        parse(text)
    assert word in str(refused.value)
    assert "SKETCHD_STORE" in str(refused.value)
    assert SECRET not in str(refused.value)


def said_of(text: str) -> str:
    """What a log would have of a URL, be it taken or refused."""
    try:
        return repr(parse(text))
    except InvalidRedisUrl:
        return traceback.format_exc()


@pytest.mark.parametrize("character", list("/?#@:%[],&=+ \\é"))
@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
def test_no_part_of_a_password_shows_however_wrongly_it_is_written(
    scheme: str, character: str
) -> None:
    left, right = "Xsecret", "Ysecret"
    for who in (f":{left}{character}{right}", f"user:{left}{character}{right}"):
        for text in (f"{scheme}://{who}@host:6379/main", f"{scheme}://{who}@[bad:6379"):
            assert "secret" not in shown(text)
            assert "secret" not in said_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"redis://ann:{SECRET}@h:1/2", "redis://ann:***@h:1/2"),
        (f"redis://:{SECRET}@h:1", "redis://:***@h:1"),
        ("redis://h:1", "redis://h:1"),
        ("rediss://h:1?verify=none&prefix=p&ca=/a/b", "rediss://h:1?prefix=p&ca=/a/b&verify=none"),
        (
            f"redis+sentinel://a:1,b:2/1/main?sentinel_password={SECRET}",
            "redis+sentinel://a:1,b:2/1/main?sentinel_password=***",
        ),
        (f"postgres://ann:{SECRET}@h/db", "postgres://***@h/db"),
        ("sqlite:////data/@home/x.db", "sqlite:////data/@home/x.db"),
        ("memory://", "memory://"),
        ("anything", "anything"),
    ],
)
def test_shown(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_what_is_shown_says_the_same_but_for_the_password() -> None:
    for text in ("rediss+cluster://[::1]:1,b:2?cert=/c&key=/k", "redis+sentinel://a:1/3/m"):
        assert parse(str(parse(text))) == parse(text)


def test_which_urls_are_meant_for_redis() -> None:
    assert is_redis("redis://")
    assert is_redis("rediss+cluster://x")
    assert not is_redis("sqlite:///redis")
    assert not is_redis("redis")
