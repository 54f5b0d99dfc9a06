"""What a handler has at hand: the file, the session's CSRF token, the form that was posted, and how to answer.

`House` is what all requests share; `desk(request)` is what one request gets. Answers are put into the frame here, and
errors become pages, fragments or JSON here, so that no handler knows how.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vbl import config
from vbl.drawing import frame
from vbl.drawing.frame import Holder, Place, Standing
from vbl.drawing.markup import Markup, tag
from vbl.errors import (
    Conflict,
    InvalidInput,
    NotEntitled,
    NotFound,
    StorageError,
    UsageError,
    ValueNotStorable,
    VblError,
)
from vbl.web.assets import Assets
from vbl.web.formats import for_programs, is_for_programs, path_of

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.web.live import Feed
    from vbl.web.readers import Readers
    from vbl.web.sheets import Sheets

T = TypeVar("T")
MOST_QUESTIONS = 99
_STATUS: tuple[tuple[type[VblError], int], ...] = (
    (NotFound, 404),
    (NotEntitled, 403),
    (Conflict, 409),
    (InvalidInput, 422),
    (ValueNotStorable, 422),
    (UsageError, 400),
    (StorageError, 503),
)


class Cache:
    """The last things that were made for requests, the least used one forgotten first. Safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept under the key, made where it is not. Two threads may make it at once; the later one stays."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made


@dataclass(slots=True)
class House:
    """What all requests share. `client` is for changes; who only looks borrows another from `readers`."""

    client: Client
    readers: Readers
    feed: Feed
    assets: Assets
    sheets: Sheets
    read_only: bool = False
    foreseen: Cache = field(default_factory=lambda: Cache(1_000))
    """What deciding a gate would do, in some words each: a history is read for them, and not kept."""
    slices: Cache = field(default_factory=lambda: Cache(4))
    """How many runs ended in the slices of a span that are over, by the span and its beginning."""

    def answering(self, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """The same answer, with a client of its own for whoever only looks."""

        def answered(request: Request) -> Response:
            if request.method == "POST":
                return answer(request)
            with self.readers.one() as client:
                request.scope["vbl.client"] = client
                try:
                    return answer(request)
                finally:
                    del request.scope["vbl.client"]

        return answered


@dataclass(frozen=True, slots=True)
class Desk:
    """One request's way to the file and to its answer."""

    request: Request
    house: House

    @property
    def client(self) -> Client:
        """The file."""
        return self.request.scope.get("vbl.client") or self.house.client

    def standing(self) -> Standing:
        """What the head of a page says, read now. The cursor is read first: what comes later is in the live feed."""
        client = self.client
        cursor = client.cursor()
        info = client.supervisor()
        number = client.waiting_for_people(MOST_QUESTIONS + 1)
        return Standing(
            file=client.path.name,
            path=str(client.path),
            cursor=cursor,
            now=client.now(),
            holder=None
            if info is None
            else Holder(info.program, info.pid, info.epoch, info.since_at, client.silence()),
            questions=min(number, MOST_QUESTIONS),
            many=number > MOST_QUESTIONS,
        )

    @property
    def root(self) -> str:
        """The prefix under which the application is mounted; empty, or beginning with a slash."""
        return self.request.scope.get("root_path", "").rstrip("/")

    @property
    def read_only(self) -> bool:
        """Whether nothing may be changed: forms and buttons are left out."""
        return self.house.read_only

    @property
    def csrf(self) -> str:
        """What every form carries in its hidden field `csrf`."""
        return self.request.scope.get("vbl.csrf", "")

    @property
    def form(self) -> ImmutableMultiDict[str, str]:
        """The fields that were posted."""
        return self.request.scope.get("vbl.form") or ImmutableMultiDict()

    @property
    def body(self) -> bytes:
        """The posted body as it came."""
        return self.request.scope.get("vbl.body", b"")

    @property
    def actor(self) -> str:
        """Who acts, where the page names nobody else."""
        return config.actor()

    @property
    def partial(self) -> bool:
        """Whether a part of a page is asked for, by htmx."""
        return "hx-request" in self.request.headers

    def page(self, title: str, main: Markup, *, here: str, run: str | None = None, status: int = 200) -> HTMLResponse:
        """A whole page, with the frame around `main`; `run` narrows its live feed to one run."""
        shelf, root = self.house.assets.shelf(), self.root
        place = Place(
            root=root,
            here=here,
            scripts=[shelf.url(root, name) for name in shelf.scripts],
            modules=[shelf.url(root, name) for name in shelf.modules],
            styles=[shelf.url(root, name) for name in shelf.styles],
            csrf=self.csrf,
            run=run,
            read_only=self.read_only,
            signed_in=self.request.scope.get("vbl.session", False),
        )
        standing = self.request.scope.get("vbl.standing") or self.standing()
        return HTMLResponse(frame.document(title, main, place, standing), status)

    def fragment(self, markup: Markup, status: int = 200) -> HTMLResponse:
        """A part of a page."""
        return HTMLResponse(markup, status)

    def redirect(self, path: str) -> Response:
        """Send the browser to a path of this application, by GET."""
        return RedirectResponse(f"{self.root}{path}", 303)

    def problem(self, error: VblError) -> Response:
        """An error as a page, a part of one, or as programs read it, whichever was asked for; its code alone, where
        nobody was asked who he is."""
        status, known = status_of(error), "vbl.csrf" in self.request.scope
        told = error.as_dict() if known else {"code": error.code}
        if (plain := for_programs(path_of(self.request.scope), told, status)) is not None:
            return plain
        drawn = frame.problem(error.message, error.hint, error.code)
        if self.partial:
            return self.fragment(drawn, status)
        try:
            main = Markup(frame.heading("That did not work") + drawn)
            return self.page(error.message[:80], main, here="", status=status)
        except VblError:  # the frame asks the same file; what is said is the error that came first
            return HTMLResponse(frame.alone(error.message, error.hint, self.root), status)


def status_of(error: VblError) -> int:
    """The HTTP status of an error."""
    if error.code == "closed":  # a client that was lent to these pages, and is closed
        return 503
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def desk(request: Request) -> Desk:
    """The desk of a request."""
    made = Desk(request, cast("House", request.app.state.house))
    if "vbl.standing" not in request.scope and request.method == "GET" and _is_page(request):
        # before the page is made: an event that comes meanwhile is then told by the live feed
        request.scope["vbl.standing"] = made.standing()
    return made


def _is_page(request: Request) -> bool:
    return "hx-request" not in request.headers and not is_for_programs(path_of(request.scope))


def renewed(url: str, content: Markup) -> Markup:
    """What a page is about, made anew from the page itself whenever something has changed."""
    return tag(
        "section",
        content,
        id="content",
        hx_get=url,
        hx_select="#content",
        hx_trigger="vbl:changed from:body",
        hx_swap="outerMorph",
    )
