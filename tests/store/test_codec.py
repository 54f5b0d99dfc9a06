"""Values come back as what they were, live as on replay, or are refused where they are written."""

from __future__ import annotations

from typing import Any

import pytest

from vbl.store.codec import Codec
from vbl.store.payloads import Recorder, loads, same


def recorded(annotation: Any, value: Any) -> Any:
    """What is recorded of a value, checked: the stored text says what the plain form says, and both load alike."""
    codec = Codec(annotation, "the test")
    found = codec.record(value, Recorder())
    assert same(loads(found.text), found.plain), f"the text {found.text!r} is not the plain form {found.plain!r}"
    back = codec.load(found.plain)
    assert back == found.value
    assert type(back) is type(found.value), "live and replay see different types"
    return found.value


@pytest.mark.parametrize(("annotation", "value"), [(float, 60), (float, True + 1), (float | None, 2)])
def test_a_whole_number_given_as_float_is_recorded_as_one(annotation: Any, value: int) -> None:
    assert recorded(annotation, value) == value
