"""Approval of a purchase: the amount decides who is asked, all are asked at once, two of three must agree."""

from __future__ import annotations

from typing import Any

import flow
from flow_bench.micro.workflows import Pause, stated

WAITS = stated(budget=5, staff=7, manager=9, finance=4, director=15, booking=6, mails=3)
INPUTS: dict[str, Any] = {"request": {"id": "PR-9", "by": "grace", "amount": 18_000, "team": "research"}}
WANTED = {
    "id": "PR-9", "approved": True, "votes": {"manager": True, "finance": False, "director": True},
    "left": 42_000, "mails": ["to grace: approved", "to accounts: approved"],
}  # fmt: skip
QUORUM = 2


def build(pause: Pause) -> flow.Dag:
    """Ten nodes, two of them maps: over the approvers and over who is told."""
    dag = flow.Dag("approval")

    @dag.node
    def valid(request: dict[str, Any]) -> dict[str, Any]:
        missing = {"id", "by", "amount", "team"} - request.keys()
        if missing or request["amount"] <= 0:
            raise ValueError(f"the request lacks {sorted(missing)}")
        return request

    @dag.node(cost=pause.cost("budget"))
    async def budget(valid: dict[str, Any]) -> int:
        await pause("budget")
        return {"research": 60_000, "sales": 10_000}[valid["team"]]

    @dag.node(cost=pause.cost("staff"))
    async def staff(valid: dict[str, Any]) -> dict[str, str]:
        await pause("staff")
        return {"manager": "ada", "finance": "linus", "director": "edsger"}

    @dag.node
    def approvers(valid: dict[str, Any], staff: dict[str, str]) -> dict[str, str]:
        levels = ("manager",) if valid["amount"] < 1_000 else ("manager", "finance", "director")
        return {role: role for role in levels if staff[role] != valid["by"]}

    async def ask(role: str, valid: dict[str, Any], budget: int) -> bool:
        await pause(role)
        return bool(valid["amount"] <= (budget // 5 if role == "finance" else budget))

    dag.map("votes", ask, over=approvers, cost=pause.cost("director"))

    @dag.node
    def approved(votes: dict[str, bool]) -> bool:
        return sum(votes.values()) >= min(QUORUM, len(votes))

    @dag.node(cost=pause.cost("booking"))
    async def booking(approved: bool, valid: dict[str, Any], budget: int) -> int:
        await pause("booking")
        return budget - valid["amount"] if approved else budget

    async def mail(who: str, approved: bool) -> str:
        await pause("mails")
        return f"to {who}: {'approved' if approved else 'refused'}"

    dag.add("told", lambda valid, booking: [valid["by"], "accounts"])
    dag.map("mails", mail, over="told", cost=pause.cost("mails"))

    @dag.node
    def outcome(
        valid: dict[str, Any], votes: dict[str, bool], approved: bool, booking: int, mails: list[str]
    ) -> dict[str, Any]:
        return {"id": valid["id"], "approved": approved, "votes": votes, "left": booking, "mails": mails}

    return dag
