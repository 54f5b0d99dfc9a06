"""The graph of a run: what is on it, what follows from what, and where it stands in the picture."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as xml
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vbl
from tests.history.hand import History
from tests.history.legal import histories
from vbl.cli.sketch import sketch
from vbl.drawing.graph import MOST, graph_svg, mermaid, svg_file
from vbl.drawing.layers import lay_out
from vbl.history.graph import Graph, by_name, graph, merged
from vbl.history.state import fold
from vbl.testing import Trial

SVG = "{http://www.w3.org/2000/svg}"


@vbl.step
async def take(value: int, seconds: float = 1.0) -> int:
    await asyncio.sleep(0)
    return value


@vbl.workflow
async def branches() -> int:
    """Two branches of two steps and one of one, then a map two at a time, under a deadline that is not reached."""

    async def branch(value: int) -> int:
        return await take(await take(value))

    await take(0)
    async with asyncio.timeout(3600):
        await asyncio.gather(branch(1), branch(2), take(3))
        await vbl.map(take, list(range(5)), limit=2)
    await vbl.sleep(60)
    return await take(9)


@vbl.workflow
async def listens() -> str:
    await take(1)
    said = await vbl.wait("go")
    await take(2)
    return said


def edges(drawn: Graph) -> dict[str, list[str]]:
    return {key: drawn.before(key) for key in drawn.nodes}


def retried() -> History:
    h = History().started().step("a").done("a", 1).step("b").failed("b", 1)
    h.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"})
    return h


def test_branches_fork_and_meet_and_a_map_is_one_node(tmp_path):
    with Trial(tmp_path / "runs.db") as trial:
        run = trial.start(branches)
        run.result()
        drawn = graph(run.facts())
    first, *inner = list(drawn.nodes)
    ends = [key for key in inner if key.startswith("take") and len(drawn.before(key)) == 1]
    assert edges(drawn)["take"] == []
    assert [drawn.before(key) for key in ("take#2", "take#3", "take#4")] == [["take"]] * 3
    last = list(drawn.nodes)[-3:]
    assert [drawn.nodes[key].kind for key in last] == ["step", "timer", "step"]
    items = drawn.nodes[last[0]]
    assert (items.count, items.status) == (5, "completed")
    assert len(drawn.before(last[0])) == 3  # the branches meet in the map
    assert (drawn.before(last[1]), drawn.before(last[2])) == ([last[0]], [last[1]])
    assert first == "take"
    assert len(ends) == 6
    assert not [node for node in drawn.nodes.values() if node.kind == "timer" and node.key == "timer 1"]


def test_a_signal_that_had_come_before_is_still_on_the_way(tmp_path):
    with Trial(tmp_path / "runs.db") as trial:
        run = trial.start(listens)
        trial.down()
        run.signal("go", "now")
        trial.up()
        run.result()
        drawn = graph(run.facts())
    assert edges(drawn) == {"take": [], "signal 1": ["take"], "take#2": ["signal 1"]}


def test_what_a_retry_undid_is_not_on_it():
    h = retried()
    seq = next(fact.seq for fact in h.facts if fact.type == "STEP_FAILED")
    h.add("RUN_RETRIED", step="b", from_seq=seq)
    h.add("RUN_RESUMED", epoch=1, reason="retry").step("b", attempt=2).done("b", 1, attempt=2).step("c").done("c", 1)
    drawn = graph(h.facts)
    assert edges(drawn) == {"a": [], "b": ["a"], "c": ["b"]}
    assert (drawn.nodes["b"].status, drawn.nodes["b"].note) == ("completed", "attempt 2")


def test_a_gate_that_a_retry_undid_is_not_on_it():
    h = History().started().step("b").failed("b", 1)
    seq = next(fact.seq for fact in h.facts if fact.type == "STEP_FAILED")
    h.add("APPROVAL_REQUESTED", gate="g_1", key="send", name="send")
    h.add("APPROVAL_DENIED", gate="g_1", actor="ada").digested()
    h.add("RUN_FAILED", error={"kind": "bug", "type": "E", "message": "x"}).add("RUN_RETRIED", step="b", from_seq=seq)
    h.add("RUN_RESUMED", epoch=1, reason="retry").step("b", attempt=2).done("b", 1, attempt=2)
    h.add("APPROVAL_REQUESTED", gate="g_2", key="send", name="send")
    assert edges(graph(h.facts)) == {"b": [], "gate g_2": ["b"]}


def test_a_clean_up_follows_from_what_the_cancel_cut_short():
    h = History().started().step("book").done("book", 1).step("slow").step("slower")
    h.add("CANCEL_REQUESTED", 1, actor="ada").digested()
    h.add("STEP_CANCELLED", step="slow").add("STEP_CANCELLED", step="slower").step("unbook").done("unbook", 1)
    assert edges(graph(h.facts)) == {"book": [], "slow": ["book"], "slower": ["book"], "unbook": ["slow", "slower"]}


def test_a_gate_says_who_decided_it():
    h = History().started().step("a").done("a", 1)
    h.add("APPROVAL_REQUESTED", gate="g_1", key="send", name="send", to=["ada"])
    assert graph(h.facts).nodes["gate g_1"].status == "waiting_for_approval"
    h.add("APPROVAL_GRANTED", 60, gate="g_1", actor="ada").digested().step("send")
    drawn = graph(h.facts)
    assert (drawn.nodes["gate g_1"].told, drawn.nodes["gate g_1"].subject) == ("1 min, granted by ada", "g_1")
    assert drawn.before("send") == ["gate g_1"]


def test_by_name_a_loop_follows_from_itself_and_counts_its_turns():
    h = History().started()
    for number in range(4):
        h.step("turn" if not number else f"turn#{number + 1}", name="turn")
        h.done(h.facts[-1].payload["step"], 1)
    drawn = by_name(graph(h.facts))
    assert list(drawn.nodes) == ["step turn"]
    assert drawn.edges == {("step turn", "step turn"): 3}
    assert (drawn.nodes["step turn"].count, drawn.nodes["step turn"].told) == (4, "1 s each")
    assert "edge back" in graph_svg(drawn)


def test_runs_over_each_other_say_how_many_went_which_way():
    short, long = History().started().step("a").done("a", 1), History().started().step("a").done("a", 3)
    long.step("b").failed("b", 1)
    drawn = merged([graph(short.facts), graph(long.facts), graph(long.facts)])
    assert drawn.runs == 3
    assert {key: (node.count, node.status) for key, node in drawn.nodes.items()} == {
        "step a": (3, "completed"),
        "step b": (2, "failed"),
    }
    assert drawn.edges == {("step a", "step b"): 2}
    assert "-->|2| n2" in mermaid(drawn)
    assert [node.runs for node in drawn.nodes.values()] == [3, 2]
    assert "in 2 of 3 runs" in graph_svg(drawn)


def test_very_many_nodes_are_drawn_by_name():
    h = History().started()
    for number in range(MOST + 5):
        h.step(f"s#{number}", name="s").done(f"s#{number}", 0.1)
    assert len(graph(h.facts).nodes) == MOST + 5
    assert f"s ×{MOST + 5}" in graph_svg(graph(h.facts))
    assert len(sketch(graph(h.facts), True, lambda text, style: text)) == 2


def test_steps_side_by_side_do_not_look_like_one_after_the_other():
    h = History().started()
    for key in "abc":
        h.step(key)
    for key in "bca":
        h.done(key, 1)
    h.step("d")
    assert "\n".join(sketch(graph(h.facts), True, lambda text, style: text)) == (
        "○  triage\n├─┬─┐\n✓ │ │  a  3 s\n│ ✓ │  b  1 s\n│ │ ✓  c  2 s\n├─┴─┘\n●  d  running"
    )


def test_nodes_lead_to_their_events_and_children_to_their_runs():
    h = History().started().step("a")
    h.add("CHILD_STARTED", call="sub", child="r_00000000000000zz", workflow="sub", input=None)
    tree = xml.fromstring(graph_svg(graph(h.facts), root="/vbl"))
    assert [link.get("href") for link in tree.iter(f"{SVG}a")] == ["#e3", "/vbl/runs/r_00000000000000zz"]
    assert not list(xml.fromstring(svg_file(graph(h.facts))).iter(f"{SVG}a"))


def test_a_run_that_did_nothing_has_no_nodes():
    h = History().started()
    assert graph(h.facts).nodes == {}
    assert "nothing has begun yet" in graph_svg(graph(h.facts))
    assert xml.fromstring(svg_file(graph(h.facts))).tag == f"{SVG}svg"
    assert mermaid(graph(h.facts)).startswith("flowchart TD\n  classDef")


EVIL = """<script>alert(1)</script>"'&]}\x00\n%%{init}%%`|"""


