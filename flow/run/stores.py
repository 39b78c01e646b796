"""Settings of a run's store that depend on the workflow: asks the rule in ``Config.data``."""

from __future__ import annotations

from typing import Any

from flow.awaits import UNAWAITED, discard
from flow.config import Config, DataConfig
from flow.errors import ConfigError, note, shower, shown
from flow.plan.plan import Plan
from flow.policy.middleware import is_awaitable


def ruled(config: Config, plan: Plan) -> Config:
    """Return ``config`` with the ``DataConfig`` that its rule gives for ``plan``; itself if it has no rule. O(1).

    :raises ConfigError: if the rule returns anything else. What it raises gets a note that names the workflow.
    """
    rule = config.data
    if rule is None or isinstance(rule, DataConfig):
        return config
    try:
        settings: Any = rule(plan)
    except Exception as error:
        note(error, f"raised by {shown(rule)}, the rule in Config.data, for dag {plan.name!r}: no node has run")
        raise
    if not isinstance(settings, DataConfig):
        asked = f"data is a rule, {shown(rule)}, and"
        if is_awaitable(settings):
            discard(settings)
            raise ConfigError("Config", [f"{asked} {UNAWAITED}, asked for dag {plan.name!r}"])
        got = f"must return a flow.DataConfig for dag {plan.name!r}, not {shower(config)(settings)}"
        meant = " (the default is flow.DataConfig())" if settings is None else ""
        raise ConfigError("Config", [f"{asked} {got}{meant}"])
    return config._changed(data=settings)
