"""Names of models, and their prices, for workflow files on the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flow import ai
from flow.cli.commands import cli

pytest.importorskip("yaml")

ASKS = """\
flow: 1
nodes:
  ask: {llm: fast, prompt: "Why?"}
  other: {llm: mine, prompt: "How?"}
"""
NAMES = """\
models.fast = "openai:gpt-4.1-mini"
models.mine = {model = "ollama:llama3", input_price = 0.1, output_price = "0.2", context = 8_192}
"""


@pytest.fixture(autouse=True)
def _in_a_folder(own_folder: None) -> Iterator[None]:
    with ai.no_requests(), ai.prices(None), ai.models({}):
        write("flows/asks.yaml", ASKS)
        yield


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("file", "table"), [("flow.toml", "ai"), ("pyproject.toml", "tool.flow.ai")])
def test_names_beside_the_file(file: str, table: str) -> None:
    write(f"flows/{file}", f"[{table}]\n{NAMES}")
    script = ai.Scripted(lambda request: f"by {request.model}")
    with ai.override(script):
        result = call("run", "flows/asks.yaml", "--allow", "json")
    assert result.exit_code == 0, result.output
    assert "by gpt-4.1-mini" in result.stdout and "by llama3" in result.stdout
    assert call("show", "flows/asks.yaml").exit_code == call("check", "flows/asks.yaml").exit_code == 0
    with pytest.raises(ai.UnknownModel):
        ai.resolve("fast")  # the names are those of the file


def test_prices_of_a_name_are_exact() -> None:
    from flow.cli.modelnames import models_beside

    write("flows/flow.toml", f"[ai]\n{NAMES}")
    with models_beside("flows/asks.yaml"):
        mine = ai.resolve("mine")
        assert mine.rates == ai.Rates(Decimal("0.1"), Decimal("0.2")) and mine.context == 8_192


def test_a_table_of_prices_is_beside_the_file_too() -> None:
    write("flows/flow.toml", f'[ai]\nprices = "own.toml"\n{NAMES}')
    assert "own.toml" in call("show", "flows/asks.yaml").stderr
    write("flows/own.toml", '["openai:gpt-4.1-mini"]\ninput = 0.4\noutput = 1.6\n')
    assert call("show", "flows/asks.yaml").exit_code == 0
    rates = ai.resolve("openai:gpt-4.1-mini").rates
    assert rates is not None and rates.cost(ai.Tokens(input=1_000_000)) == Decimal("0.4")


def test_names_elsewhere_are_none() -> None:
    write("flow.toml", f"[ai]\n{NAMES}")
    result = call("run", "flows/asks.yaml")
    assert result.exit_code == 1 and "no model is called 'fast'" in result.stderr


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            '[ai]\nmodel = 1',
            ["line 2: [ai] has no setting 'model' (did you mean 'models'?); it has models and prices"],
        ),
        ("ai = 3", ["ai must be a table [ai], not 3"]),
        ("[ai]\nmodels = 3", ["line 2: models must be a table [ai.models], not 3"]),
        ("[ai]\nprices = 3", ["line 2: prices must be the name of a file, not 3"]),
        (
            '[ai.models]\nfast = "opnai:x"\n"a:b" = "openai:x"\nc = {model = "openai:x", price = 1}\nd = {}\n'
            'e = {model = "openai:x", input_price = -1}',
            ["did you mean 'openai'", "must be a text without a colon", "a model has no 'price'", "it needs model =",
             "input_price: "],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, faults: list[str]) -> None:
    write("flows/flow.toml", text)
    result = call("run", "flows/asks.yaml")
    assert result.exit_code != 0 and result.stdout == ""
    for fault in faults:
        assert fault in result.stderr


def test_a_folder_without_them_loads_nothing() -> None:
    write("flows/plain.yaml", "flow: 1\nnodes:\n  one: {set: {x: 1}}\n")
    code = (
        "import sys\nfrom flow.cli.workflow import load_workflow\nload_workflow('flows/plain.yaml', ())\n"
        "print([name for name in sys.modules if name.startswith('flow.ai')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
