"""Looks at the characters of a source before Python's parser does.

It bounds what the parser is given (length, brackets, chains of signs), finds the end of an expression in a template,
and says of common mistakes what to write instead, where the parser would only say "invalid syntax". It does not decide
whether a source is safe: the allow-list of :mod:`flow.expr.syntax.analysis` does.
"""

from __future__ import annotations

import re
from keyword import iskeyword
from typing import Final
from unicodedata import name as name_of
from unicodedata import normalize

from flow.errors import shown
from flow.expr.faults import Refusal
from flow.expr.limits import MAX_DEPTH, MAX_SOURCE
from flow.expr.places import end_of

TOKEN: Final = re.compile(
    r"""[ \t\r\n]*+(?:
    ([A-Za-z]{0,2}'(?:[^'\\\n]|\\.)*'|[A-Za-z]{0,2}"(?:[^"\\\n]|\\.)*")  # 1: text
    |([^\W\d]\w*)  # 2: a name
    |((?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?)  # 3: a number
    |(\*\*|//|<<|>>|:=|->|==|!=|<=|>=|<>|&&|\|\||\.\.\.|[-+*/%<>()\[\]{},.:=|])  # 4: an operator
    |(\S)  # 5: anything else
    )""",
    re.VERBOSE,
)
TEXT, NAME, NUMBER, OPERATOR = 1, 2, 3, 4

_HIDDEN: Final = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]|\r(?!\n)"
)
_ESCAPE: Final = re.compile(r"\\(?:[\\'\"nrt]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|(.))")

_OPEN: Final = {"(": ")", "[": "]", "{": "}"}
_CLOSE: Final = frozenset(_OPEN.values())
_BEFORE_UNPACKING: Final = frozenset({"(", "{", ","})
_SIGNS: Final = frozenset({"-", "+", "not"})

_OPERATORS: Final = {
    "**": "'**' is not allowed; write x * x",
    "<<": "'<<' is not allowed; write x * 2",
    ">>": "'>>' is not allowed; write x // 2",
    ":=": "':=' is not allowed: an expression assigns nothing; name the value in vars, or write it twice",
    "->": "'->' is not allowed; write 'a if test else b' to choose",
    "<>": "'<>' is not allowed; write '!='",
    "&&": "'&&' is not allowed; write 'and'",
    "||": "'||' is not allowed; write 'or'",
    "...": "'...' is not allowed",
}
_OTHERS: Final = {
    "&": "'&' is not allowed; write 'and'",
    "^": "'^' is not allowed; write 'x != y' for one of two",
    "~": "'~' is not allowed; write a + b to put texts together, or write 'not x'",
    "@": "'@' is not allowed",
    "!": "'!' is not allowed; write 'not x'",
    "?": "'?' is not allowed; write 'a if test else b', or default(x, b) where x may be missing",
    ";": "';' is not allowed: there is one expression",
    "#": "'#' is not allowed: an expression has no comments",
    "$": "'$' is not allowed; a name stands alone, as in inputs.env",
    "`": "'`' is not allowed; write '...' for text",
    "\\": "'\\' is not allowed outside text; a line needs no mark at its end",
    "'": "a quote is not closed",
    '"': "a quote is not closed",
}
_LOOKS: Final = {
    **dict.fromkeys("\u201c\u201d\u201e\u2018\u2019\u201a\uff07\uff02", "'"),
    **dict.fromkeys("\u2212\u2013\u2014\uff0d", "-"), "\u00d7": "*", "\u00f7": "/", "\u2264": "<=", "\u2265": ">=",
    "\u2260": "!=", "\uff08": "(", "\uff09": ")", "\uff0c": ",", "\uff0e": ".", "\uff1a": ":", "\uff3b": "[",
    "\uff3d": "]", "\uff5b": "{", "\uff5d": "}", "\uff0b": "+", "\uff1d": "==",
}  # fmt: skip
"""Characters that look like one that is allowed."""

_STATEMENTS: Final = frozenset({
    "as", "assert", "async", "break", "class", "continue", "def", "del", "elif", "except", "finally", "global",
    "import", "nonlocal", "pass", "raise", "return", "try", "while", "with",
})  # fmt: skip


