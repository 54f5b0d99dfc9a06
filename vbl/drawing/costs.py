"""What the steps of a run used: tokens and money, a row a step and model. `usage` is as the steps recorded it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vbl.drawing.markup import Markup, join, tag
from vbl.history.narration import money
from vbl.history.steps import name_of


@dataclass(slots=True)
class Spent:
    """Calls, tokens that went in, came out and were read from a cache, and US dollars; None where none was told."""

    calls: int = 0
    read: int | None = None
    written: int | None = None
    cached: int | None = None
    usd: float | None = None

    def add(self, usage: Mapping[str, Any]) -> None:
        """Take in what one call used."""
        self.calls += 1
        self.read = _sum(self.read, _number(usage, "input_tokens"))
        self.written = _sum(self.written, _number(usage, "output_tokens"))
        self.cached = _sum(self.cached, _number(usage, "cached_tokens"))
        usd = _number(usage, "usd")
        if usd is not None:
            self.usd = (self.usd or 0.0) + usd

    @property
    def told(self) -> str:
        """In words: `$0.0412 · 18.4k tokens in, 2.1k out, 61 % cached`; empty where nothing is known."""
        parts = [f"{short(self.read)} tokens in" if self.read is not None else None]
        parts.append(f"{short(self.written)} out" if self.written is not None else None)
        parts.append(f"{self.cached / self.read:.0%} cached".replace("%", " %") if self.cached and self.read else None)
        tokens = ", ".join(part for part in parts if part)
        return " · ".join(part for part in (money(self.usd) if self.usd is not None else "", tokens) if part)


def spent(usage: Sequence[Mapping[str, Any]]) -> Spent:
    """What all the calls used together."""
    total = Spent()
    for one in usage:
        total.add(one)
    return total


def costs(usage: Sequence[Mapping[str, Any]]) -> Markup:
    """A table of what the steps used, the calls of one model by steps of one name together, the dearest first, and the
    sum."""
    rows: dict[tuple[str, str], Spent] = {}
    for one in usage:
        rows.setdefault((name_of(str(one["step"])), str(one.get("model") or "")), Spent()).add(one)
    if not rows:
        return tag("p", "No step of this run has told what it used.", class_="empty")
    dearest = sorted(rows.items(), key=lambda row: (-(row[1].usd or 0.0), -(row[1].read or 0)))
    texts = [tag("th", title, scope="col") for title in ("step", "model")]
    numbers = [tag("th", title, scope="col", class_="num") for title in ("calls", "tokens in", "out", "cached", "cost")]
    body = [_row(name, model, used) for (name, model), used in dearest]
    silent = sum(_number(one, "usd") is None for one in usage)
    calls = "all calls" if silent == len(usage) else f"{silent} of {len(usage)} calls"
    table = tag(
        "div",
        tag(
            "table",
            tag("thead", tag("tr", texts, numbers)),
            tag("tbody", body),
            tag("tfoot", _row("together", "", spent(usage))),
            class_="table costs",
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label="What the steps used",
    )
    return join([table, tag("p", f"For {calls} neither the provider nor the step said a price.") if silent else None])


def _row(name: str, model: str, used: Spent) -> Markup:
    numbers = [str(used.calls), short(used.read), short(used.written), short(used.cached), money(used.usd)]
    texts = [tag("th", name, scope="row", class_="mono"), tag("td", model, class_="mono")]
    return tag("tr", texts, [tag("td", one, class_="num") for one in numbers])


def short(count: int | None) -> str:
    """A count in few characters: `912`, `18.4k`, `2.1M`; empty for None."""
    if count is None:
        return ""
    if count < 1_000:
        return str(count)
    return f"{count / 1_000:.1f}k" if count < 999_950 else f"{count / 1_000_000:.1f}M"


def _number(usage: Mapping[str, Any], name: str) -> Any:
    """The number in a field; None where there is none."""
    found = usage.get(name)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _sum(one: int | None, other: float | None) -> int | None:
    return one if other is None else (one or 0) + int(other)
