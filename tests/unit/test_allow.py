"""What workflow files may call: patterns, written names, marks, modules, and the settings beside a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.errors import ConfigError, UsageError
from flow.spec.actions import SHIPPED
from flow.spec.called.allow import Allow
from flow.spec.called.beside import allowed_beside
from flow.spec.called.imports import Found, Imports
from flow.spec.called.marked import MARK, mark_of
from flow.spec.called.written import MAX_WRITTEN, Written, taken_apart

STEPS = """
import flow
import os
from dataclasses import dataclass
from functools import partial, wraps
from os.path import basename

from beside_steps import helper, marked_there

__all__ = ["Approval", "basename", "helper", "not_there", "number", "os", "ship"]

number = 5


@dataclass
class Approval:
    by: str

    def method(self): ...


Kinds = int | str


def ship(region): return f"shipped {region}"


def hidden(): ...


@flow.action
def open_one(): return "open"


@flow.action(name="rollback")
async def undo(): ...


@flow.action
def _private(): ...


@flow.action(name="twice")
def one(): ...


@flow.action(name="twice")
def two(): ...


same = also_same = flow.action(name="same")(lambda: "same")
half = flow.action(partial(ship, "half"))
"""


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package ``acme`` with a module of functions, and modules that cannot be imported."""
    package = tmp_path / "acme"
    package.mkdir()
    (tmp_path / "beside_steps.py").write_text("import flow\ndef helper(): ...\n@flow.action\ndef marked_there(): ...\n")
    (package / "__init__.py").write_text("")
    (package / "steps.py").write_text(STEPS)
    (package / "count.py").write_text(
        "import sys\nsys.acme_count = getattr(sys, 'acme_count', 0) + 1\n__all__ = ['f', 'g']\ndef f(): ...\ng = f\n"
    )
    (package / "nothing.py").write_text("def f(): ...\n")
    (package / "broken.py").write_text("\n\nraise LookupError('no such table')\n")
    (package / "needs.py").write_text("import no_such_thing_at_all\n")
    (package / "syntax.py").write_text("def f(:\n")
    (package / "leaves.py").write_text("raise SystemExit(3)\n")
    (package / "odd.py").write_text("__all__ = 5\n")
    (package / "lazy.py").write_text(
        "__all__ = ['late', 'worse']\n"
        "def __getattr__(name):\n    if name == 'late': return len\n    raise KeyError(name)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield Imports(Allow(["acme.*:*", "no_such_top:*"]))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("acme", "beside_steps")]:
        del sys.modules[name]
    if hasattr(sys, "acme_count"):
        del sys.acme_count


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "allowed", "refused"),
        [
            (
                "deploy.steps:ship",
                ["deploy.steps:ship"],
                ["deploy.steps:shi", "deploy.steps:ships", "deploy:ship", "steps:ship"],
            ),
            (
                "deploy.steps:*",
                ["deploy.steps:ship", "deploy.steps:x"],
                ["deploy.steps.more:ship", "deploy.step:ship", "deploy:ship"],
            ),
            (
                "deploy.*:*",
                ["deploy.steps:ship", "deploy.a.b.c:f"],
                ["deploy:ship", "deployed:x", "deployed.a:x", "xdeploy.a:x"],
            ),
            ("deploy.*:ship", ["deploy.steps:ship", "deploy.a.b:ship"], ["deploy.steps:x", "deploy:ship"]),
            ("a.b.*:*", ["a.b.c:f", "a.b.c.d:f"], ["a.b:f", "a.c:f", "a.bc.d:f"]),
            ("shell.run", ["shell.run"], ["shell:run", "run"]),
            ("sleep", ["sleep"], ["shell.run", "time:sleep"]),
        ],
    )
    def test_a_pattern_allows_what_it_says_and_no_more(
        self, pattern: str, allowed: list[str], refused: list[str]
    ) -> None:
        for allow in (Allow(pattern), Allow([pattern]), Allow(["x.y:z", pattern])):
            assert [name for name in allowed if not allow.allows(name)] == []
            assert [name for name in refused if allow.allows(name)] == []
            assert all(allow.fault(name) for name in refused) and not any(allow.fault(name) for name in allowed)

    def test_without_patterns_only_what_ships_is_allowed(self) -> None:
        allow = Allow()
        assert [name for name in SHIPPED if not allow.allows(name)] == ["shell.run"]
        assert not allow.allows("os:system") and not allow.allows("deploy.steps:ship")

    @pytest.mark.parametrize(
        ("pattern", "says"),
        [
            ("*", r"pattern '\*' names no function"),
            ("*:*", "allows every module there is"),
            (":*", "allows every module there is"),
            (".*:*", "allows every module there is"),
            ("*.steps:*", "allows every module there is"),
            ("deploy.steps", "'deploy.steps:\\*' allows all of it, 'deploy.steps:NAME' one function"),
            ("deploy.*", "'deploy.\\*:\\*' allows all of it"),
            ("deploy.st*:x", "stands for a whole name"),
            ("deploy.steps:sh*", "stands for a whole name"),
            ("deploy.*.steps:x", "stands for a whole name"),
            ("deploy.steps:**", "stands for a whole name"),
            ("deploy.steps:a.b", "goes into 'a'"),
            ("deploy.steps:", "names no function after the colon"),
            ("deploy.steps:_x", "'_x' is private"),
            ("deploy._steps:x", "'_steps' is private"),
            ("../deploy:x", "names a file"),
            ("deploy steps:x", "U\\+0020 at character 7"),
            ("d\u0435ploy:x", "U\\+0435"),
            ("flow.spec.actions.shell:run", "is flow's own"),
            ("flow.*:*", "is flow's own"),
            ("shel.run", "did you mean 'shell.run'"),
            ("", "names no function"),
            ("a:b:c", "several colons"),
        ],
    )
    def test_a_bad_pattern_is_named(self, pattern: str, says: str) -> None:
        with pytest.raises(UsageError, match=says) as caught:
            Allow(["ok:*", pattern])
        assert repr(pattern) in str(caught.value)

    def test_all_bad_patterns_are_told_at_once(self) -> None:
        with pytest.raises(UsageError, match="2 faults(.|\n)*'a.b'(.|\n)*'c:_d'"):
            Allow(["a.b", "c:_d"])

    @pytest.mark.parametrize("patterns", [5, None, b"a:b", {"a:b": 1}, [5], [["a:b"]], [b"a:b"]])
    def test_what_is_no_pattern_is_refused(self, patterns: Any) -> None:
        with pytest.raises(UsageError, match="allow (is|has)"):
            Allow(patterns)

    def test_it_is_a_value(self) -> None:
        one = Allow(["a:b", "c:*", "a:b"])
        assert one.patterns == ("a:b", "c:*") and one == Allow(["c:*", "a:b"]) == Allow(one) and one != "a:b"
        assert {one: 1}[Allow(("c:*", "a:b"))] == 1
        assert (Allow("a:b") | Allow("c:*")) == one
        assert eval(repr(one), {"Allow": Allow}) == one