def check(source: str) -> None:
    """Look at a source before it is parsed. O(length).

    :raises Refusal: if it is too long, nests too deeply, or has what no expression has.
    """
    if len(source) > MAX_SOURCE:
        raise Refusal(
            f"the expression has {len(source):,} characters, and at most {MAX_SOURCE:,} are read: "
            "do it in a function of a node",
            1,
            1,
        )
    hidden = _HIDDEN.search(source)
    if hidden is not None:
        _refuse(
            f"the character U+{ord(hidden[0]):04X} is not allowed; in text write it as {_escaped(hidden[0])}",
            source,
            hidden.start(),
        )
    stack: list[tuple[str, int, bool]] = []
    signs = 0
    before, at = "", 0
    for found in TOKEN.finditer(source.rstrip()):
        which = found.lastindex or 0
        token = found[which]
        at = found.start(which)
        if which == NAME:
            if not token.isascii() or token in _STATEMENTS or before == ".":
                _name(token, before, source, at)
        elif which == OPERATOR:
            if token in _OPEN:
                stack.append(
                    (
                        token,
                        at,
                        token == "(" and (before[-1:].isalnum() or before[-1:] in ")]_") and not iskeyword(before),
                    )
                )
                if len(stack) > MAX_DEPTH:
                    _refuse(f"brackets nest more than {MAX_DEPTH} deep", source, at)
            elif token in _CLOSE:
                if not stack or _OPEN[stack.pop()[0]] != token:
                    _refuse(f"'{token}' closes nothing", source, at)
            elif token in _OPERATORS and not (token == "**" and before in _BEFORE_UNPACKING):
                _refuse(_OPERATORS[token], source, at)
            elif token == "=" and not (stack and stack[-1][2]):
                _refuse("'=' is not allowed: an expression assigns nothing; write '==' to compare", source, at)
        elif which == TEXT:
            _text(token, source, at)
        elif which == NUMBER:
            _number(token, before, source, at, found.end())
        else:
            _other(token, source, at)
        signs = signs + 1 if token in _SIGNS else 0
        if signs > MAX_DEPTH:
            _refuse(f"more than {MAX_DEPTH} signs follow each other", source, at)
        before = token
    if not before:
        raise Refusal("the expression is empty", 1, 1)
    if stack:
        _refuse(f"'{stack[-1][0]}' is not closed", source, stack[-1][1])


def look_alike(name: str) -> tuple[str, int]:
    """Say why a name may look like another one, and by which of its characters; nothing if it does not. O(length)."""
    if name.isascii():
        return "", 0
    usual = normalize("NFKC", name)
    if usual != name:
        return f"the name {shown(name)} is written with unusual characters; write {shown(usual)}", 0
    if any(c.isascii() and c.isalpha() for c in name):
        for offset, c in enumerate(name):
            if not c.isascii() and c.isalpha() and not name_of(c, "").startswith("LATIN "):
                said = name_of(c, "a letter").lower()
                return f"the name {shown(name)} mixes alphabets: U+{ord(c):04X} is {said}", offset
    return "", 0


def end_of_expression(text: str, start: int) -> int:
    """Return where the ``}}`` stands that ends the expression that begins at ``text[start]``; -1 if there is none.

    O(length of the expression).
    """
    depth = 0
    for found in TOKEN.finditer(text, start, start + MAX_SOURCE + 2):
        token = found[found.lastindex or 0]
        if token == "{":
            depth += 1
        elif token == "}":
            at = found.end() - 1
            if depth == 0 and text.startswith("}}", at):
                return at
            depth -= 1
    return -1


def _refuse(problem: str, source: str, at: int) -> None:
    raise Refusal(problem, *end_of(source, at))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _name(token: str, before: str, source: str, at: int) -> None:
    if before == "." and iskeyword(token):
        _refuse(f"'{token}' is a word of the language; write ['{token}'] to read this key", source, at)
    if token in _STATEMENTS:
        _refuse(f"'{token}' is not allowed: this is an expression, without statements", source, at)
    problem, offset = look_alike(token)
    if problem:
        _refuse(problem, source, at + offset)


def _text(token: str, source: str, at: int) -> None:
    quote = token[-1]
    prefix = token[: token.index(quote)].lower()
    if prefix not in ("", "r"):
        if "f" in prefix or "t" in prefix:
            _refuse(
                "text with values in it is not allowed; write 'Hello ' + name, format('Hello {}', name), or a template",
                source,
                at,
            )
        _refuse(f"'{prefix}' before text is not allowed; write the text alone", source, at)
    if len(token) == len(prefix) + 2 and source.startswith(quote, at + len(token)):
        _refuse("three quotes are not allowed; write one, and \\n for a new line", source, at)
    if "\\" in token and not prefix:
        for found in _ESCAPE.finditer(token):
            if found[1]:
                _refuse(
                    f"'\\{found[1]}' means nothing in text; write '\\\\{found[1]}' for a backslash",
                    source,
                    at + found.start(),
                )


def _number(token: str, before: str, source: str, at: int, end: int) -> None:
    after = source[end : end + 1]
    if token[0] == "." and (before[-1:].isalnum() or before in (")", "]", "}")) and not iskeyword(before):
        _refuse(f"'{token}' is not allowed here; write [{token[1:]}] to read an item", source, at)
    if after.isalnum() or after == "_" or not token.isascii():
        _refuse("this is no number; write it in decimal digits, as 15 or 1.5e3", source, at)


def _other(token: str, source: str, at: int) -> None:
    problem = _OTHERS.get(token)
    if problem is None:
        looks = _LOOKS.get(token)
        name = name_of(token, "").lower()
        said = f"the character U+{ord(token):04X}{f' ({name})' if name else ''} is not allowed"
        problem = f"{said}; write {looks!r}" if looks else said
    _refuse(problem, source, at)
