"""Workflows that ask people: what the tests of the inbox and of the actions decide about."""

from __future__ import annotations

import datetime
import os
from typing import Literal

from pydantic import BaseModel

import vbl
from tests.engine.world import WORLD


class Reply(BaseModel):
    to: str
    body: str
    copies: list[str] = []


class Amount(BaseModel):
    amount: int
    currency: Literal["EUR", "USD"] = "EUR"
    note: str | None = None


@vbl.step
def send(reply: Reply, priority: int = 3) -> str:
    return f"{reply.to}: {reply.body} ({', '.join(reply.copies)}) {priority}"


@vbl.workflow(name="desk.answer_ticket")
async def answer_ticket(to: str) -> str | None:
    call = send.call(Reply(to=to, body="Dear Eve,\n\nwe are sorry.\n"))
    gate = await vbl.approve(call, edit=True, show="# Ticket", timeout=datetime.timedelta(hours=5))
    return await gate.run() if gate.approved else None


@vbl.step
def send_long(to: str, body: str) -> str:
    return f"{to}: {len(body)}"


@vbl.workflow(name="desk.answer_at_length")
async def answer_at_length(body: str) -> str | None:
    gate = await vbl.approve(send_long.call("eve", body), edit=True)
    return await gate.run() if gate.approved else None


@vbl.workflow(name="desk.answer_for_two")
async def answer_for_two(to: str) -> str | None:
    gate = await vbl.approve(send.call(Reply(to=to, body="Dear Eve")), edit=True, need=2)
    return await gate.run() if gate.approved else None


@vbl.workflow(name="desk.refund")
async def refund(asked: int) -> int | None:
    gate = await vbl.approve("how_much", schema=Amount, show={"asked": asked}, need=2, to=["ada", "bob", "carl"])
    return gate.data.amount if gate.approved else None


@vbl.workflow(name="desk.paid")
async def paid(invoice: str) -> int:
    return (await vbl.wait("payment", Amount)).amount


DOWN = "VBL_TEST_TILL_IS_DOWN"


@vbl.step
def charge(amount: int) -> int:
    if os.environ.get(DOWN):
        raise ValueError("the till is closed")
    return amount


@vbl.workflow(name="desk.buy")
def buy(amount: int) -> int:
    return charge(amount)


class Receipt(BaseModel):
    id: int


@vbl.step(effect="write")
async def transfer(amount: int) -> Receipt:
    await WORLD.clock.sleep(10)
    return Receipt(id=amount)


@vbl.workflow(name="desk.move")
async def move(amount: int) -> int:
    return (await transfer(amount)).id


@vbl.workflow(name="desk.sleeper")
async def sleeper() -> None:
    await vbl.sleep(86_400)