HOSTILE = [
    ("", "it is empty"),
    (":", "names no module"),
    (":f", "names no module before the colon"),
    ("m:", "names no function after the colon"),
    ("m::f", "several colons"),
    ("m:f:g", "several colons"),
    ("m:C.method", "goes into 'C'"),
    ("m:os.system", "goes into 'os'"),
    ("m:f.__globals__", "goes into 'f'"),
    ("m:_f", "'_f' is private"),
    ("m:__import__", "'__import__' is private"),
    ("_m:f", "'_m' is private"),
    ("a._b:f", "'_b' is private"),
    ("__main__:f", "'__main__' is private"),
    (".steps:ship", "is relative"),
    ("..steps:ship", "is relative"),
    ("deploy..steps:ship", "empty part"),
    ("deploy.steps.:ship", "empty part"),
    ("..:f", "is relative"),
    ("./steps.py:ship", r"names a file: .* \(did you mean steps:ship\?\)"),
    ("deploy/steps.py:ship", r"did you mean deploy.steps:ship\?"),
    ("deploy\\steps:ship", r"did you mean deploy.steps:ship\?"),
    ("../steps:ship", "names a file"),
    ("/etc/passwd", "names a file"),
    ("/etc/passwd:x", "names a file"),
    ("steps.py", "names a file"),
    ("steps.py:ship", r"did you mean steps:ship\?"),
    ("file:///x:y", "names a file"),
    ("d\u0435ploy.steps:ship", r"'\u0435' \(U\+0435\) at character 2"),
    ("deploy.steps:sh\u0456p", r"U\+0456"),
    ("deploy\uff0esteps:ship", r"U\+FF0E"),
    ("deploy.steps\uff1aship", r"U\+FF1A"),
    ("deploy.steps:ship\u200b", r"U\+200B"),
    ("\u202edeploy:x", r"has U\+202E at character 1"),
    ("deploy.steps:ship\n", r"has U\+000A at character 18"),
    ("deploy.steps: ship", r"U\+0020 at character 14"),
    ("deploy.steps:ship\0", r"U\+0000"),
    ("\u00b5m:f", r"U\+00B5"),
    ("deploy.steps:ship()", "is no name"),
    ("deploy.steps:ship;x", "is no name"),
    ("my-mod:f", "'my-mod' is no name"),
    ("1m:f", "'1m' is no name"),
    ("m:1f", "'1f' is no name"),
    ("m:*", r"'\*' is no name"),
    ("*:*", r"'\*' is no name"),
    ("flow.run.api:run", "is flow's own"),
    ("flow:run", "is flow's own"),
    ("flow.spec.actions.shell:run", "is flow's own: its actions are called by their names"),
    ("a" * 300_000 + ":f", "longer than 255 characters"),
    ("slep", r"there is no action 'slep' \(did you mean 'sleep'\?\)"),
    ("http.reqest", "did you mean 'http.request'"),
    ("deploy.steps.ship", r"no action 'deploy.steps.ship' \(did you mean deploy.steps:ship\?\)"),
    ("eval", "there is no action 'eval'"),
    ("__import__", "there is no action"),
]


