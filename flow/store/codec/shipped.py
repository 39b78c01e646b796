"""The codecs that ship: numpy by its own format, tables of pandas, polars and pyarrow as Arrow IPC streams.

None of these libraries is imported before a value of it comes, or is read. Nothing here pickles.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from typing import Any, Final

from flow.errors import StoreError

_MODULE: Final[Callable[[type], Any]] = type.__dict__["__module__"].__get__
_NAME: Final[Callable[[type], str]] = type.__dict__["__name__"].__get__


class Shipped:
    """A codec by two functions."""

    __slots__ = ("_library", "_read", "_write", "name")

    def __init__(self, name: str, library: str, write: Callable[[Any], bytes], read: Callable[[bytes], Any]) -> None:
        self.name = name
        self._library = library
        self._write = write
        self._read = read

    def encode(self, value: Any) -> bytes:
        """Return the value in the library's format."""
        return self._write(value)

    def decode(self, data: bytes) -> Any:
        """Return the value. :raises StoreError: if the library is not installed."""
        try:
            return self._read(data)
        except ImportError as error:
            raise StoreError(f"a value of {self._library} is stored, which cannot be imported: {error}") from error


def shipped_for(kind: type) -> Shipped | None:
    """Return the codec for values of a type; None if there is none. O(classes of the type).

    Exactly that type: a subclass may hold more than is written (the mask of a masked array). But all numpy scalars.
    """
    codec = _BY_CLASS.get(_named(kind))
    if codec is not None:
        return codec
    is_scalar = any(_named(one) == ("numpy", "generic") for one in type.__dict__["__mro__"].__get__(kind))
    return NPY_SCALAR if is_scalar and _named(kind)[0] == "numpy" else None


def _named(kind: type) -> tuple[str, str]:
    """Return the library that a class says it is of, and its name. (Asked of ``type``: a metaclass may raise.)"""
    module, name = _MODULE(kind), _NAME(kind)
    return (module.partition(".")[0] if type(module) is str else "", name)


# -- numpy ----------------------------------------------------------------------------------


def _write_array(value: Any) -> bytes:
    numpy = import_module("numpy")
    out = BytesIO()
    numpy.save(out, value, allow_pickle=False)
    return out.getvalue()


def _read_array(data: bytes) -> Any:
    numpy = import_module("numpy")
    return numpy.load(BytesIO(data), allow_pickle=False)


def _read_scalar(data: bytes) -> Any:
    return _read_array(data)[()]


# -- Arrow ----------------------------------------------------------------------------------


def _write_arrow(table: Any) -> bytes:
    pyarrow = import_module("pyarrow")
    out = BytesIO()
    with pyarrow.ipc.new_stream(out, table.schema) as stream:
        stream.write(table)
    return out.getvalue()


def _read_arrow(data: bytes) -> Any:
    pyarrow = import_module("pyarrow")
    with pyarrow.ipc.open_stream(data) as stream:
        return stream.read_all()


def _read_batch(data: bytes) -> Any:
    pyarrow = import_module("pyarrow")
    with pyarrow.ipc.open_stream(data) as stream:
        return stream.read_next_batch()


def _write_pandas(frame: Any) -> bytes:
    pyarrow = import_module("pyarrow")
    return _write_arrow(pyarrow.Table.from_pandas(frame))


def _read_pandas(data: bytes) -> Any:
    return _read_arrow(data).to_pandas()


def _write_polars(frame: Any) -> bytes:
    out = BytesIO()
    frame.write_ipc_stream(out)
    return out.getvalue()


def _read_polars(data: bytes) -> Any:
    return import_module("polars").read_ipc_stream(BytesIO(data))


def _write_polars_series(series: Any) -> bytes:
    return _write_polars(series.to_frame())


def _read_polars_series(data: bytes) -> Any:
    return _read_polars(data).to_series()


NPY: Final = Shipped("npy", "numpy", _write_array, _read_array)
NPY_SCALAR: Final = Shipped("npy.scalar", "numpy", _write_array, _read_scalar)
ARROW: Final = Shipped("arrow", "pyarrow", _write_arrow, _read_arrow)
ARROW_BATCH: Final = Shipped("arrow.batch", "pyarrow", _write_arrow, _read_batch)
PANDAS: Final = Shipped("arrow.pandas", "pandas", _write_pandas, _read_pandas)
POLARS: Final = Shipped("arrow.polars", "polars", _write_polars, _read_polars)
POLARS_SERIES: Final = Shipped("arrow.polars.series", "polars", _write_polars_series, _read_polars_series)

SHIPPED: Final = {codec.name: codec for codec in (NPY, NPY_SCALAR, ARROW, ARROW_BATCH, PANDAS, POLARS, POLARS_SERIES)}

_BY_CLASS: Final = {
    ("numpy", "ndarray"): NPY,
    ("numpy", "memmap"): NPY,
    ("pyarrow", "Table"): ARROW,
    ("pyarrow", "RecordBatch"): ARROW_BATCH,
    ("pandas", "DataFrame"): PANDAS,
    ("polars", "DataFrame"): POLARS,
    ("polars", "Series"): POLARS_SERIES,
}

__all__ = ["SHIPPED", "Shipped", "shipped_for"]
