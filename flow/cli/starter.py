"""The files that ``flow new`` writes: a workflow, its Python module, and what the workflow may call."""

from __future__ import annotations

from typing import Final

WORKFLOW: Final = """\
# Check it:  flow check {name}.yaml
# Run it:    flow run {name}.yaml --input greeting=Welcome
flow: 1
name: {name}
description: Greets some people, and writes one letter.

inputs:
  greeting: {{type: string, default: Hello, description: the first word}}
  people: {{type: array, items: {{type: string}}, default: [Ada, Grace]}}

nodes:
  greetings:
    map: {module}:greet                  # once for each of the people, at most 5 at once
    over: "{{{{ inputs.people }}}}"
    with: {{person: "{{{{ item }}}}", greeting: "{{{{ inputs.greeting }}}}"}}
    concurrency: 5
    retry: {{attempts: 3, delay: 1}}

  letter:
    call: {module}:letter
    with: {{lines: "{{{{ greetings }}}}", signed: "{{{{ 'a friend' if len(inputs.people) == 1 else 'all of us' }}}}"}}

outputs:
  letter: "{{{{ letter }}}}"
"""

MODULE: Final = '''\
"""What {name}.yaml calls. Files call what is in __all__, and what @flow.action marks."""

__all__ = ["greet", "letter"]


async def greet(person: str, greeting: str) -> str:
    return f"{{greeting}}, {{person}}!"


def letter(lines: list[str], signed: str) -> str:
    return " ".join([*lines, f"({{signed}})"])
'''

SETTINGS: Final = """\
[spec]
# What the workflow files of this folder may call.
allow = ["{module}:*"]
"""


def starter(name: str, module: str) -> dict[str, str]:
    """Return the texts of the files by name. :param module: the name of the Python module."""
    return {
        f"{name}.yaml": WORKFLOW.format(name=name, module=module),
        f"{module}.py": MODULE.format(name=name),
        "flow.toml": SETTINGS.format(module=module),
    }


__all__ = ["starter"]
