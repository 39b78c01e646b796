"""Which regular expressions a file may have for its inputs: those whose search takes linear time in Python's engine.

Python's engine tries again where an expression could have gone on in another way, and a few characters can make that
take years: ``(a+)+$``. So an expression is taken only if it begins with ``^``, and if at each place at most one of its
parts can take the next character: then there is nothing to try again. (It is one-unambiguous: Brueggemann-Klein and
Wood, 1998.) Most of those that say what a text looks like are: ``^[a-z][a-z0-9-]*$``, ``^v[0-9]+(\\.[0-9]+)*$``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

MAX_PATTERN: Final = 500
"""Characters of an expression."""

MAX_COUNT: Final = 1_000
"""Most repetitions that are counted, as in ``{2,9}``."""

_MAX_PARTS: Final = 2_000
"""Characters and classes, each as often as a count of exactly so many repeats it."""

_MAX_LEVELS: Final = 20
"""How deep groups may nest."""

_OTHERS: Final = 1 << 128
"""Stands for all characters that are not ASCII: one of them may be any."""

_TOKEN: Final = re.compile(
    r"(?P<group>\((?:\?:)?)|(?P<close>\))|(?P<or>\|)|(?P<set>\[\^?\]?(?:[^\\\[\]]|\\.)*\])"
    r"|(?P<repeat>[*+?]|\{[0-9]{1,4}(?:,[0-9]{0,4})?\})|(?P<end>\$)|(?P<any>\.)|(?P<escape>\\(?:[dDwWsSnrtfv]|[^A-Za-z0-9]))"
    r"|(?P<one>[^\\\[\](){}*+?|^$.])",
    re.DOTALL,
)


class Refused(Exception):
    """A regular expression is not taken. The text says why."""


class _Made(NamedTuple):
    """A part of an expression.

    :ivar first: the places that can take its first character. :ivar last: those that can take its last.
    :ivar empty: it may take none.
    """

    first: frozenset[int]
    last: frozenset[int]
    empty: bool


_NOTHING: Final = _Made(frozenset(), frozenset(), True)


def check_pattern(text: str) -> None:
    """Refuse an expression that Python's engine could take long for. O(parts squared), of which there are few.

    :raises Refused: if it is none, or not of the kind that is taken.
    """
    if len(text) > MAX_PATTERN:
        raise Refused(f"must have at most {MAX_PATTERN} characters, not {len(text):,}")
    if not text.startswith("^"):
        raise Refused("must begin with '^': what may stand anywhere in a text takes long to look for")
    try:
        _Reader(text).read()
        re.compile(text)
    except (re.error, OverflowError):
        raise Refused("is no regular expression") from None


def whole(text: str) -> str:
    """Return a checked expression whose ``$`` is the very end: Python's takes a newline behind that, too."""
    return _TOKEN.sub(lambda token: r"\Z" if token.lastgroup == "end" else token[0], text)


def as_written(text: str) -> str:
    """Return what a file writes for an expression of Python: undoes :func:`whole`."""
    return re.sub(r"\\(.)", lambda escape: "$" if escape[1] == "Z" else escape[0], text, flags=re.DOTALL)


