"""Book a trip in three steps. If a step fails, the steps done before it are undone, the last one first."""

import flow
from flow import Outcome


def build(broken: str) -> flow.Dag:
    dag = flow.Dag("trip")

    def book(what: str) -> str:
        if what == broken:
            raise ConnectionError(f"no answer about the {what}")
        return f"{what} 17"

    @dag.node
    def flight() -> str:
        return book("flight")

    @dag.node
    def hotel(flight: str) -> str:
        return book("hotel")

    @dag.node
    def payment(hotel: str) -> str:
        return book("payment")

    # A compensation runs once a later step has failed, or was skipped for a failure, and if its own step was done.
    @dag.node(after=["payment"], join="failed", when=lambda hotel="": hotel != "")
    def undo_hotel(hotel: str = "") -> str:
        return f"{hotel} undone"

    @dag.node(after=["hotel", "payment", "undo_hotel"], join="failed", when=lambda flight="": flight != "")
    def undo_flight(flight: str = "") -> str:
        return f"{flight} undone"

    @dag.node
    def letter(payment: Outcome[str], undo_hotel: Outcome[str], undo_flight: Outcome[str]) -> str:
        if payment.value is not None:
            return "have a nice trip"
        undone = [each.value for each in (undo_hotel, undo_flight) if each.value is not None]
        return f"no trip: {', '.join(undone) or 'nothing to undo'}"

    return dag


def main() -> None:
    for broken in ("nothing", "payment", "hotel", "flight"):
        result = flow.run(build(broken), config=flow.Config(on_error="collect"))
        print(f"{broken} fails: {result['letter']}; in order: {result.ok}")
    print(result.why("undo_flight"))


if __name__ == "__main__":
    main()
