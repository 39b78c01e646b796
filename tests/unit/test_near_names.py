"""Which names may be a slip for which: every pair that people keep apart on purpose must stay silent."""

from __future__ import annotations

import pytest

from flow.plan.near import Known, is_near

SLIPS = [
    ("customers", "custmers"), ("customers", "custommers"), ("customers", "cusotmers"), ("customers", "customets"),
    ("retries", "retires"), ("max_retries", "max_retires"), ("separator", "seperator"), ("environment", "enviroment"),
    ("user_name", "username"), ("user_name", "userName"), ("region", "regoin"), ("Orders", "orders"),
    ("learning_rate", "learing_rate"), ("orders", "oders"), ("threshold", "treshold"), ("queries", "quries"),
    ("größe", "grösse"),
]  # fmt: skip

APART = [
    ("user", "users"), ("batch", "batches"), ("query", "queries"), ("score", "scored"), ("parse", "parser"),
    ("x1", "x2"), ("x", "x1"), ("user_1", "user_2"), ("table2023", "table2024"), ("a", "b"), ("n", "N"),
    ("row", "raw"), ("left", "lift"), ("date", "data"), ("train_date", "train_data"), ("min_value", "max_value"),
    ("sales_uk", "sales_us"), ("weight", "height"), ("content", "context"), ("contract", "contrast"),
    ("north", "south"), ("state", "estate"), ("word", "world"), ("input", "inputs"), ("index", "indexes"),
    ("train", "training"), ("user_ids", "users_ids"), ("import_", "export_"), ("encode", "decode"),
    ("same", "same"), ("a_b", "a_b_c"), ("", ""), ("", "a"), ("price", "prize"), ("lower", "upper"),
    ("before", "after"), ("ids_a", "ids_b"), ("col_left", "col_right"), ("source", "sources"), ("order", "border"),
    ("minimum", "maximum"), ("form", "from"), ("items1x", "items2x"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "other"), SLIPS)
def test_slips(name: str, other: str) -> None:
    assert is_near(name, other)
    assert is_near(other, name)


@pytest.mark.parametrize(("name", "other"), APART)
def test_names_that_are_kept_apart(name: str, other: str) -> None:
    assert not is_near(name, other)
    assert not is_near(other, name)


def test_the_names_that_one_is_compared_with() -> None:
    known = Known(["customers", "Customets", "orders"])
    assert list(known.near("custmers")) == ["customers"]
    assert list(known.near("zzz")) == []


def test_so_many_pairs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.plan.near.MOST_COMPARED", 3)
    known = Known(["orders", "others"])
    assert list(known.near("oders")) == ["orders"]
    assert list(known.near("odrers")) == ["orders"]
    assert list(known.near("oders")) == []
