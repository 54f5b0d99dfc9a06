"""The place where a suspicious step starts: one at a time, those that died there already last, and never lost."""

from __future__ import annotations

from vbl.engine.quarantine import Quarantine


class Callers:
    """The runs that were told to ask again."""

    def __init__(self) -> None:
        self.called: list[int] = []
        self.place = Quarantine(self.called.append)

    def take(self) -> list[int]:
        called, self.called[:] = list(self.called), []
        return called


def test_one_is_inside_at_a_time_and_the_next_is_called() -> None:
    callers = Callers()
    assert callers.place.enter(1, "a", 0)
    assert not callers.place.enter(2, "b", 0)
    assert not callers.place.enter(3, "c", 0)
    assert not callers.take()
    callers.place.leave(1, "a")
    assert callers.take() == [2, 3]
    assert callers.place.enter(2, "b", 0)
    assert not callers.place.enter(3, "c", 0)


def test_another_step_of_the_run_inside_waits_too() -> None:
    callers = Callers()
    assert callers.place.enter(1, "a", 0)
    assert not callers.place.enter(1, "b", 0)
    callers.place.leave(1, "b")
    assert not callers.place.enter(2, "c", 0), "who is not inside cannot leave"


def test_who_asks_again_because_its_proposal_was_refused_is_inside_already() -> None:
    callers = Callers()
    assert callers.place.enter(1, "a", 0)
    assert callers.place.enter(1, "a", 0)


def test_a_start_that_was_never_made_gives_the_place_back() -> None:
    """Its run was cancelled by somebody between the proposal and the commit, say."""
    callers = Callers()
    assert callers.place.enter(1, "a", 0)
    assert not callers.place.enter(2, "b", 0)
    callers.place.look(flying=True)
    assert not callers.take()
    callers.place.look(flying=False)
    assert callers.take() == [2]
    assert callers.place.enter(2, "b", 0)


def test_one_that_died_alone_starts_last_and_in_calm() -> None:
    callers = Callers()
    callers.place.look(flying=False)
    assert not callers.place.enter(1, "suspect", 1), "kills from outside must not meet it again at once"
    assert callers.place.enter(2, "b", 0)
    assert not callers.place.enter(3, "c", 0)
    callers.place.leave(2, "b")
    assert callers.take() == [3]
    callers.place.look(flying=False)
    assert callers.take() == [1], "who was called and did not come holds nobody up"
    assert callers.place.enter(1, "suspect", 1)
