"""What the nodes of a workflow file call: functions with their arguments rendered, and expressions alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from flow.policy.scope import Reads
from flow.signature import Parameter, Shape, Shaped
from flow.spec.called.arguments import arguments_of
from flow.spec.text.values import Made

_Parts: TypeAlias = tuple[dict[str, Any], list[tuple[str, Any]], Callable[[dict[str, Any]], dict[str, Any]] | None]


class Arguments:
    """The keyword arguments of a call: some constant, some evaluated each time.

    :param given: the values by parameter. :param fn: the function; values are converted to its annotations.
    :param written: what the file calls it. :param node: the node, for messages.
    """

    __slots__ = ("_made_by", "_parts", "given")

    def __init__(self, given: Mapping[str, Made], fn: Callable[..., Any], written: str = "", node: str = "") -> None:
        self.given = given
        self._made_by = fn, written, node
        self._parts: _Parts | None = None

    @property
    def parts(self) -> _Parts:
        """The constants, what computes the others, and what converts all. They are told apart for the first call."""
        if self._parts is None:
            fn, written, node = self._made_by
            constant, computed, converted = {}, [], []
            known = arguments_of(fn, written) if self.given else None
            for name, one in self.given.items():
                check = known.check_of(name) if known is not None else None
                if one.is_scalar:
                    constant[name] = one.value
                    if check is not None and type(one.value) in check.exact:
                        check = None
                else:
                    computed.append((name, one.evaluator or one))
                if check is not None:
                    converted.append(name)
            self._parts = constant, computed, known.converter(converted, node) if known and converted else None
        return self._parts

    def of(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Return them, in this scope."""
        constant, computed, convert = self._parts or self.parts
        found = dict(constant)
        for name, one in computed:
            found[name] = one.evaluate(scope)
        return found if convert is None else convert(found)

    def caller(self, fn: Callable[..., Any], names: tuple[str, ...], context: str) -> Callable[..., Any]:
        """Return what calls ``fn`` with them, given the values of ``names``, a scope of all else, and the Context.

        :param context: the parameter that gets the Context; empty if none does, and none is given.
        """
        constant, computed, convert = self.parts
        make = _caller(names, tuple([name for name, _ in computed]), convert is not None, context)
        return make(fn, constant, convert, *[one for _, one in computed])  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return Arguments, (self.given, *self._made_by)


@lru_cache(maxsize=256)
def _caller(names: tuple[str, ...], computed: tuple[str, ...], converts: bool, context: str) -> Callable[..., Any]:
    """Return what makes a caller: code is compiled once for all calls of one form."""
    made = [f"a{at}" for at in range(len(computed))]
    values = [f"v{at}" for at in range(len(names))]
    scope = "".join(f", {name!r}: {value}" for name, value in zip(names, values, strict=True))
    given = "".join(f", {name!r}: {one}.evaluate(scope)" for name, one in zip(computed, made, strict=True))
    lines = [
        f"def made({', '.join(['fn', 'constant', 'convert', *made])}):",
        f" def call({', '.join([*values, 'shared', *(['ctx'] if context else [])])}):",
        f"  scope = {{**shared{scope}}}",
        f"  given = {{**constant{given}}}",
        *(["  given = convert(given)"] if converts else []),
        *([f"  given[{context!r}] = ctx"] if context else []),
        "  return fn(**given)",
        " return call",
    ]
    found: dict[str, Any] = {"__name__": __name__}
    exec("\n".join(lines), found)
    return found["made"]  # type: ignore[no-any-return]


class Publishing:
    """What a node publishes once it has an output: keys of the run's data, in the order of the file."""

    __slots__ = ("entries",)

    def __init__(self, entries: Sequence[tuple[str, Made]]) -> None:
        self.entries = entries

    def publish(self, scope: dict[str, Any], result: Any) -> None:
        """Write them through the Context of the scope; later ones read earlier ones."""
        scope["result"] = result
        data = scope["data"]
        for key, made in self.entries:
            data.write(key, made.evaluate(scope))


class Step(Shaped):
    """What a node of a file calls.

    :ivar reads: what it is called with. :ivar location: ``file:line:column`` of its node.
    """

    __slots__ = ("_maker", "location", "reads")

    def __init__(self, reads: Reads, location: str) -> None:
        self.reads = reads
        self.location = location
        self._maker: Callable[[Sequence[Any]], dict[str, Any]] | None = None  # made for the first call

    def _scope(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return the scope of its expressions, of the values of its parameters."""
        make = self._maker
        if make is None:
            make = self._maker = self.reads.maker()
        return make(values)

    def shape(self) -> Shape:
        return Shape(self.reads.parameters, False, False, False)


class Call(Step):
    """Calls a function with arguments that are rendered first.

    :ivar fn: the function. :ivar context: the parameter of it that gets the Context; empty if none does.
    """

    __slots__ = ("arguments", "context", "fn", "publishing")

    def __init__(
        self,
        fn: Callable[..., Any],
        arguments: Arguments,
        reads: Reads,
        location: str,
        context: str = "",
        publishing: Publishing | None = None,
    ) -> None:
        super().__init__(reads, location)
        self.fn = fn
        self.arguments = arguments
        self.context = context
        self.publishing = publishing

    def prepared(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scope, and the arguments of the call."""
        scope = self._scope(values)
        given = self.arguments.of(scope)
        if self.context:
            given[self.context] = values[0]
        return scope, given

    def __call__(self, *values: Any) -> Any:
        scope, given = self.prepared(values)
        result = self.fn(**given)
        if self.publishing is not None:
            self.publishing.publish(scope, result)
        return result

    def __repr__(self) -> str:
        return getattr(self.fn, "__qualname__", None) or repr(self.fn)

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.fn, self.arguments, self.reads, self.location, self.context, self.publishing)
        return type(self), parts


