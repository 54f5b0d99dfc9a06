"""Transfers between two tables of the user's, and a process that lives and dies over them.

`python transfers.py DB SEED KILLS` forks one supervisor after the other and kills each by SIGKILL at a random moment;
between two lives it looks at the tables. What it prints is what it saw: a line of JSON a life.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import vbl
import vbl.engine.runtime  # what every life needs is loaded before the first one
from vbl.store import holder

ACCOUNTS = ("savings", "checking")
TOTAL = 1_000


@vbl.transaction
def found() -> None:
    connection = vbl.connection()
    for name in ACCOUNTS:
        connection.execute(f"create table if not exists {name} (owner text primary key, balance integer not null)")
    connection.execute("create table if not exists ledger (run text, number integer, amount integer)")
    connection.execute("insert or ignore into savings values ('ada', ?)", (TOTAL,))
    connection.execute("insert or ignore into checking values ('ada', 0)")


@vbl.transaction
def transfer(run: str, number: int, amount: int) -> int:
    connection = vbl.connection()
    connection.execute("update savings set balance = balance - ?", (amount,))
    connection.execute("insert into ledger values (?, ?, ?)", (run, number, amount))
    connection.execute("update checking set balance = balance + ?", (amount,))
    return connection.execute("select balance from checking").get


@vbl.workflow
async def transfers(name: str, count: int) -> int:
    await found.aio()
    for number in range(count):
        await transfer.aio(name, number, 1 if number % 3 else -1)
    return count


def seen(client: vbl.Client) -> dict[str, int]:
    """The sum over both tables, and how many transfers the ledger has; zero where nothing is founded."""
    tables = client.sql("select count(*) from sqlite_master where name = 'ledger'")[1][0][0]
    if not tables:
        return {"sum": TOTAL, "ledger": 0, "twice": 0}
    row = client.sql(
        "select (select sum(balance) from savings) + (select sum(balance) from checking),"
        " (select count(*) from ledger),"
        " (select count(*) from (select 1 from ledger group by run, number having count(*) > 1))"
    )[1][0]
    return dict(zip(("sum", "ledger", "twice"), row, strict=True))


def live(path: str) -> None:
    """One life, until it is killed."""
    with vbl.open(path):
        while True:
            time.sleep(1)


def wait_for(path: str, child: int) -> None:
    """Wait until this process supervises the file, however slow the machine is."""
    deadline = time.monotonic() + 60
    while not (holder.alive(Path(path)) and holder.read(Path(path)).get("pid") == child):
        assert time.monotonic() < deadline, "the supervisor never took the file"
        time.sleep(0.001)


def work_on(path: str, times: int) -> None:
    """Wait until the file has been written so often, however slow the machine is."""
    log, seen, deadline = Path(f"{path}-wal"), (0, 0), time.monotonic() + 20
    while times and time.monotonic() < deadline:
        now = (log.stat().st_size, log.stat().st_mtime_ns) if log.exists() else (0, 0)
        times, seen = times - (now != seen), now
        time.sleep(0.001)


def main(path: str, seed: int, kills: int) -> None:
    rng, left = random.Random(seed), 1
    for number in range(kills):
        child = os.fork()
        if child == 0:
            live(path)
            os._exit(0)
        certain = number % 10 == 0
        if certain or rng.random() < 0.8:  # the others die while they start
            wait_for(path, child)
        if certain and left:
            work_on(path, 12)
        time.sleep(rng.uniform(0.0, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        after = os.fork()
        if after == 0:  # in a process of its own: the one that forks keeps no connection
            with vbl.connect(path) as client:
                print(json.dumps(seen(client)), flush=True)
                left = client.sql("select count(*) from vbl_runs where status not in ('completed', 'blocked')")[1][0][0]
            os._exit(left)
        left = os.waitstatus_to_exitcode(os.waitpid(after, 0)[1])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
