"""The documents of --json and of the API say each instant in RFC 3339, however deep in a payload it stands."""

from __future__ import annotations

from vbl.documents import fact_document
from vbl.history.facts import Fact

AT = 1_760_000_000_000_000
SAID = "2025-10-09T08:53:20.000000Z"


def test_the_times_of_a_gate_are_instants() -> None:
    request = {
        "v": 1,
        "gate": "g_1",
        "key": "send",
        "name": "send",
        "expires_at": AT,
        "escalate": [{"at": AT, "to": ["boss"]}],
        "remind": [AT, AT],
    }
    payload = fact_document("r_1", Fact(3, "APPROVAL_REQUESTED", AT, request))["payload"]
    assert (payload["expires_at"], payload["remind"]) == (SAID, [SAID, SAID])
    assert payload["escalate"] == [{"at": SAID, "to": ["boss"]}]
