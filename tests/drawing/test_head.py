"""The head says how the run stands and why, in the words of `vbl why`, and what is known of it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from tests.drawing.sheets import EVIL, sheet
from tests.drawing.test_markup import Reader
from tests.history.hand import RUN, History
from vbl.drawing.costs import costs, short, spent
from vbl.drawing.head import head, values
from vbl.drawing.sheet import Neighbour
from vbl.history.filters import parse
from vbl.history.narration import money


def text(markup: str) -> str:
    return Reader(markup).text


def backing_off() -> History:
    history = History(workflow="triage", key="ticket 7", tags=["env=dev"], actor="ada").started().step("draft")
    return history.failed("draft", 2, final=False, kind="rate_limited", message="429").backoff("draft", 14, 2)


def test_the_reason_stands_beside_the_status_with_the_time_left() -> None:
    drawn = head(sheet(backing_off()))
    said = text(drawn)
    assert "retrying" in said
    assert "draft failed (rate_limited: OSError: 429), retrying in 14 s, attempt 2 of 5" in said
    assert "tries again in 14 s" in said
    assert 'data-until="' in drawn
    assert f"vbl why {RUN}" in said


def test_every_other_thing_that_can_move_the_run_is_said_too() -> None:
    history = backing_off()
    history.add("SIGNAL_AWAITED", wait=1, name="stop", expires_at=history.now + 3_600_000_000)
    said = text(head(sheet(history)))
    assert "signal stop" in said
    assert "retrying in 14 s" in said


def test_what_is_known_of_a_run_is_named() -> None:
    said = text(head(sheet(backing_off(), 3, source={"file": "/home/ada/desk/triage.py", "line": 7, "source": ""})))
    for part in ("elapsed5 s", "busy2 s", "by ada", "0 of 1 completed", "ticket 7", "env=dev", "desk/triage.py:7"):
        assert part in said
    assert "/home/ada" not in said


def test_a_tag_leads_to_the_runs_that_have_it_whatever_it_is_called() -> None:
    drawn = head(sheet(History(tags=['my "team"', "env=dev"]).started()), root="/vbl")
    links = [str(a["href"]) for name, a in Reader(drawn).elements if name == "a" and a.get("class") == "chip"]
    asked = [parse(dict(parse_qsl(urlsplit(link).query))["q"]).tags for link in links]
    assert asked == [('my "team"',), ("env=dev",)]
    assert all(link.startswith("/vbl/runs?") for link in links)


def test_a_run_without_a_supervisor_says_what_to_type() -> None:
    history = History().started().step("a")
    said = text(head(sheet(history, 60, supervised=False)))
    assert "in flight when the supervisor went" in said
    assert "vbl up" in said


def test_code_that_has_changed_since_is_said_to_have() -> None:
    history = History().started()
    same = {"source": "x", "version": "v1"}
    assert "unchanged since" in text(head(sheet(history, source=same, newest=same)))
    assert "≠ changed since" in text(head(sheet(history, source=same, newest={**same, "version": "v2"})))


def test_a_run_that_was_created_by_name_says_nothing_of_a_change() -> None:
    history = History().started()
    history.facts[0] = replace(history.facts[0], payload={**history.facts[0].payload, "version": ""})
    assert "changed since" not in text(head(sheet(history, newest={"source": "x", "version": "v2"})))


def test_the_error_of_a_failed_run_is_shown_with_its_traceback() -> None:
    history = History().started()
    history.add("RUN_FAILED", 1, error={"kind": "bug", "type": "KeyError", "message": EVIL, "traceback": "File x"})
    drawn = head(sheet(history))
    assert EVIL in text(drawn)
    assert "File x" in text(drawn)
    assert "<img" not in drawn


def test_the_error_of_the_step_that_failed_the_run_stands_first_with_its_attempt() -> None:
    history = History().started().step("pay", attempt=3)
    history.failed("pay", 1, attempt=3, type="Declined", message="no money", traceback="File pay.py")
    history.add("RUN_FAILED", error={"kind": "bug", "type": "StepFailed", "message": "step pay failed", "step": "pay"})
    said = text(head(sheet(history)))
    for part in ("StepFailed", "Declined", "no money", "step pay, attempt 3", "File pay.py"):
        assert part in said


def test_the_parent_is_led_to_where_there_are_pages() -> None:
    parent = Neighbour("r_parent", "daily", "running", 0, None)
    drawn = head(sheet(History(parent="r_parent").started(), parent=parent), root="/vbl")
    assert 'href="/vbl/runs/r_parent"' in drawn
    assert "href" not in head(sheet(History(parent="r_parent").started(), parent=parent), links=False)
    assert "no longer in the file" in text(head(sheet(History(parent="r_gone").started())))


def test_input_output_and_variables_are_shown_as_they_are_recorded() -> None:
    history = History(input={"question": "how warm?"}).started()
    history.add("CHECKPOINT_WRITTEN", checkpoint=1, applied=2, delta={"turns": 3})
    assert "output" not in text(values(sheet(history)))
    history.add("RUN_COMPLETED", output={"answer": 21})
    said = text(values(sheet(history)))
    for part in ("how warm?", "answer", "turns"):
        assert part in said


USAGE = [
    {
        "step": "draft",
        "model": "m-1",
        "usd": 0.0312,
        "input_tokens": 18_000,
        "output_tokens": 2_000,
        "cached_tokens": 9_000,
    },
    {"step": "draft#2", "model": "m-1", "usd": 0.01, "input_tokens": 400, "output_tokens": 100},
    {"step": "draft", "model": "m-2", "input_tokens": 7},
    {"step": "check", "input_tokens": 100, "output_tokens": None, "usd": "a lot"},
]


def test_costs_are_summed_a_row_a_step_and_model_and_together() -> None:
    said = text(costs(USAGE))
    assert "draftm-1218.4k2.1k9.0k$0.0412" in said
    assert "draftm-217" in said
    assert "together418.5k2.1k9.0k$0.0412" in said
    assert spent(USAGE).told == "$0.0412 · 18.5k tokens in, 2.1k out, 49 % cached"
    assert spent([]).told == ""
    assert "For 2 of 4 calls neither the provider nor the step said a price." in said
    assert "price" not in text(costs(USAGE[:2]))
    assert "For all calls" in text(costs(USAGE[2:]))
    assert "No step of this run has told" in text(costs([]))


def test_small_and_large_sums_are_legible() -> None:
    assert [money(None), money(0), money(0.00012), money(1234.5)] == ["", "$0.00", "$0.0001", "$1,234.50"]
    assert [short(None), short(999), short(1_000), short(2_100_000)] == ["", "999", "1.0k", "2.1M"]
