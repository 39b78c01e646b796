"""Files that users name: only plain files are read, and what is written is whole or not there."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA

import flow
from flow import files
from flow.config import files as config_files
from flow.errors import printable
from flow.types import is_name

LONG = "a" * 300
unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and devices by name")


def traces_error(path: Any) -> str:
    with pytest.raises(flow.errors.TraceError) as caught:
        flow.traces.load(path)
    return str(caught.value)


def config_error(path: Any) -> str:
    with pytest.raises(flow.errors.ConfigError) as caught:
        flow.Config.load(path)
    return str(caught.value)


@pytest.mark.parametrize("error_of", [traces_error, config_error])
class TestPathsOfAnyKind:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("a\0b", "cannot be read: embedded null character"),
            ("a\ud800b", "cannot be read: its path holds characters that no path can hold"),
            (LONG, "cannot be read: File name too long"),
            ("absent", "there is no such file"),
            ("file/below", "cannot be read: Not a directory"),
        ],
    )
    def test_of_names_that_no_file_has(
        self, error_of: Callable[[Any], str], name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("file").touch()
        assert reason in error_of(name)

    @pytest.mark.parametrize("path", [5, None, object()])
    def test_of_what_is_no_path(self, error_of: Callable[[Any], str], path: Any) -> None:
        assert "its path must be a str or a Path, not " in error_of(path)

    @unix
    def test_of_pipes_and_devices(self, error_of: Callable[[Any], str], tmp_path: Path) -> None:
        pipe, link = tmp_path / "pipe", tmp_path / "link"
        os.mkfifo(pipe)
        link.symlink_to("/dev/zero")
        for path in (pipe, link, "/dev/zero", "/dev/null"):
            assert "it is a pipe or a device, not a regular file" in error_of(path)

TOO_DEEP = "it is nested too deeply to be a trace" if sys.version_info < (3, 14) else "it is not JSON: "
"""How deep is too deep goes by the size of the stack from 3.14 on."""


class TestReading:
    def test_up_to_a_size(self, tmp_path: Path) -> None:
        path = tmp_path / "flow.toml"
        path.write_bytes(b"1234")
        assert files.read(str(path), 4) == b"1234"
        with pytest.raises(OSError, match="it is larger than"):
            files.read(str(path), 3)

    def test_settings_have_a_largest_size(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(config_files, "MAX_BYTES", 2**20)
        path = tmp_path / "flow.toml"
        path.write_text("[flow]\n" + "#" * 2**20)
        assert "it cannot be read: it is larger than 1 MiB" in config_error(path)

    def test_a_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "flow.toml"
        path.write_text("[flow]\nlimit = 3\n", encoding="utf-8-sig")
        assert flow.Config.load(path).limit == 3
        trace = tmp_path / "t.json"
        plain = DATA / "helloworld-chain-5-chameleon.json"
        trace.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
        assert len(flow.traces.load(trace).compile()) == 5

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('{"schemaVersion":"1.5","name":5,', "it is not JSON: "),
            ('{"schemaVersion":"1.5","name":5}x', "it is not JSON: "),
            ('{"schemaVersion":"1.5","name":5,"n":NaN}', "it is not JSON: "),
            ('{"schemaVersion":"1.5","name":5,"x":' + "[" * 100_000, TOO_DEEP),
            ('{"schemaVersion":"1.5","x":' + "[" * 100_000, TOO_DEEP),
            ('{"schemaVersion":"1.5","name":5,"\xff', "it is not JSON: "),
            ('{"schemaVersion":"1.5","name":5}', "it is not WfFormat 1.5: "),
            ('{"schemaVersion":"1.3","name":5}', "it is WfFormat '1.3'"),
            ('{"schemaVersion":7,"name":5}', "it is not WfFormat 1.5: "),
        ],
    )
    def test_a_wrong_field_hides_no_broken_json(self, text: str, reason: str, tmp_path: Path) -> None:
        path = tmp_path / "t.json"
        path.write_text(text, encoding="latin-1")
        assert reason in traces_error(path)


class TestWriting:
    def test_a_new_file_and_one_that_is_there(self, tmp_path: Path) -> None:
        path = tmp_path / "x.svg"
        files.write(str(path), "é")
        assert path.read_bytes() == "é".encode()
        path.chmod(0o640)
        files.write(str(path), "new")
        assert path.read_text() == "new"
        if os.name == "posix":  # Windows knows nothing but read-only
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert os.listdir(tmp_path) == ["x.svg"]

    def test_whole_or_not_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "x.svg"
        path.write_text("old")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        for step in ("fsync", "replace"):
            with monkeypatch.context() as patch:
                patch.setattr(os, step, full)
                with pytest.raises(OSError, match="No space left"):
                    files.write(str(path), "new")
            assert path.read_text() == "old"
            assert os.listdir(tmp_path) == ["x.svg"]

    @unix
    def test_links_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        link = tmp_path / "x.svg"
        link.symlink_to("real/y.svg")
        files.write(str(link), "through")
        assert link.is_symlink()
        assert (tmp_path / "real" / "y.svg").read_text() == "through"

    @unix
    def test_devices_are_written_to_and_stay(self) -> None:
        files.write("/dev/null", "gone")
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    @unix
    def test_what_is_refused_before(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        os.mkfifo("pipe")
        Path("file").touch()
        Path("loop").symlink_to("loop")
        Path("lost").symlink_to("absent/file")
        refused = {
            "pipe": "a pipe or a device",
            ".": "Is a directory",
            "absent/x": "No such file",
            "lost": "No such file",
            "loop": "Too many levels",
            "file/x": "Not a directory",
            LONG: "File name too long",
            "a\0": "embedded null",
            "a\ud800": "no path can hold",
        }
        for name, reason in refused.items():
            with pytest.raises(OSError, match=reason):
                files.check_writable(name)
            with pytest.raises(OSError, match=reason):
                files.write(name, "")
        monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("file"))
        with pytest.raises(PermissionError):
            files.check_writable("file")
        monkeypatch.setattr(os, "access", lambda path, mode: str(path).endswith("file"))
        with pytest.raises(PermissionError, match="its folder cannot be written to"):
            files.check_writable("file")


HARD = {
    "blanks": " ",
    "tabs": "\t",
    "a table that does not end": "[ ",
    "a key without a value": "a ",
    "a key before tabs": "a" + "\t" * 100_000,
    "quotes": "'\"",
    "triple quotes": "'''\"\"\"",
    "brackets": "[[a]",
    "dots": ".",
}


@pytest.mark.parametrize("piece", HARD.values(), ids=HARD.keys())
def test_lines_of_settings_take_linear_time(piece: str) -> None:
    line = piece * (200_000 // len(piece))
    began = time.process_time()
    for text in (line, f"[{line}", f"{line}=", f"x{line}\n" * 2):
        config_files.lines_of(f"[flow]\n{text}\nlimit = 0")
    assert not is_name(line)
    assert time.process_time() - began < 5  # quadratic: minutes; cubic: years


def test_lines_are_found_as_before() -> None:
    text = "  [ flow ]  # c\n\tlimit\t= 3\n ' a b ' = 1\nx.\"y\" = 2\r\n[[t]]\n= 3\n[flow.data]\nk='''\na = 1\n'''\nz=1"
    assert config_files.lines_of(text) == {
        ("flow",): 1,
        ("flow", "limit"): 2,
        ("flow", " a b "): 3,
        ("flow", "x", "y"): 4,
        ("flow", "data"): 7,
        ("flow", "data", "k"): 8,
        ("flow", "data", "z"): 11,
    }


def test_printable() -> None:
    text = "a\x1b[2J\x9b\x7f\r\u202e\u2066\u2028\ud800é名"
    assert printable(text) == r"a\x1b[2J\x9b\x7f\r\u202e\u2066\u2028\ud800é名"
    assert printable("a\n\tb\r", "\n\t") == "a\n\tb\\r"