class TestWrittenNames:
    @pytest.mark.parametrize(("written", "says"), HOSTILE, ids=[name[:30] for name, _ in HOSTILE])
    def test_hostile_names_are_refused_with_what_to_write(self, written: str, says: str) -> None:
        before = set(sys.modules)
        allow = Allow(["m:*", "a.*:*", "deploy.*:*", "steps:*", "my:*"])
        assert not allow.allows(written)
        found = Imports(allow).function(written)
        assert found.value is None
        with pytest.raises(AssertionError, match=says):
            raise AssertionError(found.fault)
        assert len(found.fault) < 500 and found.fault.isprintable()
        assert set(sys.modules) == before

    @pytest.mark.parametrize("written", [5, None, True, ["a:b"], {"a": "b"}, b"a:b"])
    def test_what_is_no_text_is_refused(self, written: Any) -> None:
        found = Imports(Allow("a:b"))
        assert "it must be text" in found.function(written).fault
        assert "it must be text" in found.type(written).fault

    @examples(2_000)
    @given(st.text("abz_019.:*/-flow\\ \n\0\u0435", max_size=24) | st.from_regex(r"\A[ab_.:*flow]{0,16}\Z"))
    def test_what_is_taken_apart_is_as_it_should_be_written(self, written: str) -> None:
        """Against the rule said in another way."""
        module, colon, name = written.partition(":")
        parts = [*module.split("."), name]
        fits = bool(colon) and all(part.isascii() and part.isidentifier() and part[0] != "_" for part in parts)
        fits = fits and parts[0] != "flow" and (len(parts) == 2 or parts[-2] != "py")
        found = taken_apart(written)
        assert found == (Written(module, name) if fits else Written("", "", found.fault)) and bool(found.fault) != fits
        assert Allow("a.*:*").allows(written) == (fits and len(parts) > 2 and parts[0] == "a")
        try:
            allow = Allow(written)
        except UsageError:
            assert not fits
        else:
            assert allow.allows(written.replace("*", "x")) or ".*" in module

    def test_the_longest_name(self) -> None:
        name = "m:" + "f" * (MAX_WRITTEN - 2)
        assert not taken_apart(name).fault and taken_apart(name + "f").fault

    def test_what_is_not_allowed_says_how_to_allow_it(self) -> None:
        found = Imports(Allow("deploy.stepz:ship")).function("deploy.steps:ship")
        assert found == Found(
            fault="'deploy.steps:ship' is not allowed (did you mean 'deploy.stepz:ship'?): if this file may run it, "
            'say --allow deploy.steps:ship, or allow=["deploy.steps:ship"] where the file is loaded; a flow.toml '
            "beside the file has [spec] allow = [...]"
        )
        assert "is not allowed: if" in Imports(Allow()).function("os:system").fault
        assert "--allow shell.run" in Imports(Allow("os:*")).function("shell.run").fault


