"""Stores of every kind, and what is put in them."""

from __future__ import annotations

from functools import cache
from typing import Any

import flow

PRESETS = ("default", "read_optimized", "low_memory", "production", "metrics_disabled")
STRATEGIES = ("standard", "slots", "arena")


def made(kind: str) -> flow.WorkflowData:
    """Return an empty store of a kind: a preset's name, or settings as ``memory=slots metrics=off``."""
    return flow.WorkflowData(config_of(kind))


def config_of(kind: str) -> flow.DataConfig:
    """Return the settings that ``kind`` names."""
    if "=" not in kind:
        return flow.DataConfig.preset(kind)
    words = {"True": True, "False": False}
    pairs = [setting.split("=") for setting in kind.split()]
    settings: dict[str, Any] = {name: words.get(value, value) for name, value in pairs}
    if "sample_rate" in settings:
        settings["sample_rate"] = float(settings["sample_rate"])
    return flow.DataConfig(**settings)


def store(memory: str, layout: flow.memory.Layout | None = None) -> flow.WorkflowData:
    """Return an empty store without metrics."""
    return flow.WorkflowData(_without_metrics(memory), layout)


@cache
def _without_metrics(memory: str) -> flow.DataConfig:
    """Settings are made once, as users make them: checking them takes longer than making a store."""
    return flow.DataConfig(memory=memory, metrics="off")  # type: ignore[arg-type]


def text(number: int, size: int) -> str:
    """Return a string of ``size`` bytes that no other number has."""
    return f"{number:0{size}d}"


def record(number: int, size: int) -> dict[str, Any]:
    """Return a small dict of about ``size`` bytes of msgpack."""
    return {"id": number} if size < 64 else {"id": number, "score": number / 2, "name": text(number, size - 27)}
