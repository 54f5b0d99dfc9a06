"""The support desk on the pictures of these pages: an agent that reads, thinks, drafts, and asks before it answers.

Nothing here reaches out: the model follows a script, and its faults come by themselves. `pictures.py` lets a day of it
pass on a clock of its own and photographs what is left.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

from pydantic import BaseModel, Field

import vbl
from vbl.agents import record_usage

rest: Callable[[float], Awaitable[None]] = asyncio.sleep
"""How long things take, in seconds; pictures.py puts the sleep of its own clock here."""
faults: dict[str, int] = {}
"""How many faults each call has had, by its key."""


class Ticket(BaseModel):
    """What a customer wrote."""

    number: int
    customer: str
    subject: str
    text: str


class Reply(BaseModel):
    """What goes out, once somebody has looked at it."""

    to: str = Field(description="who gets it")
    subject: str
    text: str
    refund_eur: float = Field(0, description="paid back with it, in EUR")
    close_ticket: bool = True


class Desk(BaseModel):
    """What the agent has in mind; part of every checkpoint."""

    messages: list[dict[str, str]] = []
    mood: str = "unknown"
    found: dict[str, int] = {}


class Busy(Exception):
    """The model's provider has too much to do."""

    kind = "rate_limited"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(Exception):
    """The provider is down for a moment."""

    kind = "transient"


async def troubled(times: int, error: Exception) -> None:
    """Fails that many times for one call, then no more."""
    key = vbl.key()
    if faults.setdefault(key, 0) < times:
        faults[key] += 1
        await rest(0.9)
        raise error


def paid(model: str, read: int, written: int, cached: int = 0) -> None:
    """The model has answered: that costs something."""
    dear = {"small-2": (0.25, 2.0), "large-2": (3.0, 15.0)}[model]
    usd = (read * dear[0] + written * dear[1]) / 1e6
    record_usage(
        provider="example", model=model, input_tokens=read, output_tokens=written, cached_tokens=cached, usd=usd
    )


MODEL = vbl.Retry(max_attempts=5, delay=2, factor=2, jitter=0)
PATIENT = vbl.Retry(max_attempts=6, delay=2400, factor=2, max_delay=7200, jitter=0)
TEXTS = {
    "Broken lamp": "The lamp from order 7 arrived broken. I have written twice now. What happens next?",
    "Wrong colour": "I ordered the chair in green, and it is grey. I would keep it for something off the price.",
    "Where is my parcel?": "Order 12 was to be here on Friday. Nobody answers the telephone.",
    "Invoice for last year": "Please send me the invoice of last December once more, with our VAT number on it.",
}


# Reading ------------------------------------------------------------------------------------------------------------


@vbl.step(effect="read")
async def fetch_ticket(number: int, customer: str, subject: str) -> Ticket:
    """The ticket, from the help desk."""
    await rest(0.4)
    return Ticket(number=number, customer=customer, subject=subject, text=TEXTS.get(subject, subject))


@vbl.step(effect="read", retry=MODEL)
async def search_orders(customer: str) -> list[dict[str, object]]:
    """What the customer has bought."""
    await rest(1.3)
    return [
        {"order": 7, "item": "lamp 'Aurora'", "eur": 40.0, "state": "arrived broken"},
        {"order": 9, "item": "chair 'Fjord'", "eur": 360.0, "state": "delivered"},
    ]


@vbl.step(effect="read")
async def read_policy(topic: str) -> str:
    """Our own rules on something, as Markdown."""
    await rest(0.6)
    return (
        f"## {topic.capitalize()}\n\nGoods that arrive *broken* are paid back **in full** within 30 days.\n\n"
        "1. Ask for a picture\n2. Pay back, or send a new one\n3. Say sorry, once\n"
    )


@vbl.step(effect="read")
async def similar_tickets(text: str) -> list[dict[str, object]]:
    """Tickets that were like this one, and how they ended."""
    await rest(2.2)
    return [{"ticket": 3987, "alike": 0.91, "ended": "refunded"}, {"ticket": 4022, "alike": 0.78, "ended": "replaced"}]


# Thinking -----------------------------------------------------------------------------------------------------------


@vbl.step(retry=MODEL, timeout=60)
async def think(messages: list[dict[str, str]], hard: int = 0) -> str:
    """One turn of the model."""
    await troubled(hard, Busy("429 Too Many Requests: 40,000 tokens a minute are used up", 6))
    await rest(5.5)
    paid("large-2", 3_120 + 40 * len(messages), 96, 2_048)
    return (
        "The customer is **annoyed**, and right. Order 7 arrived broken, the policy says *in full*.\n\n"
        "- pay back 40 EUR\n- no need for a picture: the carrier has reported it\n- answer today"
    )


@vbl.step(retry=MODEL, timeout=120)
async def draft_reply(ticket: Ticket, notes: str) -> Reply:
    """The model writes the answer."""
    await rest(9)
    paid("large-2", 4_410 + 37 * (ticket.number % 60), 150 + ticket.number % 97, 2_048)
    return Reply(
        to=ticket.customer,
        subject=f"Re: {ticket.subject}",
        text=(
            f"Dear {ticket.customer},\n\nyour lamp should have come in one piece, and our answer much sooner. We pay "
            "the 40 EUR back today; it is with you within three days. There is nothing for you to send back.\n\n"
            "Kind regards,\nNora"
        ),
        refund_eur=40,
    )