class _Reader:
    """Reads an expression, and finds which characters may follow each of its places."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.sets: list[int] = []  # of each place the characters that it takes
        self.after: list[int] = []  # of each place the characters that may follow

    def read(self) -> None:
        whole = self._choice(0)
        if self.at < len(self.text):
            self._refuse()
        self._any_of(whole.first)

    def _any_of(self, places: frozenset[int]) -> int:
        """Return the characters that some places take, each one of them alone."""
        found = 0
        for place in places:
            found = self._besides(found, self.sets[place])
        return found

    @staticmethod
    def _besides(some: int, others: int) -> int:
        """Put characters together, none of which may be in both."""
        if some & others:
            raise Refused(
                "could be read in two ways, and to try both can take long: what is repeated, or may be left out, must "
                "not begin with what may follow it, as in '^[a-z]+(-[a-z]+)*$'"
            )
        return some | others

    def _refuse(self) -> NoReturn:
        what = self.text[self.at : self.at + 2]
        raise Refused(
            f"holds {what!r}, which is not read here: there are characters, [a-z], '.', \\d \\w \\s, groups, '|', "
            "'*', '+', '?', {2,3}, and '^' and '$' at the two ends"
        )

    def _choice(self, level: int) -> _Made:
        """Read alternatives, up to the end of the group."""
        if level > _MAX_LEVELS:
            raise Refused(f"must not nest groups more than {_MAX_LEVELS} deep")
        found = self._row(level)
        while self.text.startswith("|", self.at):
            self.at += 1
            other = self._row(level)
            found = _Made(found.first | other.first, found.last | other.last, found.empty or other.empty)
        return found

    def _row(self, level: int) -> _Made:
        """Read what follows each other."""
        found = _NOTHING
        if level == 0:
            if not self.text.startswith("^", self.at):
                raise Refused("must have '^' at the beginning of each of its alternatives")
            self.at += 1
        while self.at < len(self.text):
            token = _TOKEN.match(self.text, self.at)
            if token is None or token.lastgroup == "repeat":
                self._refuse()
            if token.lastgroup in ("or", "close"):
                break
            self.at = token.end()
            if token.lastgroup == "end":
                if level or not (self.at == len(self.text) or self.text[self.at] == "|"):
                    self.at -= 1
                    self._refuse()
                break
            found = self._then(found, self._repeated(token, level))
        return found

    def _repeated(self, token: re.Match[str], level: int) -> _Made:
        """Read one part, with how often it stands."""
        start = self.at
        made = self._part(token, level)
        count = _TOKEN.match(self.text, self.at)
        if count is None or count.lastgroup != "repeat":
            return made
        end = self.at
        self.at = count.end()
        after = _TOKEN.match(self.text, self.at)
        if after is not None and after.lastgroup == "repeat":
            self._refuse()
        if made.empty:
            raise Refused("repeats what may be empty")
        least, most = _counts(count[0])
        for _ in range(least - 1 if least == most else 0):  # exactly so many: no choice to be made
            after_all, self.at = self.at, start
            made = self._then(made, self._part(token, level))
            assert self.at == end
            self.at = after_all
        if least == most:
            return made
        if most != 1:
            self._follow(made.last, made.first)
        return made._replace(empty=least == 0)

    def _part(self, token: re.Match[str], level: int) -> _Made:
        kind, written = token.lastgroup, token[0]
        if kind == "group":
            made = self._choice(level + 1)
            if not self.text.startswith(")", self.at):
                raise Refused("is no regular expression: a group is not closed")
            self.at += 1
            return made
        if len(self.sets) >= _MAX_PARTS:
            raise Refused(f"stands for more than {_MAX_PARTS:,} characters and classes")
        self.sets.append(_characters(written, kind == "one"))
        self.after.append(0)
        place = frozenset({len(self.sets) - 1})
        return _Made(place, place, False)

    def _then(self, one: _Made, two: _Made) -> _Made:
        self._follow(one.last, two.first)
        first = one.first | two.first if one.empty else one.first
        last = one.last | two.last if two.empty else two.last
        return _Made(first, last, one.empty and two.empty)

    def _follow(self, last: frozenset[int], first: frozenset[int]) -> None:
        following = self._any_of(first)
        for place in last:
            self.after[place] = self._besides(self.after[place], following)


def _counts(written: str) -> tuple[int, int]:
    """Return least and most of a repetition; -1 is no end."""
    if written in "*+?":
        return {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[written]
    least, comma, most = written[1:-1].partition(",")
    low = int(least)
    high = (int(most) if most else -1) if comma else low
    if max(low, high) > MAX_COUNT or high == 0:
        raise Refused(f"must count from 1 to {MAX_COUNT:,}")
    return low, high


def _characters(written: str, is_one: bool) -> int:
    """Return which characters a part takes, as bits: of ASCII exactly, of the others whether it may be one."""
    if is_one:
        return 1 << ord(written) if written.isascii() else _OTHERS
    if re.search(r"--|&&|~~|\|\|", written):
        raise Refused(f"holds {written!r}: one of two equal signs in [] is enough")
    one = re.compile(written, re.DOTALL)
    found = sum(1 << code for code in range(128) if one.fullmatch(chr(code)))
    plain = written.isascii() and not re.search(r"\\[dDwWsSuUxN]|\^", written) and written != "."
    return found if plain else found | _OTHERS
