"""Commands for authors of workflow files: ``flow new``, ``flow convert``, ``flow schema``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from flow import files
from flow.cli import options as given
from flow.cli.starter import starter
from flow.cli.target import TargetError
from flow.cli.terminal import say, say_json, tell
from flow.cli.workflow import ENDINGS
from flow.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}", re.ASCII)
_MAX_SOURCE: Final = 4 * 2**20


@click.command()
@given.debug_option
def schema() -> None:
    """Print the JSON Schema of workflow files, for editors and validators."""
    from flow.spec.json_schema import schema as made

    say_json(msgspec.json.format(msgspec.json.encode(made()), indent=2))


@click.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("."), help="Where to.  [default: here]")
@given.debug_option
def new(name: str, folder: Path) -> None:
    """Write a workflow file NAME.yaml to start from, its Python module, and flow.toml with what it may call.

    Nothing that is there is overwritten.
    """
    if not _NAME.fullmatch(name):
        wanted = "a letter first, then letters, digits, '_' and '-', at most 100; its file is NAME.yaml"
        raise click.BadParameter(f"{name!r} is no name: {wanted}", param_hint="NAME")
    if not folder.is_dir():
        raise TargetError(f"there is no folder {str(folder)!r}")
    module = f"{name.replace('-', '_').lower()}_steps"
    made = {str(folder / file): text for file, text in starter(name, module).items()}
    settings = str(folder / "flow.toml")
    kept = os.path.lexists(settings)
    if kept:
        del made[settings]
    _create(made)
    if kept:
        _tell_what_to_allow(str(folder / f"{name}.yaml"), settings, module)
    say(*(f"written: {file}" for file in made), f"run it: flow run {folder / name}.yaml")


def _tell_what_to_allow(workflow: str, settings: str, module: str) -> None:
    from flow.spec.called.beside import allowed_beside

    pattern = f"{module}:*"
    try:
        allowed = allowed_beside(workflow).allows(f"{module}:letter")
    except ConfigError:
        allowed = False
    if not allowed:
        how = f"put {pattern!r} into allow = [...] of its table [spec], or say --allow {pattern!r}"
        tell(f"{settings} is there already: {how}")


def _create(texts: Mapping[str, str]) -> None:
    """Write files that are not there yet, all or none. :raises TargetError: if one is there, or cannot be written."""
    there = [file for file in texts if os.path.lexists(file)]
    if there:
        raise TargetError(f"{' and '.join(map(repr, there))} would be overwritten: take another name or folder")
    done: list[str] = []
    for file, text in texts.items():
        try:
            with open(file, "x", encoding="utf-8", newline="\n") as opened:
                done.append(file)
                opened.write(text)
        except OSError as error:
            for written in done:
                os.unlink(written)
            raise TargetError(f"{file!r} cannot be written: {error.strerror or error}") from error


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE.yaml", help="Write it, and what it needs.")
@click.option("--module", metavar="NAME", help="The Python module of its actions.  [default: of the file's name]")
@given.debug_option
def convert(file: Path, output: Path | None, module: str | None) -> None:
    """Convert a workflow of StackStorm's Orquesta, or of Attune, into a workflow file.

    It is printed, or written with a Python module that has a function for each action, and with the files of its loops.
    What could not be converted is told line by line on standard error.
    """
    if output is not None and output.suffix.lower() not in ENDINGS:
        raise click.BadParameter(f"{str(output)!r} does not end in {' or '.join(ENDINGS)}", param_hint="--output")
    try:
        source = files.read(str(file), _MAX_SOURCE).decode("utf-8")
    except OSError as error:
        raise TargetError(f"{str(file)!r} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TargetError(f"{str(file)!r} cannot be read: it is not UTF-8 text") from error
    from flow.spec.converting import convert as converted

    name = _plain(file.stem if output is None else output.stem)
    module = module or f"{name.lower()}_actions"
    made = converted(source, name=name, module=module)
    if output is None:
        say(made.text.rstrip("\n"))
    else:
        folder = output.parent
        texts = {str(output): made.text, str(folder.joinpath(*module.split("."))) + ".py": made.module}
        texts |= {str(folder / inner): text for inner, text in made.files.items()}
        _create(texts)
        say(*(f"written: {written}" for written in texts))
    tell(*(f"{file}:{note}" for note in made.notes))
    if output is not None:
        tell(f"run it: flow run {output} --allow {module}:*")
    if made.files and output is None:
        tell(f"not printed: {', '.join(made.files)}; --output writes all files")


def _plain(stem: str) -> str:
    """Return a name for a workflow and its module."""
    name = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_")
    return name if name[:1].isalpha() else f"workflow_{name}".rstrip("_")


__all__ = ["convert", "new", "schema"]
