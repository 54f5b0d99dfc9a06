"""The live feed: which runs have changed, told to every open page within moments, by server-sent events.

One thread watches the file for all pages, on a connection of its own (SQLite's data_version says nothing of commits of
the same connection), in short reads, and only while a page is open. A page that comes back says the cursor at which it
was, and hears what it missed; where that is too much, that anything may have changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from vbl.access import Access
from vbl.clock import SYSTEM, instant
from vbl.errors import StorageError
from vbl.store.holder import SupervisorInfo

if TYPE_CHECKING:
    from vbl.web.desk import House

LOOK_S = 0.04
HOLDER_S = 0.4
BEAT_S = 15.0
ELSEWHERE_S = 1.0
"""A page about one run hears so often that other runs have moved."""
ANYTHING = -1
"""The cursor of a page of which nothing is known: anything may have changed since."""
MOST_STREAMS = 200
MOST_RUNS = 50
_REMEMBERED = 4_096
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed up to `cursor`: these runs, or so many that anything may have (`all`)."""

    cursor: int
    runs: list[str]
    all: bool
    supervisor: dict[str, Any] | None

    def data(self) -> str:
        """The text of a message."""
        document = {"cursor": self.cursor, "runs": self.runs, "all": self.all, "supervisor": self.supervisor}
        return json.dumps(document, separators=(",", ":"))


@dataclass(eq=False, slots=True)
class Listener:
    """An open page: its loop, and the bell that is rung when there is something new."""

    loop: asyncio.AbstractEventLoop
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def ring(self) -> None:
        """From any thread; a loop that has ended needs nothing any more."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.bell.set)


class Feed:
    """Watches one file for all pages that are open."""

    def __init__(self, path: Path, most: int = MOST_STREAMS) -> None:
        self.path = path
        self.most = most
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._recent: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        self._cursor = -1
        self._supervisor: dict[str, Any] | None = None
        self._error: StorageError | None = None
        self.closed = False

    @property
    def open(self) -> int:
        """How many streams there are."""
        return len(self._listeners)

    def close(self) -> None:
        """End every stream, and the thread."""
        self.closed = True
        with self._lock:
            listeners, thread = list(self._listeners), self._thread
        self._stop.set()
        for listener in listeners:
            listener.ring()
        if thread is not None:
            thread.join(5.0)

    @contextlib.contextmanager
    def listening(self) -> Generator[Listener, None, None]:
        """A place among the listeners; the first one starts the thread, the last one ends it."""
        listener = Listener(asyncio.get_running_loop())
        with self._lock:
            self._listeners.add(listener)
            if self._thread is None or not self._thread.is_alive() or self._stop.is_set():
                self._stop = threading.Event()
                self._cursor, self._error = -1, None
                self._recent.clear()  # what came while nobody listened is not in it
                self._thread = threading.Thread(target=self._watch, args=(self._stop,), name="vbl-live", daemon=True)
                self._thread.start()
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)
                if not self._listeners:
                    self._stop.set()

    # The thread ----------------------------------------------------------------------------------------------------

    def _watch(self, stop: threading.Event) -> None:
        try:
            access = Access(self.path, create=False, clock=SYSTEM, durability="power")
        except StorageError as error:
            self._fail(stop, error)
            return
        try:
            self._look(access, stop)
        except StorageError as error:
            self._fail(stop, error)
        except OSError as error:
            self._fail(stop, StorageError(f"{self.path} cannot be watched: {error}", "See: vbl doctor"))
        finally:
            access.store.close()

    def _fail(self, stop: threading.Event, error: StorageError) -> None:
        """A file that cannot be read any more: the streams end, and say why."""
        with self._lock:
            if stop is self._stop:
                self._error = error
        self._ring()

    def _look(self, access: Access, stop: threading.Event) -> None:
        version, holder_at, supervisor = -1, 0.0, None
        while not stop.is_set():
            if (now := time.monotonic()) >= holder_at:
                holder_at, supervisor = now + HOLDER_S, holder_of(access.supervisor(), access.silent())
            seen = access.store.changed()
            if seen != version or supervisor != self._supervisor or self._cursor < 0:
                version = seen
                self._take(access, supervisor, stop)
            stop.wait(LOOK_S)

    def _take(self, access: Access, supervisor: dict[str, Any] | None, stop: threading.Event) -> None:
        """Read what is new, remember it, and ring."""
        cursor = access.store.head().last_id if self._cursor < 0 else self._cursor
        rows: list[tuple[int, str]] = []
        while page := access.store.all("changed_runs", (cursor, _AT_ONCE)):
            rows += [(id, run) for id, run in page]
            cursor = page[-1][0]
        with self._lock:
            if stop is not self._stop:
                return
            news = cursor != self._cursor or supervisor != self._supervisor
            self._recent += rows
            self._cursor, self._supervisor = cursor, supervisor
        if news:
            self._ring()

    def _ring(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.ring()

    # The streams ---------------------------------------------------------------------------------------------------

    def since(self, after: int) -> Change | None:
        """What has changed behind a cursor; None until the file has been looked at so far. Raises StorageError."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._cursor < 0 or after > self._cursor:  # a page may know of a commit before the next look
                return None
            missed = after < self._cursor and (not self._recent or self._recent[0][0] > after + 1)
            runs = list(dict.fromkeys(run for id, run in reversed(self._recent) if id > after))
            return Change(self._cursor, runs[:MOST_RUNS], missed or len(runs) > MOST_RUNS, self._supervisor)

    async def stream(
        self, listener: Listener, after: int, run: str | None, admitted: Callable[[], bool]
    ) -> AsyncGenerator[str, None]:
        """The text of the stream from a cursor on; with a run, of that one, and seldom of the others. A file that
        cannot be read any more ends it, with the reason; who is no longer admitted is told to ask, and no more."""
        yield "retry: 1000\n\n"
        supervisor: Any = ...
        told_at = 0.0
        while not self.closed:
            if not admitted():
                yield f"data: {Change(after, [], True, None).data()}\n\n"
                return
            try:
                change, now = self.since(after), time.monotonic()
            except StorageError as error:
                yield f"event: problem\ndata: {json.dumps(error.as_dict())}\n\n"
                return
            if change is not None and (change.cursor != after or change.supervisor != supervisor):
                mine = run is None or change.all or run in change.runs
                wait_s = 0.0 if mine or change.supervisor != supervisor else ELSEWHERE_S - (now - told_at)
                if wait_s > 0:
                    await self._pause(listener, wait_s)
                    continue
                after, supervisor, told_at = change.cursor, change.supervisor, now
                yield f"id: {change.cursor}\ndata: {change.data()}\n\n"
            if not await self._pause(listener, BEAT_S):
                yield f"event: beat\ndata: {after}\n\n"

    async def _pause(self, listener: Listener, seconds: float) -> bool:
        """Wait for the bell; whether it rang."""
        try:
            await asyncio.wait_for(listener.bell.wait(), seconds)
        except TimeoutError:
            return False
        listener.bell.clear()
        return True


