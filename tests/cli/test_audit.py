"""The audit of a run that went on: what was approved, what ran of it, and how that ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import vbl
from vbl.engine.definitions import REGISTRY


@vbl.step
async def pay(to: str, amount: int) -> str:
    if amount > 100:
        raise ValueError("no such money")
    return f"{amount} to {to}"


async def paying(amount: int) -> str:
    gate = await vbl.approve(pay.call("eve", amount), edit=True)
    return await gate.run()


def paid(path: Path, amount: int, edit: dict[str, Any] | None) -> str:
    """A run whose gate ada has granted, and that has ended."""
    before = dict(REGISTRY)
    try:
        with vbl.open(path) as runtime:
            run = runtime.start(vbl.workflow(name="paying")(paying), amount)
            run.wait("waiting_for_approval", timeout=20)
            runtime.approve(runtime.gates()[0], by="ada", edit=edit)
            run.wait(timeout=20)
            return run.id
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)


def test_the_audit_tells_what_ran_and_what_came_of_it(vbl_here: Callable[..., Any], tmp_path: Path) -> None:
    run = paid(tmp_path / "paid.db", 5, {"amount": 7})
    out = vbl_here("audit", run, db=tmp_path / "paid.db").out
    told = [
        'about: pay with {"to": "eve", "amount": 5}',
        "approved by ada, from python",
        "edited amount: 5 -> 7",
        'ran pay, attempt 1, with {"to": "eve", "amount": 7}',
        'pay completed with "7 to eve"',
    ]
    assert [out.count(line) for line in told] == [1] * len(told)
    assert sorted(told, key=out.index) == told


def test_the_audit_tells_of_what_failed(vbl_here: Callable[..., Any], tmp_path: Path) -> None:
    run = paid(tmp_path / "paid.db", 500, None)
    out = vbl_here("audit", run, db=tmp_path / "paid.db").out
    assert 'ran pay, attempt 1, with {"to": "eve", "amount": 500}' in out
    assert "no such money" in out
