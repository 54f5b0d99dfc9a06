"""Runs are found by any filter, page by page: none is left out, none comes twice, and no page walks over the file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.conftest import File
from vbl import finding, ids
from vbl.access import Access
from vbl.client import Client, connect
from vbl.clock import SYSTEM
from vbl.errors import AmbiguousRun, NotFound, UsageError
from vbl.finding import Finder, Page
from vbl.handle import Run
from vbl.history.events import RunCreated
from vbl.history.filters import Filter, parse
from vbl.history.state import RunState, Status
from vbl.store.journal import Draft, draft
from vbl.store.payloads import dumps

MINUTE = 60_000_000
RUNS = 60
WORDS = ("overloaded 529", "quota", "blue sky", "Grüße", "T-1 ticket_id")
ERROR = {"kind": "transient", "type": "Overloaded", "message": "529 overloaded: try again"}


class Many(File):
    """A file with runs of all sorts, the first one the newest; `made` tells what each is."""

    def fill(self, number: int = RUNS) -> list[dict[str, Any]]:
        dice = random.Random(7)
        now = SYSTEM.now()
        return [self._one(dice, now - n * MINUTE) for n in range(number, 0, -1)][::-1]

    def _one(self, dice: random.Random, at: int) -> dict[str, Any]:
        about = {
            "id": ids.lowest(at),
            "at": at,
            "workflow": dice.choice(["triage", "mail", "vbl.notify"]),
            "tags": sorted(dice.sample(["env=dev", "blue", "eu"], dice.randint(0, 2))),
            "text": dice.choice(WORDS),
            "usd": dice.choice([None, 0.05, 0.2, 3.0]),
            "status": dice.choice(["queued", "running", "waiting", "paused", "failed", "completed"]),
        }
        created = RunCreated(run_id=about["id"], workflow=about["workflow"], version="v", tags=about["tags"])
        self.journal.create([draft(at, created.model_copy(update={"input": {"text": about["text"]}}))])
        self.journal.commit(about["id"], lambda _: [_draft(at, *event) for event in _events(about)])
        return about


def _draft(at: int, type: str, payload: dict[str, Any]) -> Draft:
    return Draft(type, at, {"v": 1, **payload}, dumps({"v": 1, **payload}))


def _events(about: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    status = about["status"]
    if status == "queued":
        about["usd"] = None
        return
    yield "RUN_STARTED", {"epoch": 0}
    step = {"step": "a", "attempt": 1}
    yield "STEP_STARTED", {**step, "idempotency_key": "k"}
    if about["usd"] is not None:
        yield "STEP_COMPLETED", {**step, "usage": {"usd": about["usd"]}}
        yield "CHECKPOINT_WRITTEN", {"checkpoint": 1, "applied": 4}
    else:
        yield "STEP_FAILED", {**step, "error": ERROR, "final": True}
        yield "CHECKPOINT_WRITTEN", {"checkpoint": 1, "applied": 4}
    match status:
        case "running":
            yield "STEP_STARTED", {"step": "b", "attempt": 1, "idempotency_key": "k"}
        case "waiting":
            yield "TIMER_SET", {"timer": 1, "at": about["at"] + 10**15}
        case "paused":
            yield "RUN_PAUSED", {}
        case "failed":
            yield "RUN_FAILED", {"error": ERROR}
        case _:
            yield "RUN_COMPLETED", {"output": {"said": about["text"]}}


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Many]:
    file = Many(tmp_path / "many.db")
    yield file
    file.close()


@pytest.fixture
def filled(many: Many) -> Iterator[tuple[Client, list[dict[str, Any]]]]:
    made = many.fill()
    with connect(many.path) as client:
        yield client, made


def all_of(client: Client, wanted: str, limit: int = 7) -> list[str]:
    """Every run that fits, page by page to the end."""
    found: list[str] = []
    page = client.find(wanted, limit=limit)
    found += [run.id for run in page.runs]
    while page.older is not None:
        page = client.find(wanted, before=page.older, limit=limit)
        found += [run.id for run in page.runs]
    return found


def expected(made: list[dict[str, Any]], fits: Any, own: bool = False) -> list[str]:
    return [one["id"] for one in made if fits(one) and (own or not one["workflow"].startswith("vbl."))]


CASES: dict[str, Any] = {
    "": lambda one: True,
    "status:failed": lambda one: one["status"] == "failed",
    "is:held-up": lambda one: one["status"] in ("queued", "waiting", "paused"),
    "is:needs-you": lambda one: False,
    "workflow:triage": lambda one: one["workflow"] == "triage",
    "workflow:triage,mail status:failed,completed": lambda one: one["status"] in ("failed", "completed"),
    "tag:env=dev": lambda one: "env=dev" in one["tags"],
    "tag:env=dev tag:blue": lambda one: {"env=dev", "blue"} <= set(one["tags"]),
    "tag:blue status:running workflow:mail": lambda one: (
        "blue" in one["tags"] and one["status"] == "running" and one["workflow"] == "mail"
    ),
    "cost:>0.1": lambda one: (one["usd"] or 0) > 0.1,
    "cost:>=0.05 cost:<1": lambda one: one["usd"] in (0.05, 0.2),
    "since:30m": lambda one: one["at"] > SYSTEM.now() - 30 * MINUTE,
    "until:30m tag:eu": lambda one: one["at"] < SYSTEM.now() - 30 * MINUTE and "eu" in one["tags"],
    "since:40m until:20m status:completed": lambda one: (
        SYSTEM.now() - 40 * MINUTE < one["at"] < SYSTEM.now() - 20 * MINUTE and one["status"] == "completed"
    ),
    "since:1960-01-01 until:9999-12-31": lambda one: True,
    "since:9999-12-31": lambda one: False,
    "until:1960-01-01": lambda one: False,
    "took:>35m": lambda one: one["status"] not in ("failed", "completed") and one["at"] < SYSTEM.now() - 35 * MINUTE,
    "quota": lambda one: one["text"] == "quota",
    "GRUSSE": lambda one: False,
    "grüße": lambda one: one["text"] == "Grüße",
    '"blue sky"': lambda one: one["text"] == "blue sky",
    '"sky blue"': lambda one: False,
    "sky blue": lambda one: one["text"] == "blue sky",
    '"blue\0sky"': lambda one: one["text"] == "blue sky",
    "quot*": lambda one: one["text"] == "quota",
    "quot": lambda one: False,
    "T-1": lambda one: one["text"].startswith("T-1"),
    "529 overloaded quota": lambda one: one["text"] == "quota" and said_529(one),
    '"529 overloaded"': lambda one: said_529(one),
    "overloaded status:failed tag:blue": lambda one: (
        one["status"] == "failed" and "blue" in one["tags"] and (said_529(one) or "over" in one["text"])
    ),
}


def said_529(one: dict[str, Any]) -> bool:
    return one["status"] == "failed" or (one["status"] != "queued" and one["usd"] is None)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", CASES)
def test_exactly_the_runs_that_fit_are_found_in_order(filled: tuple[Client, list[dict[str, Any]]], wanted: str) -> None:
    client, made = filled
    assert all_of(client, wanted) == expected(made, CASES[wanted])


@pytest.mark.slow
@pytest.mark.parametrize("wanted", CASES)
def test_a_look_that_ends_early_goes_on_where_it_ended(
    filled: tuple[Client, list[dict[str, Any]]], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made = filled
    for most in (1, 5):
        monkeypatch.setattr(finding, "MOST", most)
        assert all_of(client, wanted) == expected(made, CASES[wanted])


def test_a_page_says_up_to_when_it_looked(
    filled: tuple[Client, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made = filled
    monkeypatch.setattr(finding, "MOST", 10)
    page = client.find("took:>59m")
    assert page.runs == []
    assert page.looked_to == made[9]["at"]
    assert page.older == made[9]["id"]
    monkeypatch.undo()
    whole = client.find("took:>59m")
    assert (whole.older, whole.looked_to) == (None, None)


def test_vbls_own_runs_are_listed_where_they_are_asked_for(filled: tuple[Client, list[dict[str, Any]]]) -> None:
    client, made = filled
    own = [one["id"] for one in made if one["workflow"] == "vbl.notify"]
    assert own
    assert all_of(client, "own:yes") == [one["id"] for one in made]
    assert all_of(client, "workflow:vbl.notify") == own
    assert all_of(client, own[0]) == own[:1]


def test_a_run_is_found_by_the_beginning_of_its_id(filled: tuple[Client, list[dict[str, Any]]]) -> None:
    client, made = filled
    wanted = made[30]["id"]
    assert wanted in all_of(client, wanted[:10])
    assert all_of(client, wanted) == [wanted]
    assert all_of(client, "r_zzzzzzzz") == []


def test_pages_are_turned_both_ways(filled: tuple[Client, list[dict[str, Any]]]) -> None:
    client, _made = filled
    for wanted in ("", "tag:env=dev", "is:held-up", "overloaded"):
        pages: list[Page] = [client.find(wanted, limit=4)]
        assert pages[0].newer is None
        while (older := pages[-1].older) is not None:
            pages.append(client.find(wanted, before=older, limit=4))
        assert len(pages) > 2
        for at in range(len(pages) - 1, 0, -1):
            newer = pages[at].newer
            assert newer is not None
            again = client.find(wanted, after=newer, limit=4)
            assert [run.id for run in again.runs] == [run.id for run in pages[at - 1].runs]


def test_what_comes_meanwhile_moves_no_page(many: Many) -> None:
    many.fill(10)
    with connect(many.path) as client:
        first = client.find("own:yes", limit=4)
        before = client.find("own:yes", before=first.older, limit=4)
        many.run(tags=["eu"])
        assert [run.id for run in client.find("own:yes", before=first.older, limit=4).runs] == [
            run.id for run in before.runs
        ]


def test_a_cursor_that_retention_has_struck_still_stands_for_its_place(many: Many) -> None:
    made = [many.some_run() for _ in range(4)][::-1]  # all of them with the tag blue
    many.strike(many.key(made[1]))
    with connect(many.path) as client:
        for wanted in ("own:yes", "tag:blue"):
            assert [run.id for run in client.find(wanted, before=made[1]).runs] == made[2:]
            assert client.find(wanted, before=made[3]).runs == []


def test_the_part_with_the_fewest_runs_leads(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    rare = many.run(tags=["eu", "rare"], input={"text": "overloaded"})
    many.append(rare, ("RUN_STARTED", {"epoch": 0}), ("RUN_PAUSED", {}))
    for _ in range(10):
        many.run(tags=["eu"], input={"text": "overloaded"})
    with connect(many.path) as client:
        assert len(all_of(client, "overloaded")) == len(all_of(client, "tag:eu")) == 11
        monkeypatch.setattr(finding, "MOST", 3)
        for wanted in (
            "tag:eu status:paused",
            "overloaded status:paused workflow:w",
            "tag:rare status:queued,paused",
        ):
            page = client.find(wanted)
            assert ([run.id for run in page.runs], page.looked_to) == ([rare], None), wanted


def test_counts_say_how_many_there_are_of_each_status(filled: tuple[Client, list[dict[str, Any]]]) -> None:
    client, _made = filled
    for wanted in ("", "own:yes", "tag:env=dev", "workflow:triage cost:>0.1", "529", "since:30m status:failed"):
        fits = parse(wanted)
        counts = client.counts(wanted)
        for status in Status:
            found = all_of(client, str(fits.only(status)))
            assert counts[status] == (len(found), False), (wanted, status)


def test_counts_that_end_early_say_so(
    filled: tuple[Client, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _made = filled
    monkeypatch.setattr(finding, "MOST", 3)
    assert str(client.counts("own:yes")[Status.FAILED]) == "3+"
    of_tag = client.counts("tag:env=dev")
    assert all(count.more for count in of_tag.values())
    assert sum(count.number for count in of_tag.values()) <= 3


def test_children_are_found_by_their_parent(many: Many) -> None:
    parents = [many.run(), many.run()]
    children = [many.run(parent=parents[0]) for _ in range(3)]
    many.run(parent=parents[1])
    with connect(many.path) as client:
        assert all_of(client, f"parent:{parents[0]}", limit=2) == children[::-1]
        assert all_of(client, f"parent:{children[0]}") == []
        with pytest.raises(AmbiguousRun):
            client.find(f"parent:{parents[0][:4]}")
        with pytest.raises(NotFound):
            client.counts("parent:r_zzzz")
        unique = next(n for n in range(3, 19) if not any(c.startswith(parents[0][:n]) for c in [parents[1], *children]))
        assert all_of(client, f"parent:{parents[0][:unique]}") == children[::-1]


def test_what_is_named_twice_lists_no_run_twice(filled: tuple[Client, list[dict[str, Any]]]) -> None:
    client, _ = filled
    twice = Filter(workflows=("mail", "mail"), statuses=(Status.FAILED, Status.FAILED))
    for wanted in (twice, Filter(workflows=twice.workflows), Filter(twice.statuses)):
        found = [run.id for run in client.find(wanted, limit=RUNS).runs]
        assert found == list(dict.fromkeys(found))
        assert found


def test_a_page_of_nothing_is_refused(many: Many) -> None:
    with connect(many.path) as client, pytest.raises(UsageError, match="limit=0"):
        client.find(limit=0)


def test_a_wrong_term_is_refused(many: Many) -> None:
    with connect(many.path) as client, pytest.raises(UsageError, match="colour:red"):
        client.find("colour:red")


# How they are found -----------------------------------------------------------------------------------------------


class Explaining(Finder):
    """A finder that keeps what it asks of the store."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.asked: list[tuple[str, list[Any]]] = []
        select = access.store.select

        def kept(sql: str, args: Any = ()) -> Any:
            self.asked.append((sql, list(args)))
            return select(sql, args)

        access.store.select = kept  # type: ignore[method-assign]  # it asks the same, and is written down


