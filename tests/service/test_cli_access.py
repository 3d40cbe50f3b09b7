"""The commands of tenants and keys, in processes of their own, beside a running service."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service import cli, cli_access, cli_access_parser
from service.access_ports import Quota
from tests.service.test_cli import refused, run, serving

KEY = re.compile(r"skd_([0-9a-f]{16})_[A-Za-z0-9_-]{43}\n")


@dataclass
class Done:
    """What a command has printed, and its exit status."""

    status: int
    stdout: str
    stderr: str


class Terminal:
    """Runs commands in this process, where starting one costs a second less."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *arguments: str) -> Done:
        """Any command."""
        try:
            status = cli.main(arguments)
        except SystemExit as wrong:  # a command line that cannot be read
            status = int(str(wrong.code))
        printed = self._capsys.readouterr()
        return Done(status, printed.out, printed.err)

    def do(self, *arguments: str) -> Done:
        """A command that succeeds."""
        found = self.run(*arguments)
        assert found.status == 0, found.stderr
        return found

    def refuse(self, *arguments: str) -> str:
        """The one line with which a command is refused."""
        found = self.run(*arguments)
        assert (found.status, found.stdout) == (1, "")
        assert found.stderr.startswith("sketchd: ")
        assert found.stderr.count("\n") == 1
        return found.stderr


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a file that does not exist yet, in the environment."""
    url = f"sqlite:///{tmp_path / 'access.db'}"
    monkeypatch.setenv("SKETCHD_STORE", url)
    return url


@pytest.fixture
def terminal(store: str, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Commands on that store."""
    return Terminal(capsys)


def test_a_key_is_printed_alone_and_opens_the_door(
    terminal: Terminal, store: str, tmp_path: Path
) -> None:
    made = run("key", "add", "default", "--role", "admin", "--label", "mine", SKETCHD_STORE=store)
    found = KEY.fullmatch(made.stdout)
    assert found, made.stdout
    assert "not shown again" in made.stderr
    assert made.stdout.strip() not in made.stderr
    options = ("--port", "0", "--store", store)
    settings = {"SKETCHD_ACCESS_REFRESH_SECONDS": "0.02"}
    with serving(tmp_path, *options, **settings) as (_, url, _):
        assert httpx.get(f"{url}/v1/sketches").status_code == 401
        who = {"authorization": f"Bearer {made.stdout.strip()}"}
        assert httpx.get(f"{url}/v1/sketches", headers=who).status_code == 200
        terminal.do("key", "rm", found[1], "--force")
        for _ in range(500):
            if httpx.get(f"{url}/v1/sketches", headers=who).status_code == 401:
                break
        else:
            pytest.fail("the removed key still lets in")


def test_tenants_and_keys_by_command(terminal: Terminal) -> None:
    terminal.do("tenant", "add", "acme", "--sketches", "10", "--updates-per-second", "1e6")
    terminal.do("tenant", "set", "acme", "--sketches", "none", "--batch-updates", "7")
    [tenant] = json.loads(terminal.do("tenant", "list", "--json").stdout)["tenants"]
    assert tenant["name"] == "acme"
    assert tenant["quota"] == {
        "sketches": None, "state_bytes": None, "updates_per_second": 1e6,
        "requests_per_second": None, "batch_updates": 7,
    }  # fmt: skip
    made = json.loads(
        terminal.do("key", "add", "acme", "--role", "read", "--expires-in", "1.5", "--json").stdout
    )
    assert KEY.fullmatch(made["key"] + "\n")
    listed = terminal.do("key", "list", "--tenant", "acme")
    assert made["id"] in listed.stdout
    assert made["key"][21:] not in listed.stdout
    [key] = json.loads(terminal.do("key", "list", "--json").stdout)["keys"]
    assert key == {name: value for name, value in made.items() if name != "key"}
    assert "acme" in terminal.do("tenant", "list").stdout
    terminal.do("tenant", "rm", "acme")
    assert json.loads(terminal.do("key", "list", "--json").stdout) == {"keys": []}


def test_what_cannot_be_done_is_one_clear_line(terminal: Terminal) -> None:
    assert "no tenant" in terminal.refuse("key", "add", "nobody", "--role", "read")
    assert "no tenant" in terminal.refuse("tenant", "set", "nobody")
    assert "no tenant" in terminal.refuse("tenant", "rm", "nobody")
    assert "no tenant" in terminal.refuse("key", "list", "--tenant", "nobody")
    assert "no key" in terminal.refuse("key", "rm", "0" * 16)
    assert "tenant: a name is" in terminal.refuse("tenant", "add", "a b")
    assert "state-bytes: must be" in terminal.refuse("tenant", "add", "a", "--state-bytes", "-1")
    assert "updates-per-second: must" in terminal.refuse(
        "tenant", "add", "a", "--updates-per-second", "nan"
    )
    assert "memory://" in terminal.refuse("key", "list", "--store", "memory://")
    assert "SKETCHD_STORE" in terminal.refuse("key", "list", "--store", "ftp://x")
    assert "does not exist" in terminal.refuse("key", "list", "--store", "sqlite:////no/where/x.db")
    terminal.do("tenant", "add", "a")
    assert "tenant set" in terminal.refuse("tenant", "add", "a")
    key = KEY.fullmatch(terminal.do("key", "add", "a", "--role", "admin").stdout)
    assert key
    assert "no other admin key" in terminal.refuse("key", "rm", key[1])
    assert "no other admin key" in terminal.refuse("tenant", "rm", "a")
    assert terminal.run("key", "add", "a", "--role", "root").status == 2
    assert terminal.run("tenant", "add", "b", "--sketches", "1.5").status == 2
    assert terminal.run("tenant").status == 2


def test_a_bootstrap_key_is_demanded_at_once_and_not_shown(tmp_path: Path) -> None:
    text = "a-first-key-from-the-environment-0"
    settings = {"SKETCHD_BOOTSTRAP_ADMIN_KEY": text, "SKETCHD_STORE": "memory://"}
    with serving(tmp_path, "--port", "0", **settings) as (process, url, _):
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
