"""The commands of tenants and keys, in processes of their own, beside a running service."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from service import cli_access, cli_access_parser
from service.access_ports import Quota
from tests.service.test_cli import refused, run, serving

KEY = re.compile(r"skd_([0-9a-f]{16})_[A-Za-z0-9_-]{43}\n")


def done(store: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that succeeds."""
    found = run(*arguments, SKETCHD_STORE=store)
    assert found.returncode == 0, found.stderr
    return found


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The URL of a file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'access.db'}"


def test_a_key_is_printed_alone_and_opens_the_door(store: str, tmp_path: Path) -> None:
    made = done(store, "key", "add", "default", "--role", "admin", "--label", "mine")
    found = KEY.fullmatch(made.stdout)
    assert found, made.stdout
    assert "not shown again" in made.stderr
    assert made.stdout.strip() not in made.stderr
    options = ("--port", "0", "--store", store)
    settings = {"SKETCHD_ACCESS_REFRESH_SECONDS": "0.02"}
    # Some key exists, so that an address for everybody may be bound.
    with serving(tmp_path, "--host", "0.0.0.0", *options, **settings) as (_, url, _):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/v1/sketches").status_code == 401
        who = {"authorization": f"Bearer {made.stdout.strip()}"}
        assert httpx.get(f"{url}/v1/sketches", headers=who).status_code == 200
        done(store, "key", "rm", found[1], "--force")
        for _ in range(500):
            if httpx.get(f"{url}/v1/sketches", headers=who).status_code == 401:
                break
        else:
            pytest.fail("the removed key still lets in")


def test_tenants_and_keys_by_command(store: str) -> None:
    done(store, "tenant", "add", "acme", "--sketches", "10", "--updates-per-second", "1e6")
    done(store, "tenant", "set", "acme", "--sketches", "none", "--batch-updates", "7")
    [tenant] = json.loads(done(store, "tenant", "list", "--json").stdout)["tenants"]
    assert tenant["name"] == "acme"
    assert tenant["quota"] == {
        "sketches": None, "state_bytes": None, "updates_per_second": 1e6,
        "requests_per_second": None, "batch_updates": 7,
    }  # fmt: skip
    made = json.loads(
        done(store, "key", "add", "acme", "--role", "read", "--expires-in", "1.5", "--json").stdout
    )
    assert KEY.fullmatch(made["key"] + "\n")
    listed = done(store, "key", "list", "--tenant", "acme")
    assert made["id"] in listed.stdout
    assert made["key"][21:] not in listed.stdout
    [key] = json.loads(done(store, "key", "list", "--json").stdout)["keys"]
    assert key == {name: value for name, value in made.items() if name != "key"}
    assert "acme" in done(store, "tenant", "list").stdout
    done(store, "tenant", "rm", "acme")
    assert json.loads(done(store, "key", "list", "--json").stdout) == {"keys": []}


def test_what_cannot_be_done_is_one_clear_line(store: str) -> None:
    here = {"SKETCHD_STORE": store}
    assert "no tenant" in refused("key", "add", "nobody", "--role", "read", **here)
    assert "no tenant" in refused("tenant", "set", "nobody", **here)
    assert "no tenant" in refused("tenant", "rm", "nobody", **here)
    assert "no tenant" in refused("key", "list", "--tenant", "nobody", **here)
    assert "no key" in refused("key", "rm", "0" * 16, **here)
    assert "tenant: a name is" in refused("tenant", "add", "a b", **here)
    assert "state-bytes: must be" in refused("tenant", "add", "a", "--state-bytes", "-1", **here)
    assert "updates-per-second: must" in refused(
        "tenant", "add", "a", "--updates-per-second", "nan", **here
    )
    assert "memory://" in refused("key", "list", "--store", "memory://")
    assert "SKETCHD_STORE" in refused("key", "list", "--store", "ftp://x")
    assert "does not exist" in refused("key", "list", "--store", "sqlite:////no/where/x.db")
    done(store, "tenant", "add", "a")
    assert "tenant set" in refused("tenant", "add", "a", **here)
    key = KEY.fullmatch(done(store, "key", "add", "a", "--role", "admin").stdout)
    assert key
    assert "no other admin key" in refused("key", "rm", key[1], **here)
    assert "no other admin key" in refused("tenant", "rm", "a", **here)
    assert run("key", "add", "a", "--role", "root", **here).returncode == 2
    assert run("tenant", "add", "b", "--sketches", "1.5", **here).returncode == 2
    assert run("tenant", **here).returncode == 2


def test_a_bootstrap_key_opens_every_address_and_is_not_shown(tmp_path: Path) -> None:
    text = "a-first-key-from-the-environment-0"
    settings = {"SKETCHD_BOOTSTRAP_ADMIN_KEY": text, "SKETCHD_STORE": "memory://"}
    with serving(tmp_path, "--host", "0.0.0.0", "--port", "0", **settings) as (process, url, _):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/v1/sketches").status_code == 401
        who = {"authorization": f"Bearer {text}"}
        assert httpx.get(f"{url}/v1/admin/keys", headers=who).status_code == 200
        process.terminate()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert text not in process.stderr.read()
    short = refused("serve", "--port", "0", SKETCHD_BOOTSTRAP_ADMIN_KEY="secret-but-short")
    assert "SKETCHD_BOOTSTRAP_ADMIN_KEY must have" in short
    assert "secret-but-short" not in short


def test_options_are_the_fields_of_a_quota() -> None:
    assert list(cli_access_parser.LIMITS) == list(Quota.__dataclass_fields__)
    assert len(cli_access.ACTS) == 7
