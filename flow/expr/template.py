"""Texts with expressions in them, and nested lists and dicts of these."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from flow.errors import ExpressionSyntaxError, shown
from flow.expr.expression import Expression, compile, names_of, refused
from flow.expr.faults import Refusal, Steps, kind
from flow.expr.functions import Functions
from flow.expr.limits import MAX_DEPTH, MAX_EXPRESSION_TEXT, MAX_EXPRESSIONS, MAX_STEPS, MAX_TEXT, MAX_VALUES
from flow.expr.places import Place, end_of
from flow.expr.plain import in_text
from flow.expr.syntax.scan import end_of_expression
from flow.expr.syntax.writer import Use

_Make: TypeAlias = Callable[..., Any]


class _Composed:
    """What expressions stand in.

    :ivar expressions: those in it, in order.
    """

    __slots__ = ("expressions",)

    expressions: tuple[Expression, ...]

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """The names that it reads, as :attr:`Expression.names`."""
        return names_of(self.uses)

    @property
    def uses(self) -> tuple[Use, ...]:
        """Every use of a name; lines and columns are those of the expression that it stands in."""
        found = self.expressions
        return found[0].uses if len(found) == 1 else tuple([use for one in found for use in one.uses])

    @property
    def calls(self) -> frozenset[str]:
        """The functions that it calls."""
        found = self.expressions
        return found[0].calls if len(found) == 1 else frozenset().union(*[one.calls for one in found])

    def evaluate(self, scope: Mapping[str, Any], steps: Steps | None = None, /) -> Any:
        """Return its value. Its expressions share the steps."""
        raise NotImplementedError

    def __call__(self, /, **values: Any) -> Any:
        """Return its value: :meth:`evaluate` with the values of its names as arguments."""
        return self.evaluate(values)


class Template(_Composed):
    """A text with ``{{ expressions }}``.

    One that is an expression and nothing else has the expression's value, of any type. In a longer text only text,
    numbers and bools can stand. Two are equal if their sources and functions are; pickled by these too.

    :ivar source: the text. :ivar where: where its first character stands, or None.
    :ivar expressions: those in it, in order.
    """

    __slots__ = ("__dict__", "_functions", "_parts", "source", "where")

    def __init__(
        self, source: str, where: Place | None, functions: Functions | None, parts: tuple[str | Expression, ...]
    ) -> None:
        self.source = source
        self.where = where
        self._functions = functions
        self._parts = parts
        self.expressions = tuple([part for part in parts if isinstance(part, Expression)])

    @property
    def is_text(self) -> bool:
        """True if it holds no expression: :meth:`evaluate` gives the same text each time."""
        return not self.expressions

    @property
    def is_alone(self) -> bool:
        """True if it is one expression and nothing else, so its value may be of any type."""
        return len(self._parts) == 1 and len(self.expressions) == 1

    def evaluate(self, scope: Mapping[str, Any], steps: Steps | None = None, /) -> Any:
        """Return its value: see :meth:`Expression.evaluate`. Its expressions share the steps.

        :raises EvaluationError: if an expression fails, or has a value in a longer text that cannot stand there.
        """
        kept: _Make | None = self.__dict__.get("evaluate")
        if kept is not None:  # this method was looked up before the first call
            return kept(scope, steps)
        parts = self._parts
        if len(parts) == 1:
            only = parts[0]
            return only if isinstance(only, str) else only.evaluate(scope, steps)
        steps = steps or [MAX_STEPS]
        made = self._joined([one.evaluate(scope, steps) for one in self.expressions])
        if len(self.expressions) <= _FEW and len(self.source) <= MAX_STEPS // 2:
            known = [part if isinstance(part, str) else part.evaluate for part in parts]
            kinds = "".join(["t" if isinstance(part, str) else "e" for part in parts])
            self.__dict__["evaluate"] = _joiner(kinds)(self._joined, *known)  # in place of this method
        return made

    def _joined(self, values: Sequence[Any]) -> str:
        """Put the values of its expressions into the text."""
        made: list[str] = []
        left = iter(values)
        for part in self._parts:
            if isinstance(part, str):
                made.append(part)
                continue
            value = next(left)
            text = value if type(value) is str else in_text(value)
            if text is None:
                raise part.error(_no_text(value, self._blank_around()))
            made.append(text)
        if sum(map(len, made)) > MAX_STEPS:
            raise self.expressions[0].error(f"the text has more than {MAX_STEPS:,} characters: make it in a node")
        return "".join(made)

    def _blank_around(self) -> bool:
        return len(self.expressions) == 1 and not any(isinstance(p, str) and p.strip() for p in self._parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Template):
            return NotImplemented
        return self.source == other.source and self._parts == other._parts

    def __hash__(self) -> int:
        return hash((Template, self.source))

    def __repr__(self) -> str:
        return f"Template({shown(self.source)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.source, self.where, self._functions)


_FEW: Final = 8
"""Expressions of a text up to which there is code of its own, for each order of texts and expressions."""


@cache
def _joiner(kinds: str) -> Callable[..., _Make]:
    """Return what makes a function that evaluates a template, of its parts.

    Texts and ints that are not too long are put together at once; all else is left to what is given first.

    :param kinds: ``t`` for each text, ``e`` for each expression.
    """
    names = [f"{kind}{n}" for n, kind in enumerate(kinds)]
    values = [f"v{name}" for name in names if name[0] == "e"]
    most, room = 2**62, MAX_STEPS // (2 * _FEW)
    known = " and ".join([
        f"(type({v}) is str and len({v}) <= {room} or type({v}) is int and -{most} < {v} < {most})" for v in values
    ])  # fmt: skip
    text = "".join(f"{{v{name}}}" if name[0] == "e" else f"{{{name}}}" for name in names)
    code = f"def made(joined, {', '.join(names)}):\n def evaluate(s, b=None, /):\n  b = b or [{MAX_STEPS}]\n"
    code += "".join(f"  {value} = {value[1:]}(s, b)\n" for value in values)
    code += f"  if {known}:\n   return f'{text}'\n  return joined(({', '.join(values)},))\n return evaluate\n"
    scope: dict[str, Any] = {"__name__": __name__}
    exec(code, scope)
    found: Callable[..., _Make] = scope["made"]
    return found


def _again(source: str, where: Place | None, functions: Functions | None) -> Template:
    return template(source, where=where, functions=functions)


def _no_text(value: object, blank: bool) -> str:
    """Say that a value cannot stand in text."""
    if value is None:
        return "null cannot stand in text; write default(x, 'none'), or json(x) for the word null"
    alone = "; without the white space around it, the expression alone keeps its type" if blank else ""
    return f"{kind(value)} cannot stand in text; write json(x), or join(x, ', ') of a list{alone}"


def template(
    text: str,
    *,
    where: Place | None = None,
    functions: Functions | None = None,
    names: Collection[str] | None = None,
) -> Template:
    r"""Check a text with expressions in ``{{ }}``, and return its template. O(length).

    ``\{{`` stands for the two braces themselves, and ``\\{{`` for a backslash before an expression.

    :param where, functions, names: as for :func:`compile`.
    :raises ExpressionSyntaxError: if an expression is refused or not closed, or there are too many, or too much text.
    """
    if not isinstance(text, str):
        raise ExpressionSyntaxError(f"a template is a str, not {type(text).__name__}")
    source = str.__str__(text)
    begin = where or Place()
    parts: list[str | Expression] = []
    try:
        for part, at in _parts(source):
            if at < 0:
                parts.append(part)
            else:
                parts.append(compile(part, where=begin.at(*end_of(source, at)), functions=functions, names=names))
    except Refusal as refusal:
        raise refused(refusal, source, where) from None
    return Template(source, where, functions, tuple(parts) or ("",))


def _parts(text: str) -> Iterator[tuple[str, int]]:
    """Yield the parts of a text: plain text with -1, an expression with its start. :raises Refusal: if it is bad."""
    if len(text) > MAX_TEXT:
        raise Refusal(f"the text has {len(text):,} characters, and at most {MAX_TEXT:,} are read", 1, 1)
    at = count = size = 0
    plain: list[str] = []
    while (opening := text.find("{{", at)) >= 0:
        before = text[at:opening]
        slashes = len(before) - len(before.rstrip("\\"))
        plain.append(before[: len(before) - (slashes + 1) // 2])
        start = at = opening + 2
        if slashes % 2:
            plain.append("{{")
            continue
        end = _end(text, start)
        count, size = count + 1, size + end - start
        if count > MAX_EXPRESSIONS or size > MAX_EXPRESSION_TEXT:
            most = f"{MAX_EXPRESSIONS} expressions, and {MAX_EXPRESSION_TEXT:,} characters in them"
            raise Refusal(f"a text holds at most {most}", *end_of(text, start - 2))
        if joined := "".join(plain):
            yield joined, -1
        plain.clear()
        inner = text[start:end]
        yield inner.strip(), start + len(inner) - len(inner.lstrip())
        at = end + 2
    if rest := "".join([*plain, text[at:]]):
        yield rest, -1


def _end(text: str, start: int) -> int:
    """Return where the ``}}`` stands that ends an expression."""
    end = text.find("}}", start)
    inner = text[start:end] if end >= 0 else ""
    if end < 0 or any(c in inner for c in "{'\""):
        end = end_of_expression(text, start)
    if end < 0:
        raise Refusal(r"'{{' is not closed by '}}'; write '\{{' for the braces themselves", *end_of(text, start - 2))
    return end


# -- nested structures -------------------------------------------------------------------------

class Structure(_Composed):
    """A nested list or dict of templates, which is evaluated as a whole.

    :ivar source: what it was made of. :ivar where: the place that its messages name, or None.
    :ivar expressions: those in it, in order.
    """

    __slots__ = ("_functions", "_make", "source", "where")

    def __init__(
        self,
        source: Any,
        where: Place | None,
        functions: Functions | None,
        expressions: tuple[Expression, ...],
        make: _Make,
    ) -> None:
        self.source = source
        self.where = where
        self._functions = functions
        self.expressions = expressions
        self._make = make

    def evaluate(self, scope: Mapping[str, Any], steps: Steps | None = None, /) -> Any:
        """Return new lists and dicts of the values. Its expressions share the steps. O(size).

        :raises EvaluationError: as of a template.
        """
        return self._make(scope, steps or [MAX_STEPS])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure):
            return NotImplemented
        return bool(self.source == other.source and self.expressions == other.expressions)

    def __hash__(self) -> int:
        return hash((Structure, self.expressions))

    def __repr__(self) -> str:
        return f"Structure({shown(self.source)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.source, self.where, self._functions)


def _rebuilt(source: Any, where: Place | None, functions: Functions | None) -> Structure:
    return structure(source, where=where, functions=functions)


def structure(
    value: Any,
    *,
    where: Place | None = None,
    functions: Functions | None = None,
    names: Collection[str] | None = None,
) -> Structure:
    """Check a nested list or dict of templates. O(size).

    Text in it is a template; templates and expressions that are made already stay what they are; the keys of dicts, and
    all other values, stand for themselves.

    :param where, functions, names: as for :func:`compile`; the place is said for every template in it.
    :raises ExpressionSyntaxError: if a template is refused, a key holds one, or it nests too deeply.
    """
    found: list[Expression] = []

    def checked(text: str) -> Template:
        return template(text, where=where, functions=functions, names=names)

    make = _made(value, found, checked, [MAX_VALUES], 0)
    return Structure(_copied(value), where, functions, tuple(found), make)


def _copied(value: Any) -> Any:
    """Copy the lists and dicts that templates stand in: what is done to the caller's changes nothing here."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, (list, tuple)) else value


def _constant(value: Any) -> _Make:
    return lambda scope, steps: value


def _made(
    value: Any, found: list[Expression], checked: Callable[[str], Template], left: list[int], depth: int
) -> _Make:
    """Return what makes a value, and list the expressions in it. ``left`` counts the values that there may be yet."""
    left[0] -= 1
    if left[0] < 0:
        raise ExpressionSyntaxError(f"there are more than {MAX_VALUES:,} values in it, each counted where it stands")
    if isinstance(value, str):
        value = checked(value)
    if isinstance(value, Template):
        if value.is_text:
            return _constant(value.evaluate({}))
        found.extend(value.expressions)
        return lambda scope, steps: value.evaluate(scope, steps)
    if isinstance(value, Expression):
        found.append(value)
        return lambda scope, steps: value.evaluate(scope, steps)
    if not isinstance(value, (dict, list, tuple)):
        return _constant(value)
    if depth >= MAX_DEPTH:
        raise ExpressionSyntaxError(f"lists and dicts nest more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, str) and "{{" in key:
                raise ExpressionSyntaxError(f"a key is no template: {shown(key)}; the values of a dict are", key)
        pairs = [(key, _made(one, found, checked, left, depth + 1)) for key, one in value.items()]
        return lambda scope, steps: {key: make(scope, steps) for key, make in pairs}
    makes = [_made(one, found, checked, left, depth + 1) for one in value]
    return lambda scope, steps: [make(scope, steps) for make in makes]


def render(value: Any, scope: Mapping[str, Any], *, functions: Functions | None = None) -> Any:
    """Evaluate a nested list or dict of templates at once: ``structure(value).evaluate(scope)``.

    :raises ExpressionError: as :func:`structure` and its ``evaluate``.
    """
    return structure(value, functions=functions).evaluate(scope)
