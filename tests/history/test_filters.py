"""The language in which runs are looked for: what is typed and what is shown again are the same filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbl.errors import UsageError
from vbl.history.filters import PRESETS, Age, Bound, Filter, Words, instant, parse
from vbl.history.state import Status

RUN = "r_0123456789abcdef"


def test_all_terms_of_the_language_together() -> None:
    found = parse(
        "status:failed,blocked workflow:triage tag:env=dev tag:blue cost:>0.1 took:<=2h since:1d until:2026-11-20 "
        f'parent:{RUN} own:yes overload* "529 overloaded"'
    )
    assert found == Filter(
        statuses=(Status.BLOCKED, Status.FAILED),
        workflows=("triage",),
        tags=("env=dev", "blue"),
        parent=RUN,
        cost=(Bound(">", 0.1),),
        took=(Bound("<=", 7_200_000_000),),
        since=Age(86_400_000_000),
        until=1_795_132_800_000_000,
        words=(Words("overload", True), Words("529 overloaded")),
        own=True,
    )


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
searched = texts.filter(lambda text: any(c.isalnum() for c in text))
names = texts.filter(lambda text: text and "," not in text)
begun = st.from_regex(r"[^\s\"\x1c-\x1f\x85]*[a-z][^\s\"\x1c-\x1f\x85]*", fullmatch=True).map(
    lambda text: Words(text, True)
)
moments = st.builds(Age, st.integers(0, 10**15)) | st.integers(0, 2 * 10**15)
signs = st.sampled_from([">", ">=", "<", "<="])
filters = st.builds(
    lambda statuses, **given: Filter(**given).only(*statuses),
    statuses=st.sets(st.sampled_from(Status)),
    workflows=st.lists(names, max_size=2, unique=True).map(tuple),
    tags=st.lists(texts.filter(bool), max_size=2, unique=True).map(tuple),
    parent=st.none() | st.just(RUN),
    run=st.none() | st.from_regex(r"r_[0-9a-z]{1,16}", fullmatch=True),
    cost=st.lists(st.builds(Bound, signs, st.floats(0, 1e9)), max_size=2).map(tuple),
    took=st.lists(st.builds(Bound, signs, st.integers(0, 10**12).map(float)), max_size=1).map(tuple),
    since=st.none() | moments,
    until=st.none() | moments,
    words=st.lists(st.builds(Words, searched, st.just(False)) | begun, max_size=3).map(tuple),
    own=st.booleans(),
)


@given(filters)
def test_a_filter_that_is_written_reads_as_the_same(wanted: Filter) -> None:
    assert parse(str(wanted)) == wanted


@given(st.text(max_size=60))
def test_whatever_is_typed_is_a_filter_or_refused_by_name(text: str) -> None:
    try:
        found = parse(text)
    except UsageError as error:
        refused = error
    else:
        assert parse(str(found)) == found
        return
    assert refused.code == "filter"
    assert refused.hint


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("status:failed colour:red", "'colour:red'"),
        ("status:broken", "'broken' is no status"),
        ("is:odd", "'is:odd'"),
        ("cost:0.1", "'cost:0.1'"),
        ("cost:>nan", "'cost:>nan'"),
        ("took:>yesterday", "'took:>yesterday'"),
        (f"took:>{'9' * 400}s", "it is no limit"),
        ("took:>99999999999999999w", "it is no limit"),
        ("cost:>1e999", "it is no limit"),
        (f"since:{'9' * 400}d", "is no age and no date"),
        ("until:9999-12-31T23:59:59-12:00", "is no age and no date"),
        ("since:0001-01-01T00:00:00+12:00", "is no age and no date"),
        ("since:yesterday", "'yesterday' is no age and no date"),
        ("tag:", "'tag:'"),
        ("parent:T-1", "'parent:T-1'"),
        ("own:maybe", "'own:maybe'"),
        ('triage "529 over', "quotation mark is not closed"),
        ("--- !", "no letter and no digit"),
        ("r_1 r_2", "no run has two ids"),
        ("word " * 33, "more than 32 terms"),
        (f"workflow:{','.join(f'w{n}' for n in range(40))}", "more than 32 terms"),
        ("http://example.com", "there is no term http:"),
    ],
)
def test_a_term_that_is_none_is_named(typed: str, named: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(typed)
    assert named in refused.value.message
    assert refused.value.hint


def test_statuses_and_workflows_add_up_while_presets_name_several() -> None:
    assert parse("status:failed is:needs-you").statuses == (Status.WAITING_FOR_APPROVAL, Status.BLOCKED, Status.FAILED)
    assert parse("workflow:a workflow:b,a").workflows == ("a", "b")
    for name, statuses in PRESETS.items():
        assert set(parse(f"is:{name}").statuses) == set(statuses)
    assert str(parse("status:paused,queued,waiting status:retrying")) == "is:held-up"
    assert parse("status:waiting-for-approval").statuses == (Status.WAITING_FOR_APPROVAL,)


def test_a_quoted_star_is_text_and_a_bare_one_a_beginning() -> None:
    assert parse('"over*" over*').words == (Words("over*"), Words("over", True))


def test_an_age_is_counted_from_the_moment_of_looking() -> None:
    since = parse("since:1h").since
    assert since is not None
    assert instant(since, 5_000_000_000) == 1_400_000_000
    assert instant(since, 0) == 0
