"""Pay invoices; a large one waits for a person, without a thread or a slot. No answer in time is a no."""

import asyncio

import msgspec

import flow


class Approval(msgspec.Struct):
    by: str
    yes: bool


NO_ANSWER = Approval("nobody", False)


def build() -> flow.Dag:
    dag = flow.Dag("invoice")
    dag.route("size", lambda total: total > 100, to={True: "approve", False: "pay_at_once"})
    dag.signal("approve", type=Approval, timeout=3600.0, fallback=NO_ANSWER)
    dag.add("pay_at_once", lambda total: f"paid {total}")
    dag.add("pay", lambda total, approve: f"paid {total}, {approve.by} says yes", when=lambda approve: approve.yes)
    dag.add("refuse", lambda approve: f"refused by {approve.by}", when=lambda approve: not approve.yes)
    dag.merge("outcome", of=["pay_at_once", "pay", "refuse"])
    return dag


async def decide(total: int, answer: dict[str, object] | None) -> str:
    config = flow.Config(clock=flow.testing.FakeClock())  # a clock that is not real: nobody waits for an hour
    async with flow.start(build(), {"total": total}, config=config) as run:
        if answer is not None:
            run.send("approve", answer)  # from another thread, too: what a web server's handler would do
        result = await run.result()
        return f"{result['outcome']} ({', '.join(result['size'])})"


async def run_all() -> None:
    print(await decide(20, None))
    print(await decide(500, {"by": "Ann", "yes": True}))
    print(await decide(500, {"by": "Bob", "yes": False}))
    print(await decide(500, None))
    try:
        await decide(500, {"by": "Ann", "yes": "perhaps"})
    except flow.errors.SignalError as error:
        print("not sent:", str(error).splitlines()[0])


def main() -> None:
    asyncio.run(run_all())


if __name__ == "__main__":
    main()
