"""The memory toolbox: the parts of stores, usable alone. See docs/memory.md."""

from flow.data.arena import Arena
from flow.data.pool import ObjectPool
from flow.data.slots import Layout
from flow.data.strings import ArenaStrings, StringPool
from flow.exports import only

__all__ = ["Arena", "ArenaStrings", "Layout", "ObjectPool", "StringPool"]
__dir__ = only(__all__)