class AsyncCall(Call):
    """A :class:`Call` of a function that returns something to await."""

    __slots__ = ()

    def shape(self) -> Shape:
        return Shape(self.reads.parameters, False, False, True)

    async def __call__(self, *values: Any) -> Any:
        scope, given = self.prepared(values)
        result = self.fn(**given)
        if hasattr(result, "__await__"):
            result = await result
        if self.publishing is not None:
            self.publishing.publish(scope, result)
        return result


class GeneratorCall(Call):
    """A :class:`Call` of a generator function."""

    __slots__ = ()

    def __call__(self, *values: Any) -> Any:
        return (yield from self.fn(**self.prepared(values)[1]))


class AsyncGeneratorCall(Call):
    """A :class:`Call` of an async generator function."""

    __slots__ = ()

    async def __call__(self, *values: Any) -> Any:
        made = self.fn(**self.prepared(values)[1])
        try:
            async for one in made:
                yield one
        finally:
            await made.aclose()


class Evaluated(Step):
    """Evaluates values, without a call: ``set``, ``outputs``, and routes."""

    __slots__ = ("made", "publishing")

    def __init__(self, made: Made, reads: Reads, location: str, publishing: Publishing | None = None) -> None:
        super().__init__(reads, location)
        self.made = made
        self.publishing = publishing

    def __call__(self, *values: Any) -> Any:
        scope = self._scope(values)
        result = self.made.evaluate(scope)
        if self.publishing is not None:
            self.publishing.publish(scope, result)
        return result

    def __repr__(self) -> str:
        return "<expressions>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.made, self.reads, self.location, self.publishing)


class Chosen(Evaluated):
    """Evaluates the key of a route: text stays, a bool and an int are written as a file writes them."""

    __slots__ = ()

    def __call__(self, *values: Any) -> Any:
        key = self.made.evaluate(self._scope(values))
        return [_key(one) for one in key] if isinstance(key, list) else _key(key)


def _key(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


class Variables(Step):
    """Computes the variables of a file, in order: each sees those before it."""

    __slots__ = ("entries",)

    def __init__(self, entries: Sequence[tuple[str, Made]], reads: Reads, location: str) -> None:
        super().__init__(reads, location)
        self.entries = entries

    def __call__(self, *values: Any) -> Any:
        scope = self._scope(values)
        found: dict[str, Any] = {}
        scope["vars"] = found
        for name, made in self.entries:
            found[name] = made.evaluate(scope)
        return found

    def __repr__(self) -> str:
        return "<variables>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.entries, self.reads, self.location)


# -- items ------------------------------------------------------------------------------------


class ItemCall(Shaped):
    """What a map of a file calls with each item, and with the scope that all items share.

    :ivar names: ``item``, and those of ``index`` and ``key`` that its expressions read.
    """

    __slots__ = ("_direct", "arguments", "context", "fn", "location", "names")

    def __init__(
        self, fn: Callable[..., Any], arguments: Arguments, names: Sequence[str], location: str, context: str = ""
    ) -> None:
        self.fn = fn
        self.arguments = arguments
        self.names = tuple(names)
        self.location = location
        self.context = context
        self._direct = arguments.caller(fn, self.names, context)

    def shape(self) -> Shape:
        return self._shape(False)

    def _shape(self, is_async: bool) -> Shape:
        context = [Parameter("ctx", is_context=True)] if self.context else []
        names = [Parameter(name) for name in (*self.names, SHARED)]
        return Shape((*names, *context), False, False, is_async)

    def __call__(self, *values: Any) -> Any:
        return self._direct(*values)

    def __repr__(self) -> str:
        return getattr(self.fn, "__qualname__", None) or repr(self.fn)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.fn, self.arguments, self.names, self.location, self.context)


class AsyncItemCall(ItemCall):
    """An :class:`ItemCall` of a function that returns something to await."""

    __slots__ = ()

    def shape(self) -> Shape:
        return self._shape(True)

    async def __call__(self, *values: Any) -> Any:
        result = self._direct(*values)
        return await result if hasattr(result, "__await__") else result


SHARED: Final = "values of the file"
"""The parameter through which the items of a map get what all of them share."""

OVER: Final = "over"
"""What the source of a map is called that an expression gives."""
