"""An agent whose tool calls a person looks at: safe ones run at once, risky ones wait, and may be edited or denied.

    python examples/human_loop.py            # a thread plays the person
    python examples/human_loop.py --by-hand  # you are the person: `vbl approve GATE --edit '{"amount": 40}'`

The model is a plain function that follows a script, so that this runs anywhere; put a call of a real one in its place.
What a person edits is validated against the tool's own types, recorded beside what the model proposed, and is what
runs. A denial is told to the model, which goes on with that.
"""

import asyncio
import sys
import threading
from typing import Any

from pydantic import BaseModel

import vbl


class Call(BaseModel):
    """A tool that the model wants to use."""

    tool: str
    arguments: dict[str, Any] = {}


class Turn(BaseModel):
    """What the model says, and the tools that it wants to use."""

    says: str
    calls: list[Call] = []


class Talk(BaseModel):
    """The conversation; it is part of every checkpoint, and costs one message a turn."""

    lines: list[str] = []


# The tools: steps like any other ------------------------------------------------------------------------------------


@vbl.step(effect="read")
def find_orders(customer: str) -> list[str]:
    """Safe: it only looks."""
    return ["order 7: a lamp, 40 EUR, arrived broken", "order 8: a chair, 360 EUR, arrived well"]


@vbl.step(effect="write", idempotent=True)
def refund(customer: str, order: int, amount: float) -> str:
    """Risky: it pays, with a key by which the bank knows a repeated call."""
    return f"refunded {amount:.2f} EUR to {customer} for order {order} ({vbl.key()})"


@vbl.step(effect="write", idempotent=True)
def close_account(customer: str) -> str:
    """Risky, and hard to take back."""
    return f"closed the account of {customer} ({vbl.key()})"


SAFE = {"find_orders": find_orders}
RISKY = {"refund": refund, "close_account": close_account}


# The model ----------------------------------------------------------------------------------------------------------


@vbl.step(retry=True, timeout=60)
async def think(lines: list[str]) -> Turn:
    """One turn of the model: it looks at what was said and decides what to do next."""
    last = lines[-1]
    if last.startswith("task"):
        return Turn(says="I look at the orders.", calls=[Call(tool="find_orders", arguments={"customer": "Ada"})])
    if "a lamp" in last:
        refund_all = Call(tool="refund", arguments={"customer": "Ada", "order": 7, "amount": 400})
        close = Call(tool="close_account", arguments={"customer": "Ada"})
        return Turn(says="I pay it all back, and end this.", calls=[refund_all, close])
    done = "; ".join(line.partition(": ")[2] for line in lines if line.startswith(("refund", "close_account")))
    return Turn(says=f"This is how it stands: {done}.")


# The loop -----------------------------------------------------------------------------------------------------------


@vbl.workflow
async def agent(task: str) -> str:
    """Think, use tools, tell the model what came of it; until it wants none."""
    lines = vbl.state(Talk).lines
    lines.append(f"task: {task}")
    for _ in range(10):
        turn = await think(lines)
        lines.append(f"model: {turn.says}")
        if not turn.calls:
            return turn.says
        answers = await asyncio.gather(*(use(call, turn.says) for call in turn.calls))
        lines.extend(f"{call.tool}: {answer}" for call, answer in zip(turn.calls, answers, strict=True))
    return "I did not come to an end."


async def use(call: Call, why: str) -> str:
    """One tool call, and what the model is told of it."""
    try:
        if call.tool in SAFE:
            return str(await SAFE[call.tool].aio(**call.arguments))
        if call.tool not in RISKY:
            return f"there is no such tool; there are {', '.join([*SAFE, *RISKY])}"
        asked = RISKY[call.tool].call(**call.arguments)
    except (TypeError, vbl.InvalidInput) as wrong:
        return f"not called: {wrong}"
    gate = await vbl.approve(asked, show={"the model says": why}, edit=True, timeout=86_400)
    if not gate.approved:
        return f"denied by {gate.by or 'nobody in time'}: {gate.reason}"
    result = await gate.run()
    changed = gate.call is not None and gate.call.input != asked.input
    return f"{result}, as {gate.by} changed it" if changed else result


# The person ---------------------------------------------------------------------------------------------------------


def person(run: vbl.Run) -> None:
    """Grace reads what is asked and decides, from a client of her own."""
    with vbl.connect() as client:
        while not client.run(run.id).status.finished:
            for gate in client.gates(run=run.id):
                decide(client, gate)
            threading.Event().wait(0.05)


def decide(client: vbl.Client, gate: Any) -> None:
    """She pays no more than the lamp cost, and closes nothing."""
    print(f"asked   {gate.call['step']} {gate.call['input']}")
    if gate.name == "refund":
        client.approve(gate.id, by="grace", edit={"amount": 40}, reason="the lamp did not cost more")
    else:
        client.deny(gate.id, by="grace", reason="nobody asked for that")


def main(by_hand: bool) -> None:
    """Run the agent, then show the conversation and what was decided."""
    with vbl.open() as runtime:
        run = runtime.start(agent, "Ada's lamp arrived broken. Put it right.")
        if by_hand:
            print("Decide in another terminal. See what is asked:  vbl inbox", flush=True)
        else:
            threading.Thread(target=person, args=(run,), daemon=True).start()
        result = run.result()
        for line in run.state().variables["lines"]:
            print(line)
        for gate in run.state().gates.values():
            answer = gate.answer or {}
            said = f"{gate.status:7} {gate.name} by {answer.get('actor')}: {answer.get('reason')}"
            print(said + (f"; changed to {answer['edit']}" if answer.get("edit") else ""))
    print(result)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--by-hand"]):
        sys.exit(__doc__)
    main("--by-hand" in sys.argv)
