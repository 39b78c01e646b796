"""The commands ``flow keys ...``: who may use a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from flow.cli import options as given
from flow.cli.terminal import say, say_json, tell
from flow.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow.http.keys import Keys

    F = TypeVar("F", bound=Callable[..., Any])

FILE: Final = "flow-keys.json"
"""The file of keys where no other is named."""

SCOPES: Final = ("read", "run", "admin")
"""As flow.http.keys.SCOPES, which takes a store to import."""


def file_option(command: F) -> F:
    """Add ``--file``, which is ``--keys`` as well, as in ``flow serve``."""
    return click.option(
        "--file", "--keys", "file", default=FILE, show_default=True, metavar="FILE",
        help="The file of keys, for its owner alone.",
    )(command)  # fmt: skip


def scope_option(default: str) -> Callable[[F], F]:
    """Add ``--scope``."""
    return click.option(
        "--scope", type=click.Choice(SCOPES), default=default, show_default=True,
        help="What it allows; each includes those before it.",
    )  # fmt: skip


def opened(file: str, create: bool = False) -> Keys:
    """Open the file of keys.

    :raises ConfigError: if it is faulty. :raises UsageError: if there is none, unless ``create``.
    """
    from flow.http.keys import Keys

    return Keys.open(file, create=create)


@click.group()
def keys() -> None:
    """Make, list and remove keys of a service, and links to its page.

    A service takes them by `flow serve TARGET --keys FILE`. One that runs sees changes within about a second.
    """


@keys.command()
@click.argument("name")
@scope_option("run")
@file_option
@given.debug_option
def add(name: str, scope: str, file: str) -> None:
    """Make a key for NAME, and print it, this once: the file holds only its hash."""
    held = opened(file, create=True)
    text = held.add(name, scope)
    try:
        say(text)
    except Exception:  # nobody has seen it
        held.remove(name)
        raise
    tell(f"This key is shown once: {file} holds only its hash. It allows {scope}; send it as Authorization: Bearer KEY")


@keys.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")
@file_option
@given.debug_option
def list_keys(as_json: bool, file: str) -> None:
    """List the keys: ids, names, scopes, and when they were made."""
    rows = [(key.id, key.name, key.scope, key.created) for key in opened(file).list()]
    names = ("id", "name", "scope", "created")
    if as_json:
        found = [dict(zip(names, row, strict=True)) for row in rows]
        say_json(msgspec.json.format(msgspec.json.encode({"keys": found}), indent=2))
        return
    if not rows:
        tell(f"there is no key in {file}")
        return
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    say(*["  ".join(map(str.ljust, row, widths)).rstrip() for row in (names, *rows)])


@keys.command()
@click.argument("key", metavar="NAME|ID")
@file_option
@given.debug_option
def remove(key: str, file: str) -> None:
    """Remove a key. Sessions of the page that a link has begun go on until they end."""
    gone = opened(file).remove(key)
    say(f"removed: {gone.name} ({gone.id})")


@keys.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, metavar="URL", help="Of the service.")
@file_option
@given.debug_option
def link(url: str, file: str) -> None:
    """Print a link to the page of a service. It can be opened once, within ten minutes."""
    if not url.startswith(("http://", "https://")) or "?" in url or "#" in url:
        raise click.UsageError(f"--url must be http://... or https://... without ? and #, not {shown(url)}")
    say(f"{url.rstrip('/')}/login?token={opened(file).link_token()}")


@keys.command(name="end-sessions")
@file_option
@given.debug_option
def end_sessions(file: str) -> None:
    """End all sessions of the page, and the links that have not been opened."""
    opened(file).end_sessions()
    say("ended: all sessions and links")


__all__ = ["keys"]
