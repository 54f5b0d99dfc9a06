"""Ask a person before a reply is sent, be killed while waiting, be answered while nothing runs, and go on.

    python examples/approval.py            # plays every part itself, in a few seconds
    python examples/approval.py --by-hand  # you are the one who decides, in another terminal

The worker is a process of its own, and is really killed. The decision is made by the command `vbl approve`, in a third
process, while no supervisor is alive: it is safe in the file, and acted on at the next start.
"""

import os
import shlex
import signal
import subprocess
import sys
from datetime import timedelta

from pydantic import BaseModel

import vbl


class Reply(BaseModel):
    """What is to be sent."""

    to: str
    text: str


@vbl.step
def draft(customer: str, question: str) -> Reply:
    """Write it; a model would do that."""
    return Reply(to=customer, text=f"Dear {customer}, you asked: {question} Yes, until Friday.")


@vbl.step(effect="write", idempotent=True)
def send_reply(reply: Reply) -> str:
    """Send it; a mail server would be called here, with that key."""
    return f"message {vbl.key()} to {reply.to}: {reply.text}"


@vbl.workflow
async def answer(customer: str, question: str) -> str:
    """Draft, ask, send exactly what was approved."""
    reply = await draft.aio(customer, question)
    gate = await vbl.approve(
        send_reply.call(reply), show={"the question was": question}, timeout=timedelta(days=2), on_timeout="deny"
    )
    return await gate.run() if gate.approved else f"not sent: {gate.reason}"


def work(run_id: str) -> None:
    """The worker: supervises the file until the run has ended."""
    with vbl.open() as runtime:
        print(f"worker {os.getpid()}: {runtime.run(run_id).result()}", flush=True)


def worker(run: vbl.Run) -> subprocess.Popen[bytes]:
    """That, in a process of its own."""
    return subprocess.Popen([sys.executable, __file__, "--work", run.id])


def terminal(*command: str) -> None:
    """What a person types."""
    print(f"\n$ {shlex.join(('vbl', *command))}", flush=True)
    subprocess.run([sys.executable, "-m", "vbl", *command], stdin=subprocess.DEVNULL, check=True)


def main(by_hand: bool) -> None:
    """The play, from the first start to the audit."""
    with vbl.connect() as client:
        run = client.start(answer, "Ada", "May I send the book back?")

        first = worker(run)
        run.wait("waiting_for_approval", timeout=60)
        first.send_signal(signal.SIGKILL)
        first.wait()
        print(f"worker {first.pid} was killed while run {run.id} waited. Nothing is alive now, and this is known:")
        terminal("inbox")

        [gate] = client.gates(run=run.id)
        if by_hand:
            print(
                f"\nDecide in another terminal:  vbl approve {gate.id}   or   vbl deny {gate.id} --reason WHY",
                flush=True,
            )
        else:
            terminal("approve", gate.id, "--as", "grace", "--reason", "it is polite, and true")

        second = worker(run)
        print(f"\nworker {second.pid} goes on where the first one was", flush=True)
        if second.wait() != 0:
            sys.exit(f"worker {second.pid} failed")
        terminal("audit", run.id)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--work", run_id]:
            work(run_id)
        case [] | ["--by-hand"]:
            main("--by-hand" in sys.argv)
        case _:
            sys.exit(__doc__)
