"""The run inputs that a Dag declares: their names, types and defaults (``flow.Dag(inputs=...)``)."""

from __future__ import annotations

import datetime
import decimal
import re
import types
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from flow.errors import Hints, Show, a_kind, described, shown
from flow.masking import Masks, is_secret, texts_in, unmarked
from flow.plan.definition import Definition
from flow.plan.wiring import InputSlots
from flow.signature import qualname_of
from flow.types import ABSENT, MISSING

_NATIVE: Final = (
    bytes, bytearray, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, decimal.Decimal,
)  # fmt: skip
"""Types whose values are taken as they are: a text is no value of these types."""

_FORMS: Final = (
    "the names of the run inputs in a list, a msgspec Struct, dataclass or TypedDict whose fields they are, "
    "or ... (anything goes)"
)


class Declared(msgspec.Struct, frozen=True):
    """The run inputs that a Dag declares.

    :ivar names: the names of all declared inputs. :ivar types: by name, for inputs with a type.
    :ivar defaults: by name, a 1-tuple; ``factories`` make a default for each run.
    :ivar required: inputs that every run must give. An input that is not required and has no default may be left out;
        the default of the parameter holds then.
    :ivar infers: a parameter that neither a node nor a declared input fills is a run input, as without a declaration.
    :ivar anything: a run may give other inputs as well.
    :ivar source: the class that declares them, if one does.
    :ivar secret: inputs whose values are not shown.
    """

    names: tuple[str, ...]
    types: Mapping[str, Any]
    defaults: Mapping[str, tuple[Any]]
    factories: Mapping[str, Callable[[], Any]]
    required: frozenset[str]
    infers: bool = False
    anything: bool = False
    source: Any = None
    secret: frozenset[str] = frozenset()

    def narrowed(self, dropped: Iterable[str]) -> Declared:
        """Return the same declaration in which ``dropped`` are not required."""
        return msgspec.structs.replace(self, required=self.required.difference(dropped))

    def without(self, names: Iterable[str]) -> Declared:
        """Return the declaration without ``names``, for a Dag that includes the nodes of this one."""
        dropped = set(names)
        kept = tuple([name for name in self.names if name not in dropped])
        return msgspec.structs.replace(
            self, names=kept, required=self.required.intersection(kept), source=None, secret=self.secret - dropped
        )

    def filled(self, given: Mapping[str, Any], show: Show) -> tuple[dict[str, Any], list[str]]:
        """Return the checked ``given`` with defaults for other inputs, and the faults, without secrets in them."""
        values: dict[str, Any] = dict(given)
        faults: list[str] = []
        for name in self.names:
            if name in given:
                if name in self.types:
                    shows = a_kind if name in self.secret else show
                    values[name], fault = checked(given[name], self.types[name], shows)
                    if fault:
                        kind = type_text(self.types[name])
                        faults.append(f"input {name!r} is not of its declared type {kind}{fault}")
            elif name in self.defaults:
                values[name] = self.defaults[name][0]
            elif name in self.factories:
                try:
                    values[name] = self.factories[name]()
                except Exception as error:
                    faults.append(f"the default of input {name!r} cannot be made: {described(error)}")
        if not faults and hasattr(self.source, "__post_init__") and all(name in values for name in self.names):
            faults += self._made(values)
        if faults and self.secret:
            faults = self._masked(faults, [*values.items(), *given.items()])
        return values, faults

    def _masked(self, faults: list[str], values: Sequence[tuple[str, Any]]) -> list[str]:
        """Return ``faults`` without the texts of secret values: a class may repeat any in what it raises."""
        try:
            masks = Masks(texts_in([value for name, value in values if name in self.secret]))
        except ValueError:  # there are too many: the run is refused for that
            return [fault.partition(":")[0] for fault in faults]
        return [masks.text(fault) for fault in faults]

    def _made(self, values: dict[str, Any]) -> list[str]:
        """Let the class's ``__post_init__`` check the values together, and take over the values that it sets."""
        try:
            made = self.source(**{name: values[name] for name in self.names})
            values.update({name: getattr(made, name) for name in self.names})
        except Exception as error:
            return [f"{qualname_of(self.source)} refuses the inputs: {described(error)}"]
        return []

    def read(self, name: str, value: Any, text: str | None) -> Any:
        """Return input ``name`` of a command line, or of a JSON file, as its declared type; unchanged if that fails.

        :param value: the text read as JSON, else the text itself. :param text: None for values of a file.
        """
        if name not in self.types:
            return value
        for said in (value,) if text is None or text is value else (value, text):
            try:
                return msgspec.convert(said, self.types[name], strict=text is None, dec_hook=path_of)
            except Exception:  # the check of all inputs reports it
                continue
        return value