class TestImports:
    def test_what_is_public_is_found(self, steps: Imports) -> None:
        module = __import__("acme.steps").steps
        found = {
            name: steps.function(f"acme.steps:{name}")
            for name in ("ship", "basename", "helper", "open_one", "same", "half", "Approval")
        }
        assert {name: one.fault for name, one in found.items() if one.fault} == {}
        assert [found[name].value for name in ("ship", "basename", "helper")] == [
            module.ship,
            module.basename,
            module.helper,
        ]
        assert (
            found["open_one"].value() == "open"
            and found["same"].value() == "same"
            and found["half"].value() == "shipped half"
        )
        assert steps.function("acme.steps:rollback").value is module.undo
        assert steps.function("acme.lazy:late").value is len

    @pytest.mark.parametrize(
        ("written", "says"),
        [
            ("acme.steps:shipp", "module 'acme.steps' offers no 'shipp' (did you mean 'ship'?)"),
            (
                "acme.steps:hidden",
                "does not offer 'hidden' to files: list 'hidden' in its __all__, or mark the function @flow.action",
            ),
            ("acme.steps:marked_there", "does not offer 'marked_there'"),
            ("acme.steps:undo", "in module 'acme.steps', files call 'undo' by the name 'rollback'"),
            ("acme.steps:twice", "offers 2 functions as 'twice' (one and two)"),
            ("acme.steps:not_there", "has no 'not_there', though its __all__ lists it"),
            ("acme.steps:number", "'acme.steps:number' is of type int, and cannot be called"),
            ("acme.steps:os", "is a module, and cannot be called"),
            ("acme.nothing:f", "does not offer 'f' to files"),
            ("acme.nothing:g", "offers nothing to files: it has no __all__"),
            ("acme.odd:f", "the __all__ of module 'acme.odd' is no list of names"),
            ("acme.stepz:ship", "there is no module 'acme.stepz': 'acme' has no 'stepz' (did you mean 'steps'?)"),
            ("acme.nope.steps:ship", "there is no module 'acme.nope', which 'acme.nope.steps' would be in"),
            ("acme.steps.more:ship", "'acme.steps' is a module and no package"),
            ("no_such_top:f", "no module 'no_such_top': is it installed, or its folder on the path (PYTHONPATH)?"),
        ],
    )
    def test_what_is_not_offered_is_a_fault(self, steps: Imports, written: str, says: str) -> None:
        assert says in steps.function(written).fault

    @pytest.mark.parametrize(
        ("module", "kind", "says"),
        [
            ("broken", LookupError, "LookupError: no such table (acme/broken.py:3)"),
            ("needs", ModuleNotFoundError, "No module named 'no_such_thing_at_all' (acme/needs.py:1)"),
            ("syntax", SyntaxError, "(acme/syntax.py:1)"),
            ("leaves", SystemExit, "SystemExit: 3"),
        ],
    )
    def test_what_an_import_ends_with_is_told_and_kept(
        self, steps: Imports, module: str, kind: type[BaseException], says: str
    ) -> None:
        found = steps.function(f"acme.{module}:f")
        assert found.fault.startswith(f"module 'acme.{module}' cannot be imported: ")
        assert says in found.fault.replace("\\", "/")
        assert type(found.cause) is kind

    def test_an_attribute_that_cannot_be_read_is_a_fault(self, steps: Imports) -> None:
        found = steps.function("acme.lazy:worse")
        assert found.fault.startswith("acme.lazy:worse cannot be read: KeyError: 'worse'")
        assert type(found.cause) is KeyError

    def test_an_interrupt_is_no_fault(self, steps: Imports, tmp_path: Path) -> None:
        (tmp_path / "acme" / "stop.py").write_text("raise KeyboardInterrupt\n")
        with pytest.raises(KeyboardInterrupt):
            steps.function("acme.stop:f")

    def test_a_module_is_imported_once_and_only_if_allowed(self, steps: Imports) -> None:
        assert Imports(Allow("acme.count:nope")).function("acme.count:f").fault
        assert "acme.count" not in sys.modules and "acme" not in sys.modules
        for name in ("f", "g", "f", "nope"):
            steps.function(f"acme.count:{name}")
        assert sys.acme_count == 1  # type: ignore[attr-defined]
        broken = [steps.function(f"acme.broken:{name}").cause for name in "fgf"]
        assert broken[0] is not None and broken[0] is broken[1] is broken[2]

    def test_types(self, steps: Imports) -> None:
        module = __import__("acme.steps").steps
        assert steps.type("acme.steps:Approval").value is module.Approval
        assert "is no type, but of type function" in steps.type("acme.steps:ship").fault
        assert "is no type, but of type int" in steps.type("acme.steps:number").fault
        assert "is an action, and no type" in steps.type("sleep").fault
        assert "goes into 'Approval'" in steps.type("acme.steps:Approval.method").fault
        module.__all__ += ["Kinds", "Listed", "Id"]
        module.Listed, module.Id = list[int], __import__("typing").NewType("Id", int)
        more = Imports(steps.allow)
        assert [more.type(f"acme.steps:{name}").value for name in ("Kinds", "Listed")] == [int | str, list[int]]
        assert more.type("acme.steps:Id").value is module.Id

    def test_a_mark_and_a_public_name_may_be_one_function_but_not_two(self, steps: Imports) -> None:
        module = __import__("acme.steps").steps
        setattr(module.ship, MARK, "")
        assert Imports(steps.allow).function("acme.steps:ship").value is module.ship
        setattr(module.hidden, MARK, "ship")
        assert (
            "offers 2 functions as 'ship' (ship and hidden)" in Imports(steps.allow).function("acme.steps:ship").fault
        )
        delattr(module.ship, MARK)
        assert "offers 2 functions as 'ship'" in Imports(steps.allow).function("acme.steps:ship").fault

    def test_the_module_of_an_object_whose_attributes_raise(self, steps: Imports) -> None:
        class Hostile:
            @property
            def __dict__(self) -> Any:
                raise LookupError

        module = __import__("acme.steps").steps
        module.hostile = Hostile()
        assert steps.function("acme.steps:ship").value is module.ship

    def test_a_package_that_an_action_needs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flow.spec.actions.find_spec", lambda name: None)
        found = Imports(Allow()).function("http.request")
        assert found.fault == "action 'http.request': it needs the package httpx: pip install 'flow-dag[httpx]'"


