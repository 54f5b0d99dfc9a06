"""How many runs ended lately, and how, as a small picture: a bar for each slice of time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vbl.drawing.markup import Markup, tag
from vbl.drawing.times import local

SPANS = {"hour": (3_600_000_000, 60), "day": (86_400_000_000, 96)}
"""Spans of time, in microseconds, and the number of slices of each."""
_HEIGHT = 28
_WIDTH = 4


@dataclass(frozen=True, slots=True)
class Bucket:
    """Runs that ended in a slice of time which begins `at` (microseconds since 1970 UTC); `more`: at least so many."""

    at: int
    completed: int
    failed: int
    cancelled: int
    more: bool = False

    @property
    def ended(self) -> int:
        """All of them."""
        return self.completed + self.failed + self.cancelled


def sparkline(buckets: Sequence[Bucket], span: str) -> Markup:
    """Bars of those that completed, on top of them those that failed or were cancelled; and the sums in words."""
    highest = max((bucket.ended for bucket in buckets), default=0)
    bars = [_bar(place, bucket, highest) for place, bucket in enumerate(buckets) if bucket.ended]
    words = _words(buckets, span)
    picture = tag(
        "svg",
        tag("line", x1=0, x2=len(buckets) * _WIDTH, y1=_HEIGHT, y2=_HEIGHT, class_="base"),
        bars,
        viewBox=f"0 0 {max(len(buckets), 1) * _WIDTH} {_HEIGHT + 1}",
        preserveAspectRatio="none",
        class_="sparkline",
        role="img",
        aria_label=words,
    )
    return tag("figure", picture, tag("figcaption", words), class_="spark")


def _bar(place: int, bucket: Bucket, highest: int) -> Markup:
    """One slice; what went wrong is never lower than a pixel."""
    scale = (_HEIGHT - 2) / highest
    parts: list[Markup] = []
    top = float(_HEIGHT)
    for name, number in (("good", bucket.completed), ("dim", bucket.cancelled), ("bad", bucket.failed)):
        if number:
            height = max(number * scale, 1.5)
            top -= height
            parts.append(
                tag(
                    "rect",
                    x=place * _WIDTH + 0.5,
                    y=round(top, 2),
                    width=_WIDTH - 1,
                    height=round(height, 2),
                    class_=name,
                )
            )
    said = f"{local(bucket.at)}: {_sums(bucket)}{' or more' if bucket.more else ''}"
    return tag("g", tag("title", said), parts)


def _words(buckets: Sequence[Bucket], span: str) -> str:
    total = Bucket(
        0,
        sum(bucket.completed for bucket in buckets),
        sum(bucket.failed for bucket in buckets),
        sum(bucket.cancelled for bucket in buckets),
    )
    more = "more than " if any(bucket.more for bucket in buckets) else ""
    return f"last {span}: {more}{_sums(total)}"


def _sums(bucket: Bucket) -> str:
    said = [f"{bucket.completed:,} completed"]
    said += [f"{bucket.failed:,} failed"] if bucket.failed else []
    said += [f"{bucket.cancelled:,} cancelled"] if bucket.cancelled else []
    return ", ".join(said)