def holder_of(info: SupervisorInfo | None, silent: str | None) -> dict[str, Any] | None:
    """Who moves the file, as the feed and the API say it; None where nobody does."""
    if info is None:
        return None
    return {
        "program": info.program,
        "pid": info.pid,
        "host": info.host,
        "epoch": info.epoch,
        "since_at": instant(info.since_at),
        "silent": silent is not None,
    }


async def live(request: Request) -> Response:
    """`GET /live?after=CURSOR[&run=ID]`."""
    house: House = request.app.state.house
    if request.method == "HEAD":
        return Response(media_type=EventStream.media_type)
    feed = house.feed
    if feed.closed or feed.open >= feed.most:
        return PlainTextResponse("too many pages are open\n", 503, {"retry-after": "5"})
    after = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
    run = request.query_params.get("run") or None
    cursor = int(after) if after.isascii() and after.isdigit() and len(after) < 19 else ANYTHING
    return EventStream(house, cursor, run, request.scope["vbl.admitted"])


class EventStream(Response):
    """Writes a stream until it ends, or until nobody reads it any more."""

    media_type = "text/event-stream"

    def __init__(self, house: House, after: int, run: str | None, admitted: Callable[[], bool]) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed, self._readers, self._after, self._run = house.feed, house.readers, after, run
        self._admitted = admitted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. The place among the listeners is taken before anything is awaited, so that none is given twice."""
        with self._feed.listening() as listener:
            after = await run_in_threadpool(self._known)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            texts = self._feed.stream(listener, after, self._run, self._admitted)
            await self._until_left(texts, receive, send)

    def _known(self) -> int:
        """The cursor of the page; of one that is about another file nothing is known."""
        with self._readers.one() as client:
            return self._after if self._after <= client.cursor() else ANYTHING

    async def _until_left(self, texts: AsyncGenerator[str, None], receive: Receive, send: Send) -> None:
        writing = asyncio.ensure_future(_written(texts, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, leaving):
                task.cancel()
            ended = await asyncio.gather(writing, leaving, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, OSError):  # a broken pipe is one who has left
                raise error


async def _written(texts: AsyncGenerator[str, None], send: Send) -> None:
    async with contextlib.aclosing(texts):
        async for text in texts:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


routes = [Route("/live", live)]
