"""Tell which annotations mean our Context or Outcome, however they are spelt: :func:`means_context`.

Text (``from __future__ import annotations``, quotes) is never evaluated: its names are looked up where the function
would look them up. A name that is nowhere at run time, as of an import under ``if TYPE_CHECKING:``, is looked for in
the function's source.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from types import FunctionType, GenericAlias, MethodType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional, Union

from flow.data.context import Context
from flow.data.outcome import Outcome

if TYPE_CHECKING:
    import ast

PLAIN: Final = frozenset({type, type(None), GenericAlias})
"""Types of annotations that never mean our Context, which most are: ``int``, ``None``, ``list[int]``."""

_LONGEST_TEXT: Final = 1_000
"""Characters of an annotation that are looked at."""

_NOWHERE: Final[Any] = object()  # what a name stands for that is not there
_NOT_ONE: Final[Any] = object()  # what a name stands for that is no Context for sure


def annotations_of(fn: FunctionType) -> dict[str, Any]:
    """Return what a function's parameters, and ``"return"``, are annotated with."""
    try:
        return fn.__annotations__
    except Exception:  # 3.14 evaluates lazily: a name only known to type checkers
        from annotationlib import Format, get_annotations  # type: ignore[import-not-found,unused-ignore]

        return dict(get_annotations(fn, format=Format.FORWARDREF))


def means_context(annotation: Any, names: Names) -> bool:
    """Tell whether an annotation means our Context: itself, in a union, annotated, or any of these as text.

    Whatever ``names`` look for takes the place of the Context.
    """
    if annotation is names.wanted:
        return True
    if type(annotation) in PLAIN:
        return False
    try:
        if isinstance(annotation, str):
            return names.text_means_context(annotation)
        origin = getattr(annotation, "__origin__", None)
        if origin is names.wanted:
            return True
        if isinstance(annotation, UnionType) or origin is Union:
            return any(means_context(part, names) for part in annotation.__args__)
        if hasattr(annotation, "__metadata__"):  # Annotated[...]
            return means_context(origin, names)
        if type(annotation).__name__ == "TypeAliasType":  # type X = ...
            return means_context(annotation.__value__, names)
        forward = getattr(annotation, "__forward_arg__", None)
        return isinstance(forward, str) and names.text_means_context(forward)
    except (NameError, RecursionError):  # an alias of a name that is not there, or of itself
        return False


def means_outcome(annotation: Any, fn: Any) -> bool:
    """Tell whether an annotation of a parameter of ``fn`` means our Outcome, under that name if it is text."""
    if type(annotation) in PLAIN or (isinstance(annotation, str) and "Outcome" not in annotation):
        return False
    return means_context(annotation, Names(fn, Outcome))


