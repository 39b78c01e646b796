"""The limits of workflow files. They are counts, so a file that loads once loads always."""

from typing import Final

from flow.errors import Hints

MAX_BYTES: Final = 2 * 2**20
"""Largest file that is read, and most bytes of a file and those that it runs: 2 MiB."""

MAX_VALUES: Final = 100_000
"""Most values in a file and those that it runs: keys, texts, numbers, lists, mappings and expressions, each as often as
aliases repeat it. An alias counts one more for each :data:`REPEATED` characters of what it repeats."""

REPEATED: Final = 20
"""Characters that an alias repeats as the price of one value: a long text in many places takes as long as many."""

MAX_NESTED: Final = 20
"""How deep files may run each other."""

MAX_FAULTS: Final = 200
"""Most faults that are listed of a file. What comes after the first of them is mostly their consequence."""

MAX_EDGES: Final = 300_000
"""Most order edges that published data make: one from each node that publishes a key to each that reads it."""


MAX_DEPTH: Final = 60
"""How deep lists and mappings may nest."""

MAX_DIGITS: Final = 308
"""Longest number, in characters: as large as floats get."""

MAX_KEY: Final = 1_000
"""Longest key, in characters."""

MAX_FILES: Final = 100
"""Most files that one file may run, directly or through others."""


class Budget:
    """What one load may still take: a file, and all those that it runs.

    :ivar values: how many there are so far. :ivar bytes_left: how many more may be read.
    :ivar hints: finds names that may have been meant.
    """

    __slots__ = ("bytes_left", "hints", "values")

    def __init__(self) -> None:
        self.values = 0
        self.bytes_left = MAX_BYTES
        self.hints = Hints()
