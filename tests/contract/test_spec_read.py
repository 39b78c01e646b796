"""Which files are read, and what is said of those that are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import flow
from flow.errors import SpecError

pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")

from flow import spec
from flow.spec import loading

OUTER = "flow: 1\nnodes:\n  a: {file: %s}\n"
INNER = "flow: 1\nnodes:\n  b: {set: {c: 1}}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(path: str = "outer.yaml") -> list[str]:
    with pytest.raises(SpecError) as error:
        spec.load(path)
    return list(error.value.faults)


def test_a_file_that_is_not_there() -> None:
    assert refused() == ["outer.yaml:1:1: it cannot be read: No such file or directory"]


def test_a_folder() -> None:
    os.mkdir("outer.yaml")
    assert len(refused()) == 1


def test_a_file_that_is_not_utf_8(folder: Path) -> None:
    (folder / "outer.yaml").write_bytes(b"flow: 1\nname: caf\xe9\n")
    assert refused() == ["outer.yaml:2:10: the file is not UTF-8: byte 0xe9 cannot stand here"]


def test_faults_of_an_inner_file_have_its_places(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "outer.yaml").write_text(OUTER % "parts/inner.yaml")
    (folder / "parts" / "inner.yaml").write_text(INNER.replace("set", "sett"))
    assert [fault.partition(": ")[0] for fault in refused()] == [os.path.join("parts", "inner.yaml:3:3")]
    (folder / "parts" / "inner.yaml").write_bytes(b"\xff")
    place = os.path.join("parts", "inner.yaml:1:1")
    assert refused() == [f"{place}: the file is not UTF-8: byte 0xff cannot stand here"]


def test_a_link_does_not_lead_out_of_the_folder(folder: Path) -> None:
    (folder / "secret.yaml").write_text(INNER)
    (folder / "flows").mkdir()
    (folder / "flows" / "outer.yaml").write_text(OUTER % "inner.yaml")
    try:
        (folder / "flows" / "inner.yaml").symlink_to(folder / "secret.yaml")
    except OSError:
        pytest.skip("links cannot be made here")
    wanted = "outer.yaml:3:13: file 'inner.yaml' lies outside of the folder of the file that runs it"
    assert refused("flows/outer.yaml") == [f"flows/{wanted}"]


def test_a_text_has_files_only_with_a_folder(folder: Path) -> None:
    (folder / "inner.yaml").write_text(INNER)
    with pytest.raises(
        SpecError, match="w:3:13: a file is looked for beside the file that runs it, and this is a text"
    ):
        spec.loads(OUTER % "inner.yaml", name="w")
    assert dict(flow.run(spec.loads(OUTER % "inner.yaml", folder=folder))["a"]) == {"b": {"c": 1}}


def test_there_is_a_limit_of_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MAX_FILES", 2)
    for name in "xyz":
        (folder / f"{name}.yaml").write_text(INNER)
    nodes = "".join(f"  {name}: {{file: {name}.yaml}}\n" for name in "xyz")
    (folder / "outer.yaml").write_text(f"flow: 1\nnodes:\n{nodes}")
    assert refused() == ["outer.yaml:5:13: file 'z.yaml' is one file too many: 2 are read at most"]


def test_a_file_that_is_run_twice_is_read_once_and_counts_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MAX_FILES", 1)
    (folder / "inner.yaml").write_text(INNER)
    (folder / "outer.yaml").write_text("flow: 1\nnodes:\n  x: {file: inner.yaml}\n  y: {file: inner.yaml}\n")
    result = flow.run(spec.load("outer.yaml"))
    assert dict(result["x"]) == dict(result["y"]) == {"b": {"c": 1}}


def test_circles_of_several_files(folder: Path) -> None:
    for name, inner in (("outer", "b"), ("b", "c"), ("c", "outer")):
        (folder / f"{name}.yaml").write_text(OUTER % f"{inner}.yaml")
    assert refused() == [
        "c.yaml:3:13: file 'outer.yaml' is being read already: the files run each other in a circle "
        "(outer.yaml -> b.yaml -> c.yaml -> outer.yaml)"
    ]
