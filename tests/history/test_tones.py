"""What an event says is good or bad news by what is in it, and the terminal's sign says the same as the colour."""

from __future__ import annotations

import pytest

from vbl.cli.progress import Watch
from vbl.history.events import payload_model
from vbl.history.facts import Event, EventType
from vbl.history.tones import tone_of


def finished(status: str) -> Event:
    payload = payload_model("CHILD_FINISHED", {"v": 1, "call": "draft", "child": "r_1", "status": status})
    return Event(1, "r_0", 4, EventType.CHILD_FINISHED, 0, payload)


@pytest.mark.parametrize(
    ("status", "sign", "tone"), [("completed", "completed", "good"), ("failed", "failed", "bad")], ids=str
)
def test_the_end_of_a_child_is_as_good_as_the_child_did(status: str, sign: str, tone: str) -> None:
    event = finished(status)
    assert tone_of(event) == tone
    ((shown, _, style),) = Watch(0).take(event)
    assert (shown, style) == (sign, tone)
