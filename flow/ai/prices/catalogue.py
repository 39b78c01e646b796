"""The prices that the package genai-prices brings along, read into :class:`Rates`.

Importing it takes some 0.3 s of CPU, and up to a second where nothing is in the machine's caches: it happens when the
first price is asked for that neither a :class:`flow.ai.Model` nor the user's table says. Nothing is fetched: what is
read is the data within the installed package, or what the program itself has put in its place
(``genai_prices.data_snapshot.set_custom_snapshot``).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from flow.ai.prices.rates import Rates, Tier
from flow.errors import Hints, UsageError
from flow.usage import EXACT

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

LISTED_AS: Final[Mapping[str, str]] = {"gemini": "google", "moonshot": "moonshotai", "xai": "x-ai"}
"""Providers whose name in the data is not that of :mod:`flow.ai`."""

_READ: Final[Mapping[str, str]] = {
    "input": "input_mtok", "output": "output_mtok", "cached": "cache_read_mtok", "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}  # fmt: skip
"""The prices that are read, by their name in :class:`Rates`."""

_ASIDE: Final = {
    "cache_write_1h_mtok", "web_searches_kcount", "storage_searches_kcount",  # for what a program asks for by itself
    "input_audio_mtok", "cache_audio_read_mtok",  # no request of ours has sound
}  # fmt: skip
"""Prices that are left out. A model that has any other, as for the images that it makes, has none here: what it costs
cannot be told from its tokens."""

_REQUESTS: Final = "requests_kcount"
"""The price of 1,000 requests."""

CHOICES: Final = ("service_tier", "speed")
"""Options of a request by which providers ask for other prices."""

Price = Any
"""A Decimal, or genai_prices' TieredPrices."""


class Listed:
    """A model in the data.

    :ivar context: tokens of its context window; None if that is not known.
    """

    __slots__ = ("_free", "_info", "_own", "_read", "context")

    def __init__(self, provider: Provider, info: ModelInfo) -> None:
        self.context: int | None = info.context_window
        self._info = info
        self._own = any(info is one for one in provider.models)
        self._free = provider.id == "openrouter" and info.id.endswith(":free")
        self._read: dict[int, tuple[Any, Rates | None]] = {}

    def rates(self, when: datetime, options: Mapping[str, Any] | None = None) -> Rates | None:
        """Return the rates at a time; None if the data has none, or if tokens alone do not say what it costs.

        They are read once for each price that the model has had. O(changes of its price).

        :param when: with a time zone. Some prices begin at a date, a few hold for some hours of the day (UTC).
        :param options: of a request: those in :data:`CHOICES` may choose other prices.
        """
        chosen = {k: v for k in CHOICES if isinstance(v := (options or {}).get(k), str)}
        if chosen and self._own and self._info.price_variants:
            return _rates(self._info.get_prices(when, chosen), self._free)
        prices = self._info.get_prices(when) if self._info.prices else None
        found = self._read.get(id(prices))
        if found is None:  # the object is kept, so that its id stays its own
            found = self._read[id(prices)] = prices, None if prices is None else _rates(prices, self._free)
        return found[1]


def _rates(prices: ModelPrice, free: bool) -> Rates | None:
    """Read prices. Tokens read from or written to a cache that has no price of its own cost what input costs."""
    said: dict[str, Price] = {key: price for key, price in vars(prices).items() if price is not None}
    if not said and free:
        return Rates(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
    if "input_mtok" not in said or said.keys() - {*_READ.values(), _REQUESTS} - _ASIDE:
        return None
    starts = sorted({tier.start for price in said.values() for tier in getattr(price, "tiers", ())})
    request = EXACT.scaleb(said[_REQUESTS], -3) if _REQUESTS in said else Decimal(0)
    tiers = tuple(Tier(start, **_at(said, start + 1)) for start in starts)
    return Rates(**_at(said, 0), request=request, tiers=tiers)


def _at(said: Mapping[str, Price], input_tokens: int) -> dict[str, Decimal | None]:
    """Return the prices of a request with so many input tokens."""
    found: dict[str, Decimal | None] = {}
    for name, key in _READ.items():
        price = said.get(key)
        for tier in reversed(getattr(price, "tiers", ())):
            if input_tokens > tier.start:
                found[name] = tier.price
                break
        else:
            found[name] = getattr(price, "base", price)
    for name in ("cached", "cache_write"):
        if found[name] is None:
            found[name] = found["input"]
    return found


_LISTED: Final[dict[tuple[str, str], Listed | None]] = {}
_LOCK: Final = Lock()

MOST_KEPT: Final = 10_000
"""Names of models whose prices are kept; a program that asks for more of them has them read again."""


def listed(provider: str, model: str) -> Listed | None:
    """Return what the data says of a model; None if it has no such provider or model.

    The first call imports the data. A name is looked for once; to find it takes some 0.1 ms.

    :param provider: its name in :mod:`flow.ai`, or in the data: no part of either is taken for it.
    :raises UsageError: if genai-prices is not installed.
    """
    key = provider, model
    with _LOCK:
        if key not in _LISTED:
            if len(_LISTED) >= MOST_KEPT:
                _LISTED.clear()
            _LISTED[key] = _found(provider, model)
        return _LISTED[key]


def is_loaded() -> bool:
    """Tell whether the data is imported, or cannot be: until then :func:`listed` takes long."""
    return "genai_prices.data" in sys.modules or _missing


def _found(provider: str, model: str) -> Listed | None:
    everyone = _providers()
    one = _provider(provider, everyone)
    info = None if one is None else one.find_model(model, all_providers=everyone)
    return None if one is None or info is None else Listed(one, info)


def _provider(name: str, everyone: list[Provider]) -> Provider | None:
    wanted = LISTED_AS.get(name, name)
    return next((one for one in everyone if one.id == wanted), None)


def nearest_listed(provider: str, model: str) -> str:
    """Return a hint for a model that the data does not have, as :func:`flow.errors.nearest` words it."""
    one = _provider(provider, _providers())
    return "" if one is None else Hints().nearest(model, [info.id for info in one.models])


_missing = False
"""Whether genai-prices was looked for, and is not installed."""


def _providers() -> list[Provider]:
    global _missing
    try:
        from genai_prices.data_snapshot import get_snapshot  # here: see the module
    except ImportError:
        _missing = True
        text = "prices of models need genai-prices: pip install 'flow-dag[ai]', or give the Model its own prices"
        raise UsageError(text) from None
    return get_snapshot().providers


__all__ = ["CHOICES", "Listed", "is_loaded", "listed", "nearest_listed"]
