"""``flow keys``: what stands on which stream, exit codes, and that the keys work."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import click
import pytest
from click.testing import CliRunner, Result

from flow.cli.commands import Guard
from flow.cli.keys import SCOPES, keys
from flow.http import keys as held

pytestmark = pytest.mark.usefixtures("own_folder")


@click.group(cls=Guard)
def cli() -> None: ...


cli.add_command(keys)


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, ["keys", *args])


def test_a_key_stands_alone_on_stdout_and_works() -> None:
    result = call("add", "ci")
    assert result.exit_code == 0, result.stderr
    text = result.stdout.removesuffix("\n")
    found = held.Keys.open("flow-keys.json").verify(text)
    assert found is not None
    assert (found.name, found.scope) == ("ci", "run")
    assert "shown once" in result.stderr
    assert text not in result.stderr


@pytest.mark.parametrize("scope", SCOPES)
def test_scope_and_file(scope: str) -> None:
    result = call("add", "a", "--scope", scope, "--file" if scope == "run" else "--keys", "other.json")
    found = held.Keys.open("other.json").verify(result.stdout.strip())
    assert found is not None
    assert found.scope == scope
    assert not os.path.exists("flow-keys.json")


def test_the_scopes_are_those_of_the_service() -> None:
    assert SCOPES == held.SCOPES


def test_list_and_remove() -> None:
    secret = call("add", "one", "--scope", "read").stdout.strip().split("_", 2)[2]
    call("add", "another")
    table = call("list").stdout
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["id", "name", "scope", "created"]
    assert [line[1:3] for line in lines[1:]] == [["one", "read"], ["another", "run"]]
    rows = json.loads(call("list", "--json").stdout)["keys"]
    assert [list(row.values()) for row in rows] == lines[1:]
    assert secret not in table
    removed = call("remove", "one")
    assert (removed.exit_code, removed.stdout) == (0, f"removed: one ({lines[1][0]})\n")
    assert call("remove", lines[2][0]).exit_code == 0
    empty = call("list")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "there is no key in flow-keys.json\n")
    assert json.loads(call("list", "--json").stdout) == {"keys": []}


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://flow.example/base/"])
def test_a_link_opens_once(url: str) -> None:
    call("add", "a")
    result = call("link", "--url", url)
    assert result.exit_code == 0, result.stderr
    found = urlsplit(result.stdout.strip())
    assert result.stdout.startswith(url.rstrip("/") + "/login?token=")
    service = held.Keys.open("flow-keys.json")
    session = service.redeem(parse_qs(found.query)["token"][0])
    assert session is not None
    key = service.session(session)
    assert key is not None
    assert key.scope == "read"
    ended = call("end-sessions")
    assert (ended.exit_code, ended.stdout) == (0, "ended: all sessions and links\n")
    assert held.Keys.open("flow-keys.json").session(session) is None


def test_links_read_by_default() -> None:
    call("add", "a")
    result = call("link")
    assert result.stdout.startswith("http://127.0.0.1:8080/login?token=")
    assert ".read." in result.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("add", "../x"), "the name '../x' is none"),
        (("add", "a"), "Error: there is a key 'a' already: remove it first"),
        (("add", "b", "--scope", "root"), "'root' is not one of"),
        (("remove", "aa"), "there is no key 'aa'"),
        (
            ("list", "--file", "none.json"),
            "Error: there is no file of keys 'none.json': `flow keys add NAME --file none.json` makes it",
        ),
        (("remove", "a", "--keys", "none.json"), "there is no file of keys"),
        (("link", "--file", "none here.json"), "`flow keys add NAME --file 'none here.json'` makes it"),
        (("add", "b", "--file", "no/folder.json"), "cannot be locked"),
        (("link", "--url", "javascript:x"), "--url must be"),
        (("link", "--url", "http://h/?x=1"), "--url must be"),
    ],
)
def test_refused(args: tuple[str, ...], said: str) -> None:
    call("add", "a")
    result = call(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("none.json").exists()


def test_a_key_that_nobody_saw_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: str) -> None:
        raise click.ClickException("standard output cannot be written: it is full")

    monkeypatch.setattr("flow.cli.keys.say", full)
    assert call("add", "a").exit_code == 1
    assert held.Keys.open("flow-keys.json").list() == []


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes of files")
def test_a_file_that_others_can_read_is_refused() -> None:
    call("add", "a")
    os.chmod("flow-keys.json", 0o644)
    for args in (["list"], ["add", "b"], ["link"]):
        result = call(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "chmod 600" in result.stderr