class TestMarks:
    def test_a_marked_function_stays_what_it_is(self) -> None:
        def one(x: int) -> int:
            return x

        async def two(x: int) -> int:
            return x

        plain, async_ = flow.signature.shape_of(one), flow.signature.shape_of(two)
        assert flow.action(one) is one and flow.action(name="other")(two) is two
        assert (mark_of(one), mark_of(two), mark_of(len), mark_of(5)) == ("", "other", None, None)
        assert flow.signature.shape_of(one) == plain and flow.signature.shape_of(two) == async_
        dag = flow.Dag("marked")
        dag.add("one", one, needs={"x": "two"})
        dag.add("two", two)
        assert flow.run(dag, {"x": 3})["one"] == 3

    def test_a_subclass_is_not_marked_with_its_base(self) -> None:
        @flow.action
        class Base: ...

        class Below(Base): ...

        assert mark_of(Base) == "" and mark_of(Below) is None

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("", "is empty"),
            ("_x", "is private"),
            ("a b", "U\\+0020"),
            ("a.b", "is no name"),
            ("a-b", "is no name"),
            (5, "must be text"),
            ("x" * 256, "longer than 255"),
        ],
    )
    def test_a_name_that_files_cannot_use_is_refused(self, name: Any, says: str) -> None:
        with pytest.raises(UsageError, match=f"action: name .*{says}"):
            flow.action(name=name)

    def test_what_takes_no_mark_is_refused_at_the_line_of_the_user(self) -> None:
        with pytest.raises(UsageError, match=r"cannot mark <built-in function len>, which takes no attributes"):
            flow.action(len)
        with pytest.raises(
            UsageError, match=r"marks a function, not 'ship'; a name is given as @flow.action\(name=...\)"
        ) as caught:
            flow.action("ship")  # type: ignore[call-overload]
        assert [entry.path.name for entry in caught.traceback] == ["test_allow.py"]


