"""Frozen settings with named defaults: :class:`Config`, :class:`DataConfig`, :class:`Retry`, :class:`Timeout`."""

from flow.config.data import DATA_PRESETS, DataConfig
from flow.config.policy import Retry, Timeout
from flow.config.run import Config
from flow.exports import only

__all__ = ["DATA_PRESETS", "Config", "DataConfig", "Retry", "Timeout"]
__dir__ = only(__all__)