class DeclaredSlots(InputSlots):
    """The slots of a Dag that declares its inputs.

    :ivar unfilled: slots of parameters without a default that nothing fills, by slot; ``left_out``, of those with one.
    """

    __slots__ = ("declared", "left_out", "unfilled")

    def __init__(self, declared: Declared, names: Mapping[str, tuple[int, ...]], tail: Sequence[Any]) -> None:
        super().__init__(names, tail)
        self.declared: Declared = declared
        self.unfilled: dict[int, str] = {}
        self.left_out = {}
        for name in declared.names:
            self.names.setdefault(name, [])

    def slot(self, name: str, default: tuple[Any, ...]) -> int:
        declared = self.declared
        if name in declared.required:
            default = ()
        elif name in declared.defaults or name in declared.factories:
            default = (ABSENT,)  # every run has the declared default
        elif name not in self.names and not declared.infers:
            return self._open_slot(name, default)
        return super().slot(name, default)

    def _open_slot(self, name: str, default: tuple[Any, ...]) -> int:
        """Return a slot that no input fills: its own default stays there."""
        value = default[0] if default else MISSING
        slot = self._slots.get((name, id(value)))
        if slot is None:
            self.values.append(value)
            slot = self._slots[name, id(value)] = -len(self.values)
        (self.left_out if default else self.unfilled)[slot] = name
        return slot


    def unfilled_faults(
        self, arguments: Sequence[tuple[int, ...]], names: Sequence[Any], taker: Callable[[int, str], str]
    ) -> list[str]:
        if not self.unfilled:
            return []
        hints = Hints()
        known = [*[name for name in names if isinstance(name, str)], *self.declared.names]
        faults = []
        for i, slots in enumerate(arguments):
            for slot in slots:
                name = self.unfilled.get(slot) if slot < 0 else None
                if name is not None:
                    meant = hints.nearest(name, known)
                    faults.append(f"{taker(i, name)}, which is neither a node nor a declared input{meant}")
        return faults


def declaration(d: Definition, previous: Declared | None, names: Sequence[Any]) -> tuple[Declared, list[str]]:
    """Return the declared inputs of a definition, with those of included Dags, and the faults.

    :param previous: the declaration that a shorter plan of the same Dag has read. :param names: of the nodes.
    """
    faults: list[str] = []
    own = previous
    if own is None:
        own, faults = (d.inputs, []) if isinstance(d.inputs, Declared) else _declared(d.inputs)
    nodes = set(names)
    faults += [
        f"input {shown(name)} is declared, and is the name of a node as well: names must differ"
        for name in own.names
        if name in nodes
    ]
    for other in d.included:
        own = _joined(own, other.without([*own.names, *nodes]), other.secret.difference(nodes))
    return own, faults


def _joined(own: Declared, other: Declared, secret: frozenset[str]) -> Declared:
    return msgspec.structs.replace(
        own,
        names=(*own.names, *other.names),
        types={**{name: other.types[name] for name in other.names if name in other.types}, **own.types},
        defaults={**{name: other.defaults[name] for name in other.names if name in other.defaults}, **own.defaults},
        factories={**{name: other.factories[name] for name in other.names if name in other.factories}, **own.factories},
        required=own.required | other.required,
        secret=own.secret | secret,
    )


def _declared(raw: Any) -> tuple[Declared, list[str]]:
    """Read the ``inputs`` of a Dag."""
    empty = Declared((), {}, {}, {}, frozenset(), infers=True)
    if raw is None:
        return empty, []
    if raw is ...:
        return msgspec.structs.replace(empty, anything=True), []
    if isinstance(raw, (list, tuple)):
        return _of_names(raw)
    if not isinstance(raw, type):
        return empty, [f"inputs must be {_FORMS}, not {shown(raw)}"]
    try:
        return _of_class(raw), []
    except TypeError as error:
        return empty, [str(error) if str(error).startswith("inputs ") else _unresolved(raw, error)]
    except Exception as error:  # an annotation with an unknown name, or a class whose attributes raise
        return empty, [_unresolved(raw, error)]


def _unresolved(raw: Any, error: Exception) -> str:
    return (
        f"inputs: the annotations of {qualname_of(raw)} cannot be resolved: {described(error)}; "
        "what they name must be there at run time, in the class's module"
    )


def _of_names(raw: Sequence[Any]) -> tuple[Declared, list[str]]:
    names = [name for name in raw if name is not ...]
    anything = len(names) < len(raw)
    faults = [f"inputs names run inputs by strings, not by {shown(n)}" for n in names if not isinstance(n, str)]
    plain = [str.__str__(name) for name in names if isinstance(name, str)]
    faults += [f"inputs names {shown(name)} twice" for name, count in Counter(plain).items() if count > 1]
    faults += [f"inputs names {shown(name)}, which is no name: it is empty" for name in plain if not name]
    once = tuple(dict.fromkeys(plain))
    return Declared(once, {}, {}, {}, frozenset(once), infers=anything or bool(faults), anything=anything), faults


