"""Book a trip: flight, hotel, car. The car cannot be had, so the hotel and the flight are cancelled again.

    python examples/saga.py

Each booking registers how it is undone. Kill the program in between and start it again: it goes on where it was, also
in the middle of the undoing, and nothing is booked or cancelled twice.
"""

import vbl


@vbl.step
async def book(what: str) -> str:
    """Stands for a call of somebody's API; the idempotency key makes a repeated one harmless."""
    if what == "car":
        raise LookupError("no car is left in Lisbon")
    print(f"booked     {what}")
    return f"{what}/{vbl.key()}"


@vbl.step(retry=vbl.Retry(max_attempts=5, delay=1))
async def cancel(booking: str) -> None:
    """An undo is an ordinary step: recorded, and tried again while it fails."""
    print(f"cancelled  {booking.partition('/')[0]}")


@vbl.workflow
async def trip(parts: list[str]) -> list[str]:
    """Book all of it, or nothing."""
    bookings: list[str] = []
    async with vbl.saga() as saga:
        for part in parts:
            booking = await book(part)
            saga.undo(cancel, booking)
            bookings.append(booking)
    return bookings


if __name__ == "__main__":
    with vbl.open() as runtime:
        run = runtime.start(trip, ["flight", "hotel", "car"])
        try:
            run.result()
        except vbl.RunFailed as failed:
            print(f"failed     {failed.error['message']}")
        undone = run.state().undone
        print(f"undone     {', '.join(told['step'] for told in undone if told['ok'])}")
        assert [told["ok"] for told in undone] == [True, True]
