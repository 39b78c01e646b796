"""What files beside a workflow file say of language models: names for them, and prices. :func:`models_beside`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any, Final

from flow.config import files
from flow.errors import ConfigError, FlowError, nearest, shown

PLACES: Final = (("flow.toml", ("ai",)), ("pyproject.toml", ("tool", "flow", "ai")))
"""The files that are looked for, the first that has such a table counts; and the table of each."""

KEYS: Final = ("models", "prices")

_PRICES: Final = ("input_price", "output_price", "cached_price", "cache_write_price")
_OF_MODEL: Final = ("model", *_PRICES, "max_output_tokens", "context")


def models_beside(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Take what ``flow.toml``, or else ``pyproject.toml``, in the folder of a workflow file says of models.

    ::

        [ai]                        # in pyproject.toml: [tool.flow.ai]
        prices = "prices.toml"      # beside it: see flow.ai.prices

        [ai.models]
        fast = "openai:gpt-4.1-mini"
        mine = {model = "ollama:llama3", input_price = 0, output_price = 0}

    The workflow file itself is not read. Without such a table nothing of :mod:`flow.ai` is imported.

    :return: within it the names hold: nodes take their models when they are made. Prices hold from now on, in the
        whole process.
    :raises ConfigError: listing every fault of that file, with its line; or those of the table of prices.
    """
    folder = os.path.dirname(files.name_of(path))
    for file, place in PLACES:
        name = os.path.join(folder, file)
        if os.path.lexists(name):
            what = f"config file {shown(name)}"
            text = files.text_of(name, what)
            table: Any = files.parsed(text, what)
            for key in place:
                table = table.get(key) if isinstance(table, dict) else None
            if table is not None:
                return _taken(table, place, folder, what, files.lines_of(text))
    return nullcontext()


def _taken(
    table: Any, place: files.Keys, folder: str, what: str, lines: Mapping[files.Keys, int]
) -> AbstractContextManager[None]:
    from flow.ai.models import models  # here: few workflows have models
    from flow.ai.prices import prices

    faults: list[tuple[files.Keys, str]] = []
    title = ".".join(place)
    if not isinstance(table, dict):
        faults.append((place, f"{title} must be a table [{title}], not {shown(table)}"))
        table = {}
    unknown = [key for key in table if key not in KEYS]
    for key in unknown:
        text = f"[{title}] has no setting {shown(key)}{nearest(key, KEYS)}; it has {' and '.join(KEYS)}"
        faults.append(((*place, key), text))
    given, names = table.get("models", {}), {}
    if not isinstance(given, dict):
        faults.append(((*place, "models"), f"models must be a table [{title}.models], not {shown(given)}"))
        given = {}
    for name, one in given.items():
        try:
            names[name] = _model(one)
            with models({name: names[name]}):  # which checks the name, too
                pass
        except (FlowError, ValueError) as error:
            told = error.faults if isinstance(error, ConfigError) else [f"{shown(name)}: {error}"]
            faults += [((*place, "models", name), fault) for fault in told]
    table_of_prices = table.get("prices")
    if table_of_prices is not None and not isinstance(table_of_prices, str):
        faults.append(((*place, "prices"), f"prices must be the name of a file, not {shown(table_of_prices)}"))
    if faults:
        raise ConfigError(what, [files.at_line(lines, keys, fault) for keys, fault in faults])
    if table_of_prices is not None:
        prices(os.path.join(folder, table_of_prices))
    return models(names)


def _model(given: Any) -> Any:
    """Return what is named. :raises ValueError: or FlowError, if it is none."""
    from flow.ai.models import Model, resolve

    if not isinstance(given, dict):
        return given
    unknown = [key for key in given if key not in _OF_MODEL]
    if unknown:
        raise ValueError(f"a model has no {shown(unknown[0])}{nearest(unknown[0], _OF_MODEL)}: {', '.join(_OF_MODEL)}")
    if not isinstance(given.get("model"), str):
        raise ValueError('it needs model = "provider:model"')
    base = resolve(given["model"])._given
    fields = {key: value for key, value in given.items() if key != "model"}
    for key in _PRICES:
        if isinstance(fields.get(key), float):  # as it is written
            fields[key] = Decimal(repr(fields[key]))
    return Model(base.provider, base.name, **fields)


__all__ = ["models_beside"]
