"""Values of numpy, pandas, polars and pyarrow in a store: by their own formats, without pickle."""

from __future__ import annotations

from typing import Any

import pytest

from flow.errors import NotStorable
from flow.store.codec import Codecs
from flow.store.codec.fidelity import differences

CODECS = Codecs()


def back(value: Any, hint: Any = Any) -> Any:
    data = CODECS.encode(value)
    assert not data.startswith(b"p")
    return CODECS.decode(data, hint)


def test_arrays() -> None:
    np = pytest.importorskip("numpy")
    for value in (
        np.arange(6).reshape(2, 3), np.array(3.5), np.zeros((0, 2), "f4"), np.array(["a", "bc"]), np.array([True]),
        np.asfortranarray(np.ones((2, 3))), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2020-01-01"], "M8[D]"), np.array([1 + 2j]),
    ):  # fmt: skip
        for found in (
            back(value),
            back({"a": [value]})["a"][0],
            back([value], list[np.ndarray])[0],
            back(value, np.ndarray),
        ):
            assert type(found) is np.ndarray
            assert found.dtype == value.dtype
            assert found.shape == value.shape
            assert (found == value).all()
            assert not list(differences(value, found, CODECS))


def test_numbers_of_numpy() -> None:
    np = pytest.importorskip("numpy")
    for value in (
        np.float64(1.5),
        np.float32(1.5),
        np.int64(-3),
        np.uint8(7),
        np.bool_(True),
        np.str_("x"),
        np.complex64(1j),
    ):
        for found in (back(value), back([value])[0], back(value, type(value))):
            assert type(found) is type(value)
            assert found == value
    assert back(np.float64(1.5), float) == 1.5
    assert back([np.int64(3)], list[int]) == [3]
    assert back({np.int64(3): 1}) == {3: 1}


def test_what_numpy_would_pickle_or_lose_is_refused() -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(NotStorable, match=r"value\['a'\]: a numpy\.ndarray: codec 'npy' cannot write it"):
        CODECS.encode({"a": np.array([object()])})
    with pytest.raises(NotStorable, match="MaskedArray, which no codec"):
        CODECS.encode(np.ma.masked_array([1, 2], mask=[0, 1]))


def test_arrow() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1, None], "b": ["x", "y"], "c": [[1], []]}).replace_schema_metadata({"k": "v"})
    assert back(table).equals(table, check_metadata=True)
    assert back([table], list[pa.Table])[0].equals(table)
    batch = table.to_batches()[0]
    assert back(batch).equals(batch)
    assert back(table.slice(0, 0)).schema == table.schema


def test_pandas() -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {"a": [1, 2], "b": ["x", None], "t": pd.to_datetime(["2020-01-01", "2020-01-02"])}, index=["p", "q"]
    )
    pd.testing.assert_frame_equal(back(frame), frame)
    pd.testing.assert_frame_equal(back({"f": frame}, dict[str, pd.DataFrame])["f"], frame)
    with pytest.raises(NotStorable, match="codec 'arrow.pandas' cannot write it"):
        CODECS.encode(pd.DataFrame({"a": [object()]}))


def test_polars() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None], "c": [[1], []]})
    assert back(frame).equals(frame)
    assert back([frame], list[pl.DataFrame])[0].equals(frame)
    series = pl.Series("s", [1, None])
    assert back(series).equals(series, check_names=True)