def _of_class(cls: Any) -> Declared:
    """Read the fields of a Struct, dataclass or TypedDict. :raises TypeError: if it is none."""
    import dataclasses
    from typing import get_type_hints, is_typeddict

    defaults: dict[str, tuple[Any]] = {}
    factories: dict[str, Callable[[], Any]] = {}
    optional: set[str] = set()
    if issubclass(cls, msgspec.Struct):
        fields: Sequence[Any] = msgspec.structs.fields(cls)  # the types are as resolved by msgspec
        hints = {field.name: field.type for field in fields}
        nothing: Any = msgspec.NODEFAULT
    elif dataclasses.is_dataclass(cls):
        fields = [field for field in dataclasses.fields(cls) if field.init]
        hints = get_type_hints(cls, include_extras=True)
        for name, hint in hints.items():
            if isinstance(hint, dataclasses.InitVar):
                raise TypeError(f"inputs cannot be {qualname_of(cls)}: its {name!r} is an InitVar, so make it a field")
        hints = {field.name: hints[field.name] for field in fields}
        nothing = dataclasses.MISSING
    elif is_typeddict(cls):
        fields, nothing = (), None
        hints, optional = _of_typed_dict(cls, get_type_hints(cls, include_extras=True))
    else:
        raise TypeError(f"inputs must be {_FORMS}, not the class {qualname_of(cls)}")
    for field in fields:
        if field.default is not nothing:
            defaults[field.name] = (field.default,)
        elif field.default_factory is not nothing:
            factories[field.name] = field.default_factory
    required = frozenset(hints).difference(defaults, factories, optional)
    secret = frozenset([name for name, hint in hints.items() if is_secret(hint)])
    kinds = {name: unmarked(hint) if name in secret else hint for name, hint in hints.items()}
    return Declared(tuple(hints), kinds, defaults, factories, required, source=cls, secret=secret)


def _of_typed_dict(cls: Any, hints: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return the types of a TypedDict's keys, without Required and NotRequired, and the keys that may be left out."""
    from typing import NotRequired, Required

    plain: dict[str, Any] = {}
    optional = set(cls.__optional_keys__)
    for name, hint in hints.items():
        origin = get_origin(hint)
        while origin is Required or origin is NotRequired or getattr(origin, "_name", "") == "ReadOnly":
            if origin is NotRequired:  # postponed annotations hide it from __optional_keys__
                optional.add(name)
            elif origin is Required:
                optional.discard(name)
            hint = get_args(hint)[0]
            origin = get_origin(hint)
        plain[name] = hint
    return plain, optional


def checked(value: Any, kind: Any, show: Show) -> tuple[Any, str]:
    """Return ``value`` as ``kind``, and its fault; an empty text if it fits."""
    try:
        return msgspec.convert(value, kind, builtin_types=_NATIVE), ""
    except msgspec.ValidationError as error:
        if isinstance(kind, type) and isinstance(value, kind) and not isinstance(value, bool):
            return value, ""  # of a subclass, which msgspec does not know: of numpy's float64, say
        return value, f": {_in_python(str(error))}" if show is not a_kind else f": it is {a_kind(value)}"
    except Exception:  # msgspec does not know the type
        fits = is_instance(value, kind)
        return value, f": it is {a_kind(value)}" if fits is False else ""


def _in_python(text: str) -> str:
    """Say in Python's words what msgspec says in those of JSON."""
    of_json = {"null": "None", "object": "mapping", "array": "sequence"}
    named = re.compile(r"(?<=[`| ])(?:null|object|array)(?=[`| ])")
    told = lambda found: named.sub(lambda word: of_json[word[0]], found[0])  # noqa: E731
    return re.sub(r"(?:Expected|got) `[^`]*`", told, text)  # (nothing of the value is in there)


def is_instance(value: Any, kind: Any) -> bool | None:
    """Tell whether ``value`` is of the type ``kind``; None if that cannot be decided."""
    from typing import Union

    origin = get_origin(kind)
    if kind is Any:
        return True
    if kind is None:
        return value is None
    if origin is Annotated:
        return is_instance(value, get_args(kind)[0])
    if origin is Union or isinstance(kind, types.UnionType):
        answers = [is_instance(value, part) for part in get_args(kind)]
        return True if True in answers else None if None in answers else False
    try:
        known = isinstance(value, origin or kind)
    except Exception:  # no class, or one that does not answer
        return None
    return known if origin is None or not known else None


def type_text(kind: Any) -> str:
    """Return a type roughly as its author wrote it, without what limits its values."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if isinstance(kind, type) and not hasattr(kind, "__args__"):
        return kind.__name__
    return shown(kind).replace("typing.", "")


def path_of(kind: Any, value: Any) -> Any:
    """Make a path from text, which msgspec does not do."""
    from pathlib import PurePath

    return kind(value) if isinstance(kind, type) and issubclass(kind, PurePath) and isinstance(value, str) else value


__all__ = ["Declared", "DeclaredSlots", "checked", "declaration", "is_instance", "path_of", "type_text"]
