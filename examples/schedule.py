"""Write a digest every second, for a few seconds; and show when one for working days would come.

    python examples/schedule.py

The schedules are durable: start the program again and they go on, and what came due meanwhile is told, not forgotten.
Six fields begin with the second; five are the usual cron line.
"""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import vbl

DEADLINE_S = 30.0


@vbl.step
async def gather(topic: str) -> list[str]:
    """Stands for reading a mailbox or a feed."""
    return [f"{topic}: one", f"{topic}: two"]


@vbl.workflow
async def digest(topic: str) -> str:
    """What is new about a topic, on a line."""
    return "; ".join(await gather(topic))


often = vbl.schedule(digest, "* * * * * *", "storage", name="often")
mornings = vbl.schedule(
    digest, "0 9 * * 1-5", "storage", name="mornings", tz="Europe/Berlin", overlap="queue", missed="once", grace=900
)

if __name__ == "__main__":
    with vbl.open() as runtime:
        print("the next mornings:")
        for at in mornings.upcoming(3, after=round(datetime(2026, 3, 26, 12, tzinfo=UTC).timestamp() * 1e6)):
            when = datetime.fromtimestamp(at / 1e6, UTC)
            print(f"  {when:%H:%M} UTC is {when.astimezone(ZoneInfo('Europe/Berlin')):%a %d %B %H:%M} in Berlin")
        deadline = time.monotonic() + DEADLINE_S
        while len(runs := runtime.runs(tag="scheduled=often")) < 2:
            assert time.monotonic() < deadline, "the schedule has started nothing"
            time.sleep(0.05)
        for run in reversed(runs[:2]):
            print(f"digest: {run.result()}")
        mornings.run_now()
        while not (asked := runtime.runs(tag="scheduled=mornings")):
            assert time.monotonic() < deadline, "nothing was started"
            time.sleep(0.05)
        print(f"asked for: {asked[0].result()}")
        often.remove()
        print("left:", ", ".join(schedule.name for schedule in runtime.schedules()))