class TestBeside:
    def test_without_a_file_nothing_is_allowed(self, tmp_path: Path) -> None:
        assert allowed_beside(tmp_path / "deploy.yaml") == Allow()
        (tmp_path / "flow.toml").write_text("[flow]\nlimit = 3\n")
        (tmp_path / "pyproject.toml").write_text("[tool.flow]\nlimit = 3\n")
        assert allowed_beside(tmp_path / "deploy.yaml") == Allow()

    def test_the_first_file_with_the_table_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.flow.spec]\nallow = ["a:*"]\n')
        assert allowed_beside(tmp_path / "deploy.yaml") == Allow("a:*")
        (tmp_path / "flow.toml").write_text('[spec]\nallow = ["b:*", "shell.run"]\n')
        assert allowed_beside(str(tmp_path / "deploy.yaml")) == Allow(["b:*", "shell.run"])
        monkeypatch.chdir(tmp_path)
        assert allowed_beside("deploy.yaml") == Allow(["b:*", "shell.run"])
        (tmp_path / "flow.toml").write_text('[spec]\nallow = "c:*"\n')
        assert allowed_beside("deploy.yaml") == Allow("c:*")
        (tmp_path / "flow.toml").write_text("[spec]\n")
        assert allowed_beside("deploy.yaml") == Allow()

    def test_settings_of_runs_may_stand_in_the_same_files(self, tmp_path: Path) -> None:
        (tmp_path / "flow.toml").write_text('[flow]\nlimit = 3\n[spec]\nallow = ["b:*"]\n')
        (tmp_path / "pyproject.toml").write_text('[tool.flow]\nlimit = 4\n[tool.flow.spec]\nallow = ["a:*"]\n')
        assert flow.Config.load(tmp_path / "flow.toml").limit == 3
        assert flow.Config.load(tmp_path / "pyproject.toml").limit == 4
        (tmp_path / "flow.toml").write_text("[flow]\nlimit = 3\n[flow.spec]\n")
        with pytest.raises(ConfigError, match="no setting is called 'spec'"):
            flow.Config.load(tmp_path / "flow.toml")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                '[spec]\nalow = ["a:*"]',
                r"line 2: \[spec\] has no setting 'alow' \(did you mean 'allow'\?\); it has allow",
            ),
            ('[spec]\n\nallowed = ["a:*"]', "line 3: .*write allow = "),
            ("[spec]\nallow = 5", "line 2: allow is a list of patterns"),
            ("[spec]\nallow = [5]", "line 2: allow has patterns"),
            ('[spec]\nallow = ["a"]', "line 2: allow cannot be used: pattern 'a' names no function"),
            ("spec = 5", r"line 1: spec must be a table \[spec\], not 5"),
            ("[spec", "it is not TOML"),
            ('[spec]\nallow = ["a"]\nlimit = 3', "2 faults"),
        ],
    )
    def test_faults_have_their_line(self, tmp_path: Path, text: str, says: str) -> None:
        (tmp_path / "flow.toml").write_text(text)
        with pytest.raises(ConfigError, match=says):
            allowed_beside(tmp_path / "deploy.yaml")

    def test_a_file_that_cannot_be_read_is_no_empty_one(self, tmp_path: Path) -> None:
        (tmp_path / "flow.toml").mkdir()
        with pytest.raises(ConfigError, match="it cannot be read"):
            allowed_beside(tmp_path / "deploy.yaml")

    def test_a_path_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="its path must be a str or a Path, not 5"):
            allowed_beside(5)  # type: ignore[arg-type]
