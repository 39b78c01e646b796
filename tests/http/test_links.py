"""Links to the page of a service, each for one session: when they end, and that nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import ConfigError
from flow.http.keys import Keys


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class TestLinks:
    def test_a_link_begins_one_session(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.json"
        Keys.open(path, create=True).add("a")
        wall = Clock()
        token = Keys.open(path, wall=wall).link_token("run")
        service = Keys.open(path, wall=wall)
        wall.now += 599
        cookie = service.redeem(token)
        assert cookie is not None
        assert service.redeem(token) is None
        assert Keys.open(path, wall=wall).redeem(token) is None  # another worker, and the next start
        key = service.session(cookie)
        assert key is not None
        assert (key.scopes, key.name) == (frozenset({"read", "run"}), "page")
        wall.now += 12 * 3_600 - 1
        assert service.session(cookie) == key
        wall.now += 1
        assert service.session(cookie) is None

    def test_expiry(self) -> None:
        wall = Clock()
        keys = Keys.memory(wall=wall)
        token = keys.link_token(seconds=5)
        wall.now += 5
        assert keys.redeem(token) is None

    def test_used_links_are_forgotten_once_they_would_have_ended(self, tmp_path: Path) -> None:
        path, wall = tmp_path / "keys.json", Clock()
        keys = Keys.open(path, create=True, wall=wall)
        keys.add("a")
        for _ in range(3):
            assert keys.redeem(keys.link_token(seconds=5)) is not None
            wall.now += 6
        assert len(json.loads(path.read_text("utf-8"))["used"]) == 1

    def test_a_file_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "keys.json"
        keys = Keys.open(path, create=True)
        keys.add("a")
        token = keys.link_token()

        def refuse(*_: object) -> None:
            raise ConfigError("the file", ["it cannot be written"])

        monkeypatch.setattr("flow.http.keys._written", refuse)
        assert keys.redeem(token) is not None
        assert keys.redeem(token) is None

    def test_all_sessions_are_ended(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.json"
        keys = Keys.open(path, create=True)
        text = keys.add("a")
        cookie, token = str(keys.redeem(keys.link_token())), keys.link_token()
        keys.end_sessions()
        for one in (keys, Keys.open(path)):
            assert one.session(cookie) is None and one.redeem(token) is None
            assert one.verify(text) is not None

    def test_neither_is_the_other_and_neither_is_another_services(self) -> None:
        keys = Keys.memory()
        token = keys.link_token()
        cookie = keys.redeem(token)
        assert cookie is not None
        assert keys.session(token) is None
        assert keys.redeem(cookie) is None
        assert keys.verify(token) is keys.verify(cookie) is None
        assert Keys.memory().redeem(token) is None
        assert Keys.memory().session(cookie) is None

    def test_all_that_is_wrong_with_a_link(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Keys.memory().link_token("root", -1)
        assert len(caught.value.faults) == 2

    keys = Keys.memory()
    texts = (keys.link_token("read"), str(keys.redeem(keys.link_token("read"))))

    @given(data=st.data(), index=st.sampled_from([0, 1]))
    def test_no_change_is_taken(self, data: st.DataObject, index: int) -> None:
        text = self.texts[index]
        at = data.draw(st.integers(0, len(text)))
        changed = text[:at] + data.draw(st.text(max_size=2)) + text[at + data.draw(st.integers(0, 1)) :]
        if changed != text:
            assert self.keys.redeem(changed) is None
            assert self.keys.session(changed) is None

    @pytest.mark.parametrize("text", ["", ".", "...", "a.b.c.d", "9" * 300, "1.admin.x.", "\ud800", "\0"])
    def test_no_text_breaks_them(self, text: str) -> None:
        assert self.keys.redeem(text) is None
        assert self.keys.session(text) is None

    def test_they_fit_a_url_and_a_cookie(self) -> None:
        for text in self.texts:
            assert text.replace(".", "").replace("-", "").replace("_", "").isalnum()
            assert len(text) < 200
