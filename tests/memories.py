"""Memories of one's own, as a user of ``flow.DataConfig(memory=...)`` would write them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, MutableMapping
from typing import Any


class Values(MutableMapping[str, Any]):
    """Objects by key, without a ``copy``. It takes it that whoever asks has exact strings for keys."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        assert type(key) is str
        return self.kept[key]

    def __setitem__(self, key: str, value: Any) -> None:
        assert type(key) is str
        self.kept[key] = value

    def __delitem__(self, key: str) -> None:
        assert type(key) is str
        del self.kept[key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.kept))

    def __len__(self) -> int:
        return len(self.kept)


class Copied(Values):
    """The same with a ``copy``."""

    def copy(self) -> Copied:
        new = type(self)()
        new.kept = self.kept.copy()
        return new


class Pickled(Values):
    """What it returns is never what was stored, nor the same object twice."""

    def __getitem__(self, key: str) -> Any:
        return pickle.loads(super().__getitem__(key))

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, pickle.dumps(value))


OWN = (Values, Copied)