@vbl.step(retry=MODEL, timeout=60)
async def check_claim(claim: str, hard: int = 0) -> dict[str, object]:
    """Holds a sentence of the draft against what was read."""
    await troubled(hard, Overloaded("529 Overloaded"))
    await rest(3 + len(claim) % 4)
    paid("small-2", 1_204 + len(claim), 31)
    return {"claim": claim, "true": True, "source": "policy: refunds"}


# Writing ------------------------------------------------------------------------------------------------------------


@vbl.step(effect="write", idempotent=True)
async def send_reply(reply: Reply) -> str:
    """Sends it, with a key by which the mail service knows a repeated call."""
    await rest(0.8)
    return f"sent to {reply.to}, {reply.refund_eur:.2f} EUR paid back"


@vbl.step(effect="write")
async def charge_card(customer: str, eur: float) -> str:
    """Takes money, by a service that knows no keys."""
    await rest(4)
    return f"charged {eur:.2f} EUR to {customer}"


# The workflows ------------------------------------------------------------------------------------------------------


@vbl.workflow
async def triage(number: int, customer: str, subject: str, hard: bool = False) -> str:
    """Answer a ticket: read, think, draft, check, ask, send."""
    desk = vbl.state(Desk)
    desk.messages.append({"role": "system", "content": "You answer for the shop. You are brief, kind and exact."})
    ticket = await fetch_ticket(number, customer, subject)
    desk.messages.append({"role": "user", "content": ticket.text})
    orders, policy, similar = await asyncio.gather(
        search_orders(customer), read_policy("refunds"), similar_tickets(ticket.text)
    )
    desk.found = {"orders": len(orders), "similar tickets": len(similar), "characters of policy": len(policy)}
    notes = await think(desk.messages, 2 if hard else 0)
    desk.messages.append({"role": "assistant", "content": notes})
    desk.mood = "annoyed"
    reply = await draft_reply(ticket, notes)
    claims = ["order 7 arrived broken", "40 EUR is its price", "three days to pay back"]
    await asyncio.gather(*(check_claim(claim, int(hard and n == 1)) for n, claim in enumerate(claims)))
    gate = await vbl.approve(
        send_reply.call(reply), show={"the model says": notes}, to="nora", edit=True, timeout=timedelta(days=2)
    )
    if not gate.approved:
        return f"not sent: {gate.reason}"
    sent = await gate.run()
    desk.messages.append({"role": "assistant", "content": reply.text})
    return sent


@vbl.step(retry=MODEL)
async def summarise(document: str, hard: int = 0) -> str:
    """A document in one line."""
    await troubled(hard, Busy("429 Too Many Requests", 3))
    await rest(2 + len(document) % 5)
    paid("small-2", 2_900 + 310 * (len(document) % 7), 18)
    return f"{document}: nothing that cannot wait"


@vbl.workflow(queue="digests", concurrency=2)
async def digest(day: str, documents: int = 6) -> str:
    """What came in, on one page."""
    names = [f"{day}/letter-{number:02}.txt" for number in range(1, documents + 1)]
    lines = await vbl.map(summarise, names, limit=3)
    return "\n".join(lines)


@vbl.step
async def parse_invoice(name: str) -> float:
    """The sum of an invoice."""
    await rest(0.5)
    if name.endswith("-7.pdf"):
        raise ValueError(f"{name}: '1.204,50 EUR' is no number: which sign parts the decimals?")
    return float(random.Random(name).randrange(50, 900))


@vbl.workflow
async def import_invoices(month: str) -> float:
    """Add up a month of invoices."""
    return sum([await parse_invoice(f"{month}-{number}.pdf") for number in range(1, 10)])


@vbl.workflow
async def renew_licence(customer: str, eur: float) -> str:
    """Charge a card once, whatever happens."""
    return await charge_card(customer, eur)


@vbl.step(retry=PATIENT)
async def push_to_crm(customer: str) -> None:
    """Fails until somebody renews a certificate."""
    await rest(1.1)
    raise ConnectionError("crm.example.org: the certificate has expired")


@vbl.workflow
async def sync_crm(customer: str) -> None:
    """Tell the CRM about a customer; it has been down since noon."""
    await push_to_crm(customer)


@vbl.step
async def make_account(customer: str) -> str:
    """An account for a new customer."""
    await rest(1.7)
    return f"account of {customer}"


@vbl.workflow
async def provision(customer: str) -> str:
    """What a new customer needs."""
    return await make_account(customer)


@vbl.workflow
async def onboard(customer: str) -> str:
    """A new customer: an account, a contract, and a look after a week."""
    account = await vbl.start(provision, customer)
    await vbl.wait("contract signed", timeout=86_400 * 14)
    await vbl.sleep(86_400 * 7)
    return await account


@vbl.step
async def transcribe(call: str) -> str:
    """A telephone call as text; it takes a while."""
    await rest(900)
    return f"{call}: a long silence"


@vbl.workflow
async def listen(call: str) -> str:
    """Write down a call."""
    return await transcribe(call)
