"""Nodes that ask language models (the extra ``ai``): models, tools, tokens, prices, budgets."""

from __future__ import annotations
