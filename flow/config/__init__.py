"""Frozen settings with named defaults: :class:`Config`, :class:`DataConfig`, :class:`Retry`, :class:`Timeout`."""

from flow.config.data import DATA_PRESETS, DEFAULT_DATA_CONFIG, DataConfig
from flow.config.fields import is_int, is_number, is_one_of
from flow.config.policy import Retry, Timeout
from flow.config.run import DEFAULT_CONFIG, DEFAULT_WORKERS, Config

__all__ = [
    "DATA_PRESETS",
    "DEFAULT_CONFIG",
    "DEFAULT_DATA_CONFIG",
    "DEFAULT_WORKERS",
    "Config",
    "DataConfig",
    "Retry",
    "Timeout",
    "is_int",
    "is_number",
    "is_one_of",
]
