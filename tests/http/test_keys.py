"""Keys of a service: only hashes in a file of its owner's, and changes that a running service sees."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flow.errors import ConfigError, UsageError
from flow.http.keys import SCOPES, Key, Keys

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes of files")


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def faults_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Keys.open(path)
    assert str(path) in str(caught.value)
    return caught.value.faults


class TestVerify:
    def test_a_key_is_known_by_its_text_alone(self) -> None:
        keys = Keys.memory()
        text = keys.add("ci", "run")
        found = keys.verify(text)
        assert found is not None
        assert (found.name, found.scopes, found.scope) == ("ci", frozenset({"read", "run"}), "run")
        assert keys.verify(text.encode()) == found
        assert text.split("_", 2)[:2] == ["flow", found.id]
        other = keys.add("other", "admin")
        id, secret = text.split("_", 2)[1:]
        for wrong in (
            "", "flow", "flow__", text[:-1], text + "A", text.upper(), secret, f"flow_{id}_", f"flow_{id}",
            f"flow_{id}_{other.split('_', 2)[2]}", f"flow_{other.split('_')[1]}_{secret}", f"x_{id}_{secret}",
            f"flow_000000000000_{secret}", text + "\n", "\ud800" + text, "x" * 100_000, "\0",
        ):  # fmt: skip
            assert keys.verify(wrong) is None, wrong
        assert keys.verify(b"\xff_\xff_\xff") is None

    @pytest.mark.parametrize(("scope", "scopes"), [(one, set(SCOPES[: n + 1])) for n, one in enumerate(SCOPES)])
    def test_a_scope_includes_those_before_it(self, scope: str, scopes: set[str]) -> None:
        keys = Keys.memory()
        found = keys.verify(keys.add("a", scope))
        assert found is not None
        assert (set(found.scopes), found.scope) == (scopes, scope)

    def test_an_unknown_id_is_compared_as_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compared: list[tuple[int, int]] = []
        monkeypatch.setattr("flow.http.keys.compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
        keys = Keys.memory()
        keys.verify(keys.add("a"))
        assert keys.verify("flow_nobody_x") is None
        assert compared == [(32, 32)] * 2

    def test_removed_by_name_or_id(self) -> None:
        keys = Keys.memory()
        texts = [keys.add(name) for name in ("a", "b", "c")]
        assert keys.remove("a").name == "a"
        assert keys.remove(texts[1].split("_")[1]).name == "b"
        assert [keys.verify(text) is None for text in texts] == [True, True, False]
        assert [key.name for key in keys.list()] == ["c"]
        with pytest.raises(UsageError, match="no key 'cc' \\(did you mean 'c'"):
            keys.add("cdef") and keys.remove("cc")

    def test_all_that_is_wrong_with_a_new_key(self) -> None:
        keys = Keys.memory()
        with pytest.raises(ConfigError) as caught:
            keys.add("../x", "root")
        assert len(caught.value.faults) == 2
        id = keys.add("a").split("_")[1]
        for name in ("a", id):
            with pytest.raises(UsageError, match="^there is a key '.*' already: "):
                keys.add(name)
        assert len(keys.list()) == 1


class TestFile:
    def test_only_a_hash_is_stored(self, path: Path) -> None:
        keys = Keys.open(path, wall=Clock(), create=True)
        text = keys.add("ci", "admin")
        assert text.split("_", 2)[2] not in path.read_text(encoding="utf-8")
        again = Keys.open(path)
        assert (
            again.verify(text)
            == keys.verify(text)
            == Key(text.split("_")[1], "ci", frozenset(SCOPES), "2027-01-15T08:00:00+00:00")
        )
        again.remove("ci")
        assert Keys.open(path).list() == []
        assert sorted(os.listdir(path.parent)) == ["keys.json", "keys.json.lock"]

    @posix
    def test_its_owner_alone_can_read_it(self, path: Path) -> None:
        before = os.umask(0)
        try:
            Keys.open(path, create=True).add("a")
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for mode in (0o640, 0o604, 0o620):
            path.chmod(mode)
            assert faults_of(path) == (f"others can read or write it (mode {mode:o}): chmod 600 it",)
        path.chmod(0o400)
        assert len(Keys.open(path).list()) == 1

    @posix
    def test_a_link_is_followed(self, path: Path) -> None:
        Keys.open(path, create=True).add("a")
        link = path.parent / "link.json"
        link.symlink_to(path)
        Keys.open(link).add("b")
        assert link.is_symlink()
        assert [key.name for key in Keys.open(path).list()] == ["a", "b"]

    def test_no_file(self, path: Path) -> None:
        with pytest.raises(UsageError, match="^there is no file of keys '.*': `flow keys add NAME --file .*` makes"):
            Keys.open(path)
        assert not path.exists()
        with pytest.raises(ConfigError, match="cannot be locked"):
            Keys.open(path.parent / "no folder" / "x", create=True).add("a")
        assert "directory" in faults_of(path.parent)[0] or os.name != "posix"

    def test_a_failed_write_changes_nothing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = Keys.open(path, create=True)
        text, before = keys.add("a"), path.read_bytes()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("flow.http.keys.os.fsync", full)
        with pytest.raises(ConfigError, match="cannot be written: No space left"):
            keys.add("b")
        assert path.read_bytes() == before
        assert keys.verify(text) is not None
        assert [key.name for key in keys.list()] == ["a"]
        assert sorted(os.listdir(path.parent)) == ["keys.json", "keys.json.lock"]

    def test_changes_at_once_all_count(self, path: Path) -> None:
        def add(index: int) -> str:
            return Keys.open(path, create=True).add(f"key-{index}")

        with ThreadPoolExecutor(8) as pool:
            texts = list(pool.map(add, range(16)))
        keys = Keys.open(path)
        assert {key.name for key in keys.list()} == {f"key-{index}" for index in range(16)}
        assert all(keys.verify(text) for text in texts)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"keys": 1}', "\x80", "[" * 100_000, '{"keys": [], "keys"'])
    def test_no_file_of_keys(self, path: Path, text: str) -> None:
        path.write_bytes(text.encode("latin-1"))
        path.chmod(0o600)
        assert len(faults_of(path)) == 1

    def test_all_faults_of_a_file_and_none_shows_a_hash(self, path: Path) -> None:
        Keys.open(path, create=True).add("a")
        raw = json.loads(path.read_bytes())
        good = raw["keys"][0]
        raw |= {"version": 2, "secret": "c2hvcnQ", "used": {"a": "b"}}
        raw["keys"] += [good, {**good, "id": "b", "name": "a b", "scope": "all", "hash": "secret"}, {"id": 1}, 7]
        path.write_text(json.dumps(raw), encoding="utf-8")
        faults = faults_of(path)
        of_keys = [f"keys[{index}]" for index in (1, 1, 2, 2, 2, 3, 4)]
        starts = ["its version", "secret must", *of_keys, "used must"]
        assert [fault.startswith(start) for fault, start in zip(faults, starts, strict=True)] == [True] * 10
        assert not any(hidden in str(faults) for hidden in (good["hash"], raw["secret"], "'secret'"))


class TestRefresh:
    def test_a_running_service_sees_changes_once_a_second(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Keys.open(path, create=True).add("a")
        clock = Clock()
        keys = Keys.open(path, clock)
        looks: list[Any] = []
        stat_of = os.stat
        monkeypatch.setattr("flow.http.keys.os.stat", lambda *args: looks.append(args) or stat_of(*args))
        text = Keys.open(path).add("b")
        looks.clear()
        keys.refresh()
        assert (keys.verify(text), looks) == (None, [])
        clock.now += 1.0
        for _ in range(3):
            keys.refresh()
        assert keys.verify(text) is not None
        known = keys.list()
        clock.now += 1.0
        keys.refresh()
        assert keys.list()[0] is known[0], "a file that has not changed is not read again"
        Keys.open(path).remove("b")
        clock.now += 1.0
        assert keys.verify(text) is None, "to verify is to look at the file"

    @pytest.mark.parametrize("how", ["gone", "faulty", pytest.param("open", marks=posix)])
    def test_what_cannot_be_used_leaves_the_keys(self, path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
        text = Keys.open(path, create=True).add("a")
        clock = Clock()
        keys = Keys.open(path, clock)
        good = path.read_bytes()
        path.unlink()
        if how != "gone":
            path.write_bytes(good if how == "open" else b"{")
            path.chmod(0o644 if how == "open" else 0o600)
        with caplog.at_level(logging.ERROR, "flow"):
            for _ in range(3):
                clock.now += 1.0
                keys.refresh()
        assert keys.verify(text) is not None
        assert len(caplog.records) == 1, "said once, not every second"
        assert "the keys read before stay valid" in caplog.text
        path.write_bytes(good)
        path.chmod(0o600)
        new = Keys.open(path).add("b")
        clock.now += 1.0
        keys.refresh()
        assert keys.verify(new) is not None

    def test_memory_has_nothing_to_look_at(self) -> None:
        clock = Clock()
        keys = Keys.memory(clock)
        clock.now += 5
        keys.refresh()
        assert keys.list() == []


def test_no_key_is_in_a_repr() -> None:
    keys = Keys.memory()
    text = keys.add("a")
    assert text.split("_", 2)[2] not in repr(keys) + repr(keys.list()) + str(sys.exc_info())
