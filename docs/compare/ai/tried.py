"""Run all four programs of one library: `python docs/compare/ai/tried.py LIBRARY` prints what came of them, as JSON.

They are told by the environment where the model is. Documents are summarised three times: with a budget that is enough,
with one that is not, and with none; and once there is one among them that the model refuses.
"""

import asyncio
import importlib
import json
import os
import sys
from collections import Counter
from decimal import Decimal
from typing import Any

import model
import work

LIBRARIES = ("flow", "langgraph", "pydantic_ai")
PROGRAMS = ("summaries", "agent", "route", "extract")
ENOUGH, SCARCE, NONE = "0.05", "0.0065", "0.000001"


def told(server: model.Server) -> dict[str, Any]:
    """What the server has had since this was asked last."""
    found = {"asked": dict(server.asked), "spent": str(server.spent), "most": server.most}
    server.asked, server.spent, server.most = Counter(), Decimal(0), 0
    return found


class Person:
    """Approves what an agent wants to do, or does not; notes it, and which tools were called before."""

    def __init__(self, says: bool) -> None:
        self.says = says
        self.asked: list[Any] = []

    def approve(self, name: str, arguments: dict[str, Any]) -> bool:
        self.asked.append([name, arguments, dict(work.calls)])
        return self.says


async def tried(library: str) -> dict[str, Any]:
    """What each program returned, and what the server has had of it."""
    found: dict[str, Any] = {}
    with model.Server(busy=50) as server:
        os.environ |= {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "no-key-is-needed"}
        summaries, agent, route, extract = (importlib.import_module(f"{name}_{library}") for name in PROGRAMS)
        for budget in (ENOUGH, SCARCE, NONE):
            made, spent = await summaries.run(work.DOCUMENTS, budget)
            found[f"summaries {budget}"] = {"made": made, "says": str(spent), **told(server)}
        for approved in (True, False):
            person = Person(approved)
            work.calls.clear()
            answer = await agent.run(f"Refund order 7, please: {approved}", person.approve)
            found[f"agent {approved}"] = {
                "answer": answer,
                "approve": person.asked,
                "calls": dict(work.calls),
                **told(server),
            }
        for kind, mail in work.MAILS.items():
            found[f"route {kind}"] = {"answer": await route.run(mail), **told(server)}
        invoice = await extract.run("Invoice F-17, total 120 EUR")
        values = {name: getattr(invoice, name) for name in ("number", "total", "currency")}
        found["extract"] = {"invoice": values, **told(server)}
        try:
            await summaries.run(["This document is refused."], ENOUGH)
        except Exception as error:
            found["refused"] = {"raised": "document is refused" in whole(error)}
    return found


def whole(error: BaseException) -> str:
    """What an exception says, and those within it."""
    return "\n".join([str(error), *map(whole, getattr(error, "exceptions", ()))])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(tried(sys.argv[1]))))
