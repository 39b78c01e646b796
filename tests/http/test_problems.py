"""Problems as answers: RFC 9457, and no path, no traceback, no broken text in any of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import ConfigError, StoredError
from flow.http.problems import MEDIA, Fault, Problem, message_of, without_paths


class Raising(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class TestBody:
    def test_all_members(self) -> None:
        problem = Problem(422, None, "two faults", [Fault("/inputs/x", "it is missing"), Fault("", "too much")])
        assert json.loads(problem.body("r-1")) == {
            "type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": "two faults",
            "request_id": "r-1",
            "errors": [{"pointer": "/inputs/x", "detail": "it is missing"}, {"pointer": "", "detail": "too much"}],
        }  # fmt: skip
        assert MEDIA == b"application/problem+json"

    @pytest.mark.parametrize(
        ("status", "title"), [(400, "Bad Request"), (413, "Content Too Large"), (429, "Too Many Requests")]
    )
    def test_a_title_is_the_phrase_and_errors_are_left_out(self, status: int, title: str) -> None:
        sent = json.loads(Problem(status).body("r"))
        assert sent == {"type": "about:blank", "title": title, "status": status, "detail": "", "request_id": "r"}
        assert json.loads(Problem(status, "Own").body("r"))["title"] == "Own"

    def test_what_is_no_utf8_is_escaped(self) -> None:
        problem = Problem(400, detail="a\ud800b\x1b[2J", faults=[Fault("/\udfff", "\u202e")])
        sent = json.loads(problem.body("\udc80"))
        assert sent["detail"] == "a\\ud800b\\x1b[2J"
        assert sent["errors"] == [{"pointer": "/\\udfff", "detail": "\\u202e"}]

    def test_headers_are_kept(self) -> None:
        assert Problem(503, headers=[(b"retry-after", b"1")]).headers == ((b"retry-after", b"1"),)


SHORTENED = [
    ("no such file: /etc/ssl/private/key.pem", "no such file: key.pem"),
    ("[Errno 2] No such file: '/home/john doe/my app/x.db'", "[Errno 2] No such file: 'x.db'"),
    ('File "/srv/app/flow.py", line 3', 'File "flow.py", line 3'),
    ("at (/srv/app/a.py:12)", "at (a.py:12)"),
    ("path=/etc/passwd,", "path=passwd,"),
    ("~/.ssh/id_rsa and ~bob/x/y", "id_rsa and y"),
    ("C:\\Users\\me\\x.py failed", "x.py failed"),
    ("C:\\Program Files\\App\\x.py failed", "x.py failed"),
    ("'C:\\\\Users\\\\me\\\\x.py'", "'x.py'"),
    ("D:/data/in.csv", "in.csv"),
    ("\\\\server\\share\\secret\\x.txt", "x.txt"),
    ("'\\\\\\\\server\\\\share\\\\x.txt'", "'x.txt'"),
    ("file:///home/u/x%20y.txt", "x%20y.txt"),
    ("'file:///home/u/x.txt'", "'x.txt'"),
    ("file:/home/u/x.txt", "x.txt"),
    ("sqlite:////var/lib/runs.db", "runs.db"),
    ("//server/share/x", "x"),
    ("/usr/lib/", "lib"),
    ("\u6587\u4ef6/home/u/x", "\u6587\u4ef6x"),
]  # fmt: skip

KEPT = [
    "", "x", "/", "/etc", "a/b/c", "1/2", "on 2024/01/02", "and/or", "http://host/a/b/c?d=/e/f", "https://h/x/y.",
    "see 'https://h/x/y'", "/inputs/x", "/inputs/x/0/y", "'/inputs/x'", "/targets/0", "/api/v1/runs/7", "./a/b",
    "../a/b", "text/html", "3 / 4 / 5", "C:", "error: no", "a\\n b", "postgres://host/db/x", "km/h", "it's /a, isn't",
]  # fmt: skip


class TestPaths:
    @pytest.mark.parametrize(("text", "said"), SHORTENED)
    def test_a_path_becomes_its_last_part(self, text: str, said: str) -> None:
        assert without_paths(text) == said

    @pytest.mark.parametrize("text", KEPT)
    def test_what_is_no_path_stays(self, text: str) -> None:
        assert without_paths(text) == text

    part = st.text(
        st.characters(codec="utf-8", exclude_characters="/\"'`<>|\\:", exclude_categories=["Z", "C"]), min_size=1
    )

    @given(
        parts=st.lists(part, min_size=2, max_size=5),
        around=st.sampled_from(["{}", "at {} now", "'{}'", '"{}"', "={}"]),
    )
    def test_no_folder_is_left(self, parts: list[str], around: str) -> None:
        path = "/" + "/".join(parts)
        assert without_paths(around.format(path), ()) == around.format(parts[-1])

    @pytest.mark.parametrize("text", ["/a", "'/a", "C:\\", "\\\\a", "a:/", "~", "a:", "a", "a.", "//", "file:'"])
    @pytest.mark.timeout(20)
    def test_the_time_is_linear(self, text: str) -> None:
        text *= 70_000
        assert len(without_paths(text)) <= len(text)  # quadratic would be minutes: the test's time limit ends it


class TestMessages:
    def test_an_os_error(self) -> None:
        with pytest.raises(OSError) as caught:
            open("/no/such/folder/file.txt", encoding="utf-8")
        assert message_of(caught.value) == "No such file or directory: file.txt"
        assert message_of(OSError(18, "Cross-device link", "/a/b/c", None, "/d/e/f")) == "Cross-device link: c -> f"
        assert message_of(OSError("only /a/b/text")) == "only text"
        assert message_of(OSError(2, "gone")) == "gone"

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (ValueError("bad /x/y/z"), "bad z"),
            (ValueError("bad /inputs/secret/z"), "bad z"),
            (ValueError(), "ValueError"),
            (ValueError("  "), "ValueError"),
            (KeyError("name"), "name"),
            (KeyError(3), "3"),
            (ValueError("a", 1), "('a', 1)"),
            (ValueError("one\ntwo"), "one\ntwo"),
            (ValueError("\x1b[2Jx"), "\\x1b[2Jx"),
            (Raising(), "Raising (its message cannot be shown)"),
            (StoredError("ValueError", "no /a/b"), "ValueError: no b"),
            (ExceptionGroup("several", [ValueError("x")]), "ExceptionGroup: several (1 sub-exception); ValueError: x"),
            (ConfigError("Rate", ["count must be 1"]), "Rate is not valid: count must be 1"),
        ],
    )
    def test_texts(self, error: BaseException, said: str) -> None:
        assert message_of(error) == said

    def test_never_a_traceback(self) -> None:
        head, frame = "failed\nTraceback (most recent call last):\n", '  File "/a/b.py", line 1, in f\n    x()\n'
        text = f"{head}{frame}ValueError: no /c/d"
        assert message_of(RuntimeError(text)) == "failed"
        assert message_of(RuntimeError(text.removeprefix("failed\n"))) == "ValueError: no d"
        assert message_of(RuntimeError('x\n  File "/a/b.py", line 1, in f\ny')) == "x\ny"

    def test_at_most_a_thousand_characters(self) -> None:
        said = message_of(ValueError("x" * 10_000_000))
        assert len(said) == 1_000
        assert said.endswith("x...")
        assert len(message_of(ValueError([1] * 10_000_000))) <= 1_000
