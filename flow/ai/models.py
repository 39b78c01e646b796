"""Models by name: :class:`Model`, :func:`models` that names some, :func:`resolve` that says what a name stands for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from threading import Lock
from types import TracebackType
from typing import Any, Final, TypeAlias

import msgspec

from flow.ai.errors import UnknownModel
from flow.ai.known import URLS, check_prefix, provider_of
from flow.ai.prices import Rates, price_of, table_entry
from flow.ai.prices.catalogue import CHOICES, Listed, is_loaded, listed, nearest_listed
from flow.ai.prices.table import Entry
from flow.ai.provider import Provider
from flow.ai.tokens import TokenCounter, counter_of
from flow.config.fields import is_int
from flow.errors import ConfigError, Hints, UsageError, a_kind, nearest, shown

Price: TypeAlias = str | int | Decimal | None
"""USD per million tokens. No float: it holds no exact price."""

_PRICES: Final = ("input_price", "output_price", "cached_price", "cache_write_price")
_COUNTS: Final = ("max_output_tokens", "context")


class Model(msgspec.Struct, frozen=True):
    """A model, and what is known of it.

    :param provider: a known prefix (``openai``), or a provider.
    :param name: by the provider's name of it.
    :param input_price: USD per million tokens, as text, an int or a Decimal; None leaves all prices to the table of
        :func:`flow.ai.prices` and to the data of genai-prices. :param output_price: likewise; both or neither.
    :param cached_price: of tokens read from the provider's cache. None: what input costs.
    :param cache_write_price: of tokens written to it. None: not known, and so is the cost of a request that has some.
    :param max_output_tokens: the most that it writes in one answer: budgets reserve it for requests that set no limit.
    :param context: tokens of its context window. :param tokens: what counts for it. None: by its name.
    :raises ConfigError: listing all that is wrong.
    """

    provider: str | Provider
    name: str
    input_price: Price = None
    output_price: Price = None
    cached_price: Price = None
    cache_write_price: Price = None
    max_output_tokens: int | None = None
    context: int | None = None
    tokens: TokenCounter | None = None

    def __post_init__(self) -> None:
        faults = [*_provider_faults(self.provider)]
        if not isinstance(self.name, str) or not self.name.strip():
            faults.append(f"name must be the name of a model, not {shown(self.name)}")
        for field in _PRICES:
            try:
                given = getattr(self, field)
                if given is not None:
                    msgspec.structs.force_setattr(self, field, price_of(given))
            except ValueError as error:
                faults.append(f"{field}: {error}")
        if any(getattr(self, field) is not None for field in _PRICES):
            missing = [field for field in _PRICES[:2] if getattr(self, field) is None]
            faults += [f"{field} is missing: one price needs the other, '0' is free" for field in missing]
        for field in _COUNTS:
            count = getattr(self, field)
            if count is not None and (not is_int(count) or count < 1):
                faults.append(f"{field} must be a number of tokens of at least 1, not {shown(count)}")
        if self.tokens is not None and not isinstance(self.tokens, TokenCounter):
            faults.append(f"tokens must have the methods count and count_text, and {a_kind(self.tokens)} has not")
        if faults:
            raise ConfigError("Model", faults)

    @property
    def rates(self) -> Rates | None:
        """Its own prices; None if it has none."""
        if self.input_price is None:
            return None
        prices: list[Any] = [getattr(self, field) for field in _PRICES]
        return Rates(*prices)


def _provider_faults(provider: object) -> list[str]:
    if isinstance(provider, str):
        if provider in URLS:
            return []
        return [f"there is no provider {shown(provider)}{nearest(provider.lower(), URLS)}; there are {', '.join(URLS)}"]
    if all(hasattr(provider, name) for name in ("name", "complete", "stream")):
        return []
    return [f"provider must be a prefix, as 'openai', or a provider, not {a_kind(provider)}"]


class Resolved:
    """A model as a request takes it. What it has to load, it loads when it is asked for.

    :ivar name: by the provider's name of it. :ivar label: ``openai:gpt-4.1-mini``.
    """

    __slots__ = ("_given", "_rates", "label", "name", "provider_name")

    def __init__(self, given: Model) -> None:
        self._given = given
        self._rates = given.rates
        self.name = given.name
        self.provider_name = given.provider if isinstance(given.provider, str) else given.provider.name
        self.label = f"{self.provider_name}:{given.name}"

    @property
    def provider(self) -> Provider:
        """What answers requests; that of a prefix is one object for all its models."""
        given = self._given.provider
        return provider_of(given) if isinstance(given, str) else given

    @property
    def counter(self) -> TokenCounter:
        """What counts tokens before a request."""
        return self._given.tokens or _counter(self.name)

    @property
    def rates(self) -> Rates | None:
        """What it costs now; None if that is not known. See :meth:`rates_for`."""
        return self.rates_for({})

    def rates_for(self, options: Mapping[str, Any]) -> Rates | None:
        """Return what a request costs that goes out now; None if that is not known.

        Some prices change at a date or by the hour of the day: what reserves and settles one request takes this once.
        Where genai-prices is to be asked, the first call imports it (:meth:`prepare`); where that is not installed, the
        price is not known.

        :param options: of the request. ``service_tier`` and ``speed`` may have other prices, where genai-prices has
            them; prices of one's own are for all requests.
        """
        own = self._own()
        if own is not None:
            return own
        found = self._listed()
        return None if found is None else found.rates(datetime.now(UTC), options)

    def needed_rates(self) -> Rates:
        """As :attr:`rates`.

        :raises UnknownModel: if they are not known: saying what to do, and the nearest name that has a price.
        """
        found = self.rates
        if found is None:
            do = "give them to ai.Model(input_price=..., output_price=...), or by a table to ai.prices(...)"
            raise UnknownModel(f"{self.unpriced()}: {do}")
        return found

    def unpriced(self) -> str:
        """Say that its prices are not known, with the nearest name that has some."""
        try:
            close = nearest_listed(self.provider_name, self.name)
        except UsageError as error:
            close = f" ({error})"
        return f"the prices of {self.label!r} are not known{close}"

    @property
    def context(self) -> int | None:
        """Tokens of its context window, by the Model, the table of the process, or genai-prices; None if not known."""
        entry = self._entry()
        found = self._given.context or (None if entry is None else entry.context)
        if found is None and (data := self._listed()) is not None:
            found = data.context
        return found

    @property
    def max_output_tokens(self) -> int | None:
        """The most tokens of an answer, by the Model or the table of the process; None if neither says it."""
        entry = self._entry()
        return self._given.max_output_tokens or (None if entry is None else entry.max_output_tokens)

    @property
    def is_priced(self) -> bool:
        """Whether :attr:`rates` has nothing to import."""
        return is_loaded() or self._own() is not None

    def prepare(self, counting: bool = True) -> None:
        """Load what prices and counts need, so that the first request does not wait for it. From any thread.

        :param counting: False leaves out what counts.
        """
        _ = self.rates
        load = getattr(self.counter, "prepare", None)
        if counting and load is not None:
            load()

    def _own(self) -> Rates | None:
        if self._rates is not None:
            return self._rates
        entry = self._entry()
        return None if entry is None else entry.rates

    def _entry(self) -> Entry | None:
        return table_entry(self.label)

    def _listed(self) -> Listed | None:
        try:
            return listed(self.provider_name, self.name)
        except UsageError:  # it is not installed
            return None

    def __repr__(self) -> str:
        return f"<Resolved {self.label}>"


@lru_cache(1_000)
def _counter(name: str) -> TokenCounter:
    return counter_of(name)


async def prepared(*models: Resolved, counting: bool = True) -> None:
    """Have all models ready for requests: prices and vocabularies are loaded in a worker thread, where they are not.

    To call it for what is ready costs less than a microsecond each.
    """
    for model in models:
        if not model.is_priced or (counting and not getattr(model.counter, "ready", True)):
            from anyio import to_thread  # here: once per model

            await to_thread.run_sync(model.prepare, counting)


class Names:
    """Takes the names back that :func:`models` has given, where a ``with`` ends; without one they stay."""

    __slots__ = ("_before",)

    def __init__(self, before: Mapping[str, Model]) -> None:
        self._before = before

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        global _names
        with _NAMING:
            _names = self._before


_names: Mapping[str, Model] = {}
"""Never changed, but replaced: who reads it needs no lock."""

_NAMING: Final = Lock()


def models(names: Mapping[str, Model | str]) -> Names:
    """Name models for this process: ``ai.models({"fast": "openai:gpt-4.1-mini"})``, then ``model="fast"``.

    A name that is there already stands for the new model from now on. ``with ai.models(...):`` has the names until its
    end, and then those that there were before: for tests, say, with a model that answers from a script.

    :param names: by name, which has no colon, a :class:`Model` or ``provider:name``.
    :raises ConfigError: listing all that is wrong; no name is taken then.
    """
    global _names
    if not isinstance(names, Mapping):
        raise UsageError(f"models takes a mapping, {{'fast': 'openai:gpt-4.1-mini'}}, not {a_kind(names)}")
    found: dict[str, Model] = {}
    faults = []
    for name, given in names.items():
        if not isinstance(name, str) or not name.strip() or ":" in name:
            faults.append(f"{shown(name)} is no name: it must be a text without a colon")
        elif not isinstance(given, Model) and not (isinstance(given, str) and ":" in given):
            faults.append(f"{shown(name)} must be a Model or 'provider:name', not {shown(given)}")
        else:
            try:
                found[name] = _model_of(given)
            except UnknownModel as error:
                faults.append(f"{shown(name)} is {error}")
    if faults:
        raise ConfigError("models", faults)
    with _NAMING:
        before = Names(_names)
        _names = {**_names, **found}
    return before


def resolve(model: str | Model) -> Resolved:
    """Return what a model stands for. Nothing is loaded, and no provider is made. A few microseconds.

    :param model: ``provider:name``, a name of :func:`models`, or a :class:`Model`.
    :raises UnknownModel: for a name or a provider that there is not, with the nearest right one.
    :raises UsageError: for anything else.
    """
    if not isinstance(model, (str, Model)):
        raise UsageError(f"model must be 'provider:name', a name of ai.models, or an ai.Model, not {a_kind(model)}")
    return Resolved(_model_of(model))


def _model_of(model: str | Model) -> Model:
    if isinstance(model, Model):
        return model
    named = _names.get(model)
    if named is not None:
        return named
    prefix, colon, name = model.partition(":")
    if not colon:
        raise UnknownModel(f"no model is called {shown(model)}{_meant(model)}: {_FORMS}")
    check_prefix(prefix, model)
    if not name.strip():
        raise UnknownModel(f"{shown(model)} has no name after its provider: {_FORMS}")
    return Model(prefix, name)


_FORMS: Final = "write 'provider:name', as 'openai:gpt-4.1-mini', or a name that ai.models({...}) has given"

_MAKERS: Final = (("gpt", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"), ("claude", "anthropic"))


def _meant(name: str) -> str:
    """Return a hint for a name without a provider."""
    for beginning, prefix in _MAKERS:
        if name.startswith(beginning):
            return f" (did you mean '{prefix}:{name}'?)"
    return Hints().nearest(name, _names)


__all__ = ["CHOICES", "Model", "Names", "Resolved", "models", "prepared", "resolve"]