def test_nothing_that_was_recorded_becomes_markup_of_any_kind():
    h = History(workflow=EVIL).started().step(EVIL, name=EVIL).failed(EVIL, 1, message=EVIL)
    h.add("SIGNAL_AWAITED", wait=1, name=EVIL)
    drawn = graph(h.facts)
    for text in (graph_svg(drawn), svg_file(drawn)):
        assert "<script" not in text
        assert {node.tag for node in xml.fromstring(text).iter()} <= {
            SVG + name
            for name in ("svg", "defs", "marker", "path", "g", "a", "title", "rect", "text", "tspan", "style")
        }
    for line in mermaid(drawn).splitlines()[1:3]:
        assert re.fullmatch(r'  n\d(\[|\(\[)"[\w #;:,.×()/-]*<br/>[\w #;:,.×()/-]*"(\]|\]\)):::\w+', line), line
    assert "\x00" not in "".join(sketch(drawn, True, lambda text, style: text))


@settings(max_examples=150, deadline=None)
@given(facts=histories())
def test_all_that_was_asked_for_is_on_it_and_follows_only_from_what_came_before(facts):
    state, drawn = fold(facts), graph(facts)
    steps = {key.partition("[")[0] for key, step in state.steps.items() if not step.void}
    assert {key for key, node in drawn.nodes.items() if node.kind == "step"} == steps
    assert sum(node.kind == "gate" for node in drawn.nodes.values()) == sum(
        not gate.void for gate in state.gates.values()
    )
    for source, target in drawn.edges:
        assert drawn.nodes[source].seq < drawn.nodes[target].seq
    assert all(source in drawn.nodes and target in drawn.nodes for source, target in drawn.edges)
    named = by_name(drawn)
    assert all(source in named.nodes and target in named.nodes for source, target in named.edges)
    assert sum(node.count for node in named.nodes.values()) == sum(node.count for node in drawn.nodes.values())
    text = "\n".join(sketch(drawn, True, lambda text, style: text))
    assert text.count("\n") >= len(drawn.nodes)