ALLOWED = (
    "SCAN candidate",
    "SCAN CONSTANT",
    "SCAN (",
    "SCAN run_texts VIRTUAL TABLE INDEX",
    "SCAN run_texts EXISTS VIRTUAL TABLE INDEX",
    "SCAN runs USING COVERING INDEX sqlite_autoindex_runs_1",
    "SCAN runs USING COVERING INDEX runs_with_cost",
)
"""The candidates of a page, the texts by their own index, and the list from its end as far as a page needs it."""


@pytest.mark.parametrize("wanted", [*CASES, "own:yes", "parent:r_0123456789abcdef", "r_01"])
def test_no_query_sorts_or_walks_over_the_runs(many: Many, wanted: str) -> None:
    many.fill(20)
    access = Access(many.path, create=False, clock=SYSTEM, durability="process")
    try:
        finder = Explaining(access)
        newest = finder.find(Filter(own=True), limit=1).runs[0].id
        finder.find(parse(wanted), before=newest)
        finder.find(parse(wanted), after=newest)
        finder.counts(parse(wanted))
        plans = [
            (sql, [row[3] for row in many.store.select(f"explain query plan {sql}", args)[1]])
            for sql, args in finder.asked
        ]
    finally:
        access.store.close()
    assert plans
    for sql, steps in plans:
        assert not [step for step in steps if "TEMP B-TREE" in step and "GROUP BY" not in step], (sql, steps)
        walks = [step for step in steps if step.startswith("SCAN") and not any(map(step.startswith, ALLOWED))]
        assert not walks, (sql, steps)


def test_what_a_handle_says_is_what_the_summary_says(filled: tuple[Client, list[dict[str, Any]]]) -> None:
    client, made = filled
    for run, one in zip(client.find("own:yes", limit=RUNS).runs, made, strict=True):
        assert (run.id, run.usd, run.last_status) == (one["id"], one["usd"], one["status"])
        again = client.run(run.id)
        assert isinstance(again, Run)
        assert (again.usd, again.started_at, again.in_flight) == (run.usd, run.started_at, run.in_flight)


def test_the_older_way_to_list_runs_finds_the_same(filled: tuple[Client, list[dict[str, Any]]]) -> None:
    client, made = filled
    assert [run.id for run in client.runs(limit=None)] == [one["id"] for one in made]
    both = client.runs(status=["failed", "paused"], tag="eu", limit=None)
    assert [run.id for run in both] == expected(
        made, lambda one: one["status"] in ("failed", "paused") and "eu" in one["tags"], own=True
    )
    assert client.runs(status=[], limit=None) == []
    assert [run.id for run in client.runs(limit=3)] == [one["id"] for one in made[:3]]
    assert isinstance(many_state(client, made[0]["id"]), RunState)


def many_state(client: Client, id: str) -> RunState:
    return client.run(id).state()
