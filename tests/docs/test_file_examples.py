"""The workflow files in docs/examples/files do what is shown here, with a fake clock, and by ``flow run``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT

import flow

pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")

from flow import spec

FOLDER = ROOT / "docs" / "examples" / "files"
DEPLOY: dict[str, Any] = {"env": "dev", "token": "s3cret-token"}
PROD = {**DEPLOY, "env": "prod"}
SHOPS = {"sources": ["north", "south"]}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(FOLDER)):
            del sys.modules[name]


def loaded(name: str) -> flow.Dag:
    path = FOLDER / f"{name}.yaml"
    return spec.load(
        path, allow=spec.Allow(["deploy.steps:*", "deploy.types:Approval", "etl_steps:*", "health_steps:*"])
    )


def run(name: str, inputs: dict[str, Any], answers: dict[str, Any]) -> tuple[Any, float]:
    """Run a file with a fake clock, and answer its signals; return its outputs, and the seconds that it has waited."""
    clock = flow.testing.FakeClock()

    async def main() -> flow.Result:
        async with flow.start(loaded(name), inputs, config=flow.Config(clock=clock)) as handle:
            while (waiting := await handle.next_waiting()) is not None:
                if waiting in answers:
                    handle.send(waiting, answers[waiting])
            return await handle.result()

    result = asyncio.run(main())
    assert result.ok
    return result["outputs"], clock.now()


@pytest.mark.parametrize(
    ("name", "inputs", "answers", "outputs", "waited"),
    [
        ("deploy", DEPLOY, {}, {"regions": ["eu-1", "us-1"], "said": "Deploying to DEV: 2 hosts"}, 5),
        (
            "deploy",
            {**DEPLOY, "regions": ["eu", "moon"]},
            {},
            {"regions": ["eu-1"], "said": "rolled back: moon is out of reach"},
            5,
        ),
        (
            "deploy",
            PROD,
            {"approve": {"by": "Ann"}},
            {"regions": ["eu-1", "us-1"], "said": "Deploying to PROD: 2 hosts"},
            5,
        ),
        ("deploy", PROD, {"approve": {"by": "Ann", "yes": False}}, {"regions": [], "said": "not approved"}, 5),
        ("etl", SHOPS, {}, {"read": 10, "kept": 8, "stored": 20.0}, 0.5),
        ("etl", {**SHOPS, "least": 100}, {}, {"read": 10, "kept": 0, "stored": 0}, 0.5),
        (
            "health",
            {"servers": ["web1", "web2", "db1", "db2"]},
            {},
            {"text": "3 of 4 answered", "slow": ["db1"], "down": ["db2"]},
            0,
        ),
        ("approval", {"total": 20}, {}, {"text": "paid 20.0"}, 0),
        ("approval", {"total": 500}, {"answer": True}, {"text": "paid 500.0, as was asked for"}, 0),
        ("approval", {"total": 500}, {"answer": False}, {"text": "refused"}, 0),
        ("approval", {"total": 500}, {"second": True}, {"text": "paid 500.0, as was asked for"}, 86_400),
        ("approval", {"total": 500}, {}, {"text": "refused"}, 172_800),
    ],
)  # fmt: skip
def test_from_python(name: str, inputs: dict[str, Any], answers: dict[str, Any], outputs: Any, waited: float) -> None:
    assert run(name, inputs, answers) == (outputs, waited)


def test_every_file_is_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == ["approval", "deploy", "etl", "health"]


def test_what_the_files_may_call_is_beside_them() -> None:
    from flow.spec.called.beside import allowed_beside

    allow = allowed_beside(FOLDER / "deploy.yaml")
    for name in ("deploy", "etl", "health", "approval"):
        sys.modules.pop("deploy", None)
        assert spec.load(FOLDER / f"{name}.yaml", allow=allow).compile()


def test_by_the_command() -> None:
    testing = pytest.importorskip("click.testing")
    from flow.cli.commands import cli

    words = ["run", str(FOLDER / "health.yaml"), "--input", 'servers=["web1", "db2"]', "--json"]
    ran = testing.CliRunner().invoke(cli, words, prog_name="flow")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["nodes"]["outputs"]["output"] == {
        "text": "1 of 2 answered",
        "slow": [],
        "down": ["db2"],
    }