NODES = st.integers(min_value=1, max_value=14)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data(), number=NODES)
def test_boxes_never_overlap_and_what_follows_stands_below(data, number):
    keys = [f"n{index}" for index in range(number)]
    widths = {key: float(data.draw(st.integers(20, 200))) for key in keys}
    pairs = [(a, b) for at, a in enumerate(keys) for b in keys[at:]]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=30))
    layout = lay_out(widths, chosen, gap=20)
    for layer in range(layout.depth):
        row = sorted((x, key) for key, (x, at) in layout.place.items() if at == layer)
        for (left, key), (right, other) in pairwise(row):
            assert right - left >= (widths[key] + widths[other]) / 2 + 20 - 1e-6
    assert all(
        widths[key] / 2 - 1e-6 <= x <= layout.width - widths[key] / 2 + 1e-6 for key, (x, _) in layout.place.items()
    )
    for route in layout.routes:
        if route.source == route.target:
            assert route.back
        else:
            assert layout.place[route.source][1] < layout.place[route.target][1]
            assert len(route.points) == layout.place[route.target][1] - layout.place[route.source][1] + 1


def test_a_picture_without_need_has_no_crossings():
    layout = lay_out(dict.fromkeys("abcdef", 50.0), [("a", "c"), ("b", "d"), ("c", "e"), ("d", "f")], gap=10)
    assert layout.place["a"][0] == layout.place["c"][0] == layout.place["e"][0]
    crossed = lay_out(dict.fromkeys("abdc", 50.0), [("a", "c"), ("b", "d")], gap=10)
    assert (crossed.place["a"][0] < crossed.place["b"][0]) == (crossed.place["c"][0] < crossed.place["d"][0])