class Names:
    """What the names in the annotations of one function stand for.

    :param wanted: the class that is looked for.
    :ivar placed: a name was looked for where the function stands in its source: elsewhere it may mean another thing.
    """

    __slots__ = ("_fn", "_scope", "placed", "wanted")

    def __init__(self, fn: Any, wanted: type[Any] = Context) -> None:
        self._fn, self._scope = _home_of(fn)
        self.wanted = wanted
        self.placed = False

    def text_means_context(self, text: str) -> bool:
        """As :func:`means_context`, for text."""
        text = text.strip()
        if text.isidentifier():
            value = self._scope.get(text, _NOWHERE)
            if value is not _NOWHERE and not self._is_free(text):  # the shortest way, for most
                return means_context(value, self)
        if len(text) > _LONGEST_TEXT:
            return False
        import ast

        try:
            return self._means(ast.parse(text, mode="eval").body)
        except SyntaxError:
            return False

    def _means(self, node: ast.expr) -> bool:
        import ast

        match node:
            case ast.Constant(str(text)):
                return self.text_means_context(text)
            case ast.BinOp(left, ast.BitOr(), right):
                return self._means(left) or self._means(right)
            case ast.Subscript(form, inside):
                if self.wanted is not Context and self._means(form):  # a generic class
                    return True
                parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
                kind = self._form(form)
                return any(map(self._means, parts if kind is not Annotated else parts[:1])) if kind else False
            case ast.Name() | ast.Attribute():
                value = self._value(node)
                if value is _NOWHERE:
                    return _is_called(self.wanted, ast.unparse(node))
                return self._means(value) if isinstance(value, ast.expr) else means_context(value, self)
        return False

    def _form(self, node: ast.expr) -> Any:
        """Which of Optional, Union and Annotated a subscripted name is; None for all others."""
        import ast

        value = self._value(node)
        if value is _NOWHERE and isinstance(node, ast.Name | ast.Attribute):
            last = node.id if isinstance(node, ast.Name) else node.attr
            value = {"Optional": Optional, "Union": Union, "Annotated": Annotated}.get(last)
        return value if value is Optional or value is Union or value is Annotated else None

    def _value(self, node: ast.expr) -> Any:
        """What a dotted name stands for; _NOWHERE if it is that, an expression if the source gives it that name."""
        import ast

        if isinstance(node, ast.Name):
            return self._named(node.id)
        if not isinstance(node, ast.Attribute):
            return _NOT_ONE
        of = self._value(node.value)
        if isinstance(of, ast.expr):
            of = self._value(of)
        return _NOWHERE if of is _NOWHERE else getattr(of, node.attr, _NOT_ONE)

    def _is_free(self, name: str) -> bool:
        return self._fn is not None and name in self._fn.__code__.co_freevars

    def _named(self, name: str) -> Any:
        fn = self._fn
        if fn is not None and self._is_free(name):
            try:
                return (fn.__closure__ or ())[fn.__code__.co_freevars.index(name)].cell_contents
            except ValueError:  # not bound yet
                return _NOWHERE
        if name in self._scope:
            return self._scope[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        return _NOWHERE if fn is None else self._in_source(fn, name)

    def _in_source(self, fn: FunctionType, name: str) -> Any:
        """What the source of ``fn`` calls ``name``, from the innermost scope around it outwards."""
        import linecache

        tree = _parsed("".join(linecache.getlines(fn.__code__.co_filename, fn.__globals__)))
        if tree is None:
            return _NOWHERE
        self.placed = "." in fn.__qualname__
        scopes = list(_around(tree, fn.__code__.co_firstlineno)) if self.placed else [tree]
        for scope in reversed(scopes):
            for statement in _statements(scope):
                found = _bound(statement, name, str(fn.__globals__.get("__package__") or ""))
                if found is not None:
                    return found
        return _NOWHERE


def _is_called(wanted: type[Any], name: str) -> bool:
    """What is left to go by where a dotted name is nowhere: its last part, unless the first is another library's."""
    first, _, rest = name.partition(".")
    known = wanted.__name__
    if name == known or first == "flow":
        return name in (known, f"flow.{known}", f"{wanted.__module__}.{known}")
    if rest != known or first in sys.modules:
        return False
    from importlib.util import find_spec

    return find_spec(first) is None


def _home_of(fn: Any) -> tuple[FunctionType | None, Mapping[str, Any]]:
    """The function whose annotations a callable shows, if there is one, and the globals that they name things of."""
    for _ in range(100):  # a __wrapped__ may lead back to itself
        inner = fn.func if isinstance(fn, partial) else fn.__func__ if isinstance(fn, MethodType) else _attribute(fn)
        if inner is None:
            break
        fn = inner
    if isinstance(fn, FunctionType):
        return fn, fn.__globals__
    owner = fn if isinstance(fn, type) else type(fn)
    for method in ("__init__", "__new__") if owner is fn else ("__call__",):
        found = getattr(owner, method, None)
        if isinstance(found, FunctionType):
            return found, found.__globals__
    module = sys.modules.get(str(getattr(owner, "__module__", "")))
    return None, {} if module is None else vars(module)


def _attribute(fn: Any) -> Any:
    try:
        return getattr(fn, "__wrapped__", None)
    except Exception:  # an object whose attributes raise
        return None


# -- in the source ---------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _parsed(text: str) -> ast.Module | None:
    import ast

    try:
        return ast.parse(text) if text else None
    except (SyntaxError, ValueError, RecursionError):  # (it was another file when it was imported)
        return None


def _around(tree: ast.AST, line: int) -> Iterator[ast.AST]:
    """Yield the scopes around the function that begins at ``line``, outermost first."""
    import ast

    at: ast.AST | None = tree
    while at is not None:
        yield at
        scope, at = at, None
        for statement in _statements(scope):
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([d.lineno for d in statement.decorator_list] + [statement.lineno])
                if first < line <= (statement.end_lineno or 0):
                    at = statement


def _statements(scope: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of one scope, those in its blocks too, but not those of functions and classes in it."""
    import ast

    todo: list[ast.AST] = list(ast.iter_child_nodes(scope))[::-1]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            todo += list(ast.iter_child_nodes(node))[::-1]


def _bound(statement: ast.stmt, name: str, package: str) -> Any:
    """What ``statement`` calls ``name``: an expression, or an object; None if it has no such name."""
    import ast

    match statement:
        case ast.Import(aliases):
            for alias in aliases:
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    module = alias.name if alias.asname else alias.name.partition(".")[0]
                    return sys.modules.get(module, _NOT_ONE)
        case ast.ImportFrom(module, aliases, level):
            for alias in aliases:
                if (alias.asname or alias.name) == name:
                    parents = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                    found = sys.modules.get(".".join([*parents, *([module] if module else [])]))
                    return getattr(found, alias.name, _NOT_ONE)
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return _NOT_ONE if statement.name == name else None
        case ast.Assign([ast.Name(target)], value) if target == name:
            return value
        case ast.AnnAssign(ast.Name(target), value=value) if target == name and value is not None:
            return value
    return None


__all__ = ["PLAIN", "Names", "annotations_of", "means_context", "means_outcome"]
