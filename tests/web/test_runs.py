"""The list of runs over a real file: what is asked in the URL is what is shown, and what is ticked is what is done."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import vbl
from tests.web.conftest import Site, pages
from vbl import finding
from vbl.client import Client
from vbl.history.state import Status
from vbl.web import runs


def shown(page: httpx.Response) -> list[str]:
    """The ids of the runs of a page, in their order."""
    assert page.status_code == 200, page.text
    return re.findall(r'id="row-(r_\w+)"', page.text)


def link(page: httpx.Response, words: str) -> str | None:
    """Where the link with these words leads."""
    found = re.search(rf'<a [^>]*?href="([^"]*)"[^>]*>\s*{re.escape(words)}', page.text)
    return html.unescape(found[1]) if found else None


def counts(page: httpx.Response) -> list[str]:
    return re.findall(r'class="count">([^<]*)</span></a>', page.text.partition('id="runs"')[2])


def started(file: Client, number: int) -> list[str]:
    """So many queued runs; their ids, the newest first."""
    return [file.start("story", n=n, tags=["odd" if n % 2 else "even"]).id for n in range(number)][::-1]


def test_the_first_page_lists_the_newest_runs(site: Site, file: Client) -> None:
    made = started(file, 3)
    for path in ("/", "/runs"):
        assert shown(site.get(path)) == made
    assert counts(site.get("/runs")) == ["3", "0", "3", "0", "0"]


def test_an_empty_file_says_what_to_type(site: Site) -> None:
    assert "vbl run file.py:workflow" in site.get("/").text


def test_the_filter_is_in_the_url_and_in_the_field(site: Site, file: Client) -> None:
    made = started(file, 4)
    page = site.get("/runs", params={"q": 'tag:odd "story"'})
    assert 'value="tag:odd &quot;story&quot;"' in page.text
    page = site.get("/runs", params={"q": "tag:odd"})
    assert shown(page) == made[0::2]
    assert counts(page) == ["2", "0", "2", "0", "0"]


def test_words_of_the_input_are_found(site: Site, file: Client) -> None:
    said = file.start("story", text="529 is overloaded").id
    file.start("story", text="all is well")
    assert shown(site.get("/runs", params={"q": '"529 is overloaded"'})) == [said]


def test_a_term_that_is_none_is_named_and_stays_in_the_field(site: Site) -> None:
    page = site.get("/runs", params={"q": "colour:red"})
    assert page.status_code == 400
    assert "colour:red" in page.text
    assert 'value="colour:red"' in page.text
    assert 'role="alert"' in page.text
    typing = site.get("/runs", params={"q": "colour:"}, headers={"HX-Request": "true"})
    assert typing.status_code == 200
    assert "nothing stands behind the colon" in typing.text
    part = site.get("/runs/table", params={"q": "colour:red"}, headers={"HX-Request": "true"})
    assert part.status_code == 400
    assert "<html" not in part.text


def test_a_parent_that_there_is_not_is_named_beside_the_field(site: Site) -> None:
    page = site.get("/runs", params={"q": "parent:r_0000"})
    assert page.status_code == 404
    assert 'value="parent:r_0000"' in page.text
    assert "there is no run" in page.text


def test_pages_lead_to_each_other(site: Site, file: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ROWS", 2)
    made = started(file, 5)
    pages = [site.get("/runs")]
    while (older := link(pages[-1], "older ›")) is not None:
        pages.append(site.get(older))
    assert [shown(page) for page in pages] == [made[0:2], made[2:4], made[4:5]]
    newer = link(pages[2], "‹ newer")
    assert newer is not None
    back = site.get(newer)
    assert shown(back) == made[2:4]
    again = link(back, "‹ newer")
    assert again is not None
    assert shown(site.get(again)) == made[0:2]
    assert link(site.get(again), "‹ newer") is None
    # it is the first page again, and goes with what comes
    found = re.search(r'<section[^>]*hx-get="([^"]*)"', site.get(again).text)
    assert found is not None
    newest = file.start("story", n=9).id
    assert shown(site.get(html.unescape(found[1])))[0] == newest


def test_an_older_page_stays_and_says_what_has_come(site: Site, file: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ROWS", 2)
    made = started(file, 4)
    older = link(site.get("/runs"), "older ›")
    assert older is not None
    assert shown(site.get(older)) == made[2:]
    assert "new)" not in site.get(older).text
    started(file, 3)
    part = site.get(older.replace("/runs?", "/runs/table?"))
    assert shown(part) == made[2:]
    assert "« newest (3 new)" in part.text


def test_the_part_that_renews_itself_asks_for_what_it_shows(site: Site, file: Client) -> None:
    made = started(file, 4)
    page = site.get("/runs", params={"q": "tag:odd", "before": made[0], "newest": made[0]})
    found = re.search(r'<section[^>]*hx-get="([^"]*)"', page.text)
    assert found is not None
    url = html.unescape(found[1])
    assert parse_qs(urlsplit(url).query) == {"q": ["tag:odd"], "before": [made[0]], "newest": [made[0]]}
    part = site.get(url)
    assert shown(part) == shown(page) == made[2:3]
    assert part.text.startswith("<section")


def test_a_long_look_says_where_it_ended(site: Site, file: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MOST", 2)
    made = started(file, 5)
    page = site.get("/runs", params={"q": "took:>1w"})
    assert shown(page) == []
    further = link(page, "Look further")
    assert further is not None
    assert parse_qs(urlsplit(further).query)["before"] == [made[1]]
    assert link(site.get(further), "Look further") is not None


def test_the_list_and_the_page_of_a_run_agree(tmp_path: Path) -> None:
    @vbl.workflow
    async def asks() -> str:
        await vbl.wait("never", timeout=3600)
        return ""

    with vbl.open(tmp_path / "agree.db") as runtime:
        run = runtime.start(asks)
        run.wait("waiting", timeout=20)
        with pages(runtime) as site:
            row = re.search(rf'<tr id="row-{run.id}".*?</tr>', site.get("/runs").text, re.DOTALL)
            assert row is not None
            assert 'data-status="waiting"' in row[0]
            assert "signal never" in row[0]
            assert 'data-status="waiting"' in site.get(f"/runs/{run.id}").text


# Bulk -------------------------------------------------------------------------------------------------------------


def test_what_is_ticked_is_shown_first_and_then_cancelled(site: Site, file: Client) -> None:
    made = started(file, 4)
    preview = site.post_form("/runs/bulk", act="cancel", q="tag:odd", run=made[:2])
    assert preview.status_code == 200
    assert "Cancel 2 runs?" in preview.text
    assert "RUN_CANCELLED" in preview.text
    assert [file.run(id).status for id in made] == [Status.QUEUED] * 4
    assert re.findall(r'name="run" value="(r_\w+)"', preview.text) == made[:2]
    done = site.post_form("/runs/bulk", act="cancel", q="tag:odd", run=made[:2], confirmed="yes", reason="too many")
    assert "2 runs asked to cancel" in done.text
    assert link(done, "Back to the list") == "/runs?q=tag%3Aodd"
    assert [file.run(id).status for id in made] == [Status.CANCELLED] * 2 + [Status.QUEUED] * 2
    asked = next(event for event in file.run(made[0]).events() if event.type == "CANCEL_REQUESTED")
    assert asked.payload.model_dump()["reason"] == "too many"


def test_each_refusal_is_told_with_its_reason(site: Site, file: Client) -> None:
    made = started(file, 2)
    file.run(made[0]).cancel()
    preview = site.post_form("/runs/bulk", act="cancel", run=made)
    assert "Cancel 1 run?" in preview.text
    assert "Would be refused: 1 run" in preview.text
    assert re.findall(r'name="run" value="(r_\w+)"', preview.text) == made[1:]
    done = site.post_form("/runs/bulk", act="cancel", run=made, confirmed="yes")
    assert "1 run asked to cancel" in done.text
    assert "Refused: 1 run" in done.text
    assert "cancelled" in done.text
    again = site.post_form("/runs/bulk", act="retry", run=made)
    assert "None of these can be retried" in again.text


def test_all_that_fit_can_be_meant(site: Site, file: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made = started(file, 6)
    monkeypatch.setattr(runs, "BULK", 2)
    preview = site.post_form("/runs/bulk", act="cancel", q="tag:even", every="yes", run=made[:1])
    assert "Cancel 2 runs?" in preview.text
    assert "there are more that fit" in preview.text
    assert re.findall(r'name="run" value="(r_\w+)"', preview.text) == made[1:4:2]


def test_failed_runs_are_retried_together(tmp_path: Path) -> None:
    broken = {"card": True}

    @vbl.step
    async def charge(n: int) -> int:
        if broken["card"]:
            raise ValueError("card declined")
        return n

    @vbl.workflow
    async def order(n: int) -> int:
        return await charge(n)

    with vbl.open(tmp_path / "orders.db") as runtime:
        orders = [runtime.start(order, n) for n in range(3)]
        for run in orders:
            run.wait("failed", timeout=20)
        broken["card"] = False
        with pages(runtime) as site:
            assert counts(site.get("/runs"))[-1] == "3"
            preview = site.post_form("/runs/bulk", act="retry", q="status:failed", every="yes")
            assert "Retry 3 runs?" in preview.text
            assert "charge" in preview.text
            done = site.post_form("/runs/bulk", act="retry", run=[run.id for run in orders], confirmed="yes")
            assert "3 runs retried" in done.text
            assert [run.result(timeout=20) for run in orders] == [0, 1, 2]
            assert counts(site.get("/runs"))[-1] == "0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"act": "delete", "run": "r_1"}, 400),
        ({"act": "cancel"}, 400),
        ({"act": "cancel", "run": "r_0000000000000000"}, 404),
        ({"act": "cancel", "run": "r_1", "q": "colour:red"}, 400),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(site: Site, fields: dict[str, str], status: int) -> None:
    answer = site.post_form("/runs/bulk", **fields)
    assert answer.status_code == status
    assert 'class="problem"' in answer.text


def test_who_may_only_look_changes_nothing(file: Client) -> None:
    made = started(file, 1)
    with pages(file, read_only=True) as site:
        page = site.get("/runs")
        assert "<form" not in page.text.partition('id="runs"')[2]
        assert made[0] in page.text
        assert site.post("/runs/bulk", data={"act": "cancel", "run": made[0]}).status_code == 403
    assert file.run(made[0]).status is Status.QUEUED


def test_the_sums_of_what_ended_are_on_the_page(tmp_path: Path) -> None:
    @vbl.workflow
    async def ends(n: int) -> int:
        if n == 0:
            raise ValueError("no")
        return n

    with vbl.open(tmp_path / "ends.db") as runtime:
        for n in range(4):
            runtime.start(ends, n).wait(timeout=20)
        with pages(runtime) as site:
            for span, words in (("hour", "last hour"), ("day", "last day"), ("week", "last hour")):
                assert f"{words}: 3 completed, 1 failed" in site.get("/runs", params={"span": span}).text
