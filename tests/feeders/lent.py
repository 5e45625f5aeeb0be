"""What a feeder is given, for its tests: an intake that does as told, a tally that remembers, news."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from otpsvc.feeder import Beside, Frame, Lent, Note, Taken, Text


class FakeIntake:
    """`script`: outcomes of the next takes, in order; then `outcome` (a value or a function of the frame).

    An exception in either is raised. After `block()` every take waits for `release()`, or
    for `release(n)` that lets n of them go, oldest first.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        #: Takes that have returned, in that order.
        self.ended: list[Frame] = []
        self.cancelled = 0
        self.in_hand = 0
        self.most_in_hand = 0
        self.script: deque[Taken | BaseException] = deque()
        self.outcome: Taken | BaseException | Callable[[Frame], Taken] = Taken()
        #: Glob patterns.
        self.replies: set[str] = set()
        self._blocks = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def bodies(self) -> list[bytes]:
        return [frame.body for frame in self.frames]

    async def take(self, frame: Frame) -> Taken:
        self.frames.append(frame)
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        try:
            if self._blocks:
                waits = asyncio.get_running_loop().create_future()
                self._waiting.append(waits)
                await waits
            taken = self._outcome_of(frame)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_hand -= 1
        self.ended.append(frame)
        return taken

    def _outcome_of(self, frame: Frame) -> Taken:
        outcome = self.script.popleft() if self.script else self.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome if isinstance(outcome, Taken) else outcome(frame)

    def replies_to(self, place: str) -> bool:
        return any(fnmatchcase(place, pattern) for pattern in self.replies)

    def block(self) -> None:
        self._blocks = True

    def release(self, count: int | None = None) -> None:
        """Without a count: all, and no more blocking."""
        self._blocks = self._blocks and count is not None
        while self._waiting and count != 0:
            waits = self._waiting.popleft()
            if not waits.done():
                waits.set_result(None)
                count = count and count - 1


class FakeTally:
    def __init__(self) -> None:
        self.ups = 0
        self.lags: list[int] = []
        self.dead: list[str] = []
        self.losses: list[int] = []
        self.beside: Beside = lambda: (0, "")

    def up(self) -> None:
        self.ups += 1

    def lag(self, count: int) -> None:
        self.lags.append(count)

    def dead_lettered(self, reason: str) -> None:
        self.dead.append(reason)

    def lost(self, count: int) -> None:
        self.losses.append(count)


class FakeNews:
    """Put into `texts` and `notes`. As the real one: what was not told of comes again to the next who asks.

    `trouble` is raised by everything that the store would have to keep.
    """

    def __init__(self) -> None:
        self.texts: asyncio.Queue[Text] = asyncio.Queue()
        self.notes: asyncio.Queue[Note] = asyncio.Queue()
        self.told_texts: list[Text] = []
        self.told_notes: list[Note] = []
        self.watched: list[Note] = []
        self.counted: tuple[int, float] = (0, -1.0)
        self.trouble: BaseException | None = None
        self._text: Text | None = None
        self._note: Note | None = None

    async def next_text(self) -> Text:
        if self._text is None:
            self._text = await self.texts.get()
        return self._text

    async def told_text(self, text: Text) -> None:
        self._check()
        self.told_texts.append(text)
        self._text = None

    async def watch(self, notes: Sequence[Note]) -> None:
        self._check()
        self.watched.extend(notes)

    async def next_note(self) -> Note:
        if self._note is None:
            self._note = await self.notes.get()
        return self._note

    async def told_note(self, note: Note) -> None:
        self._check()
        self.told_notes.append(note)
        self._note = None

    async def count(self) -> tuple[int, float]:
        return self.counted

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class FakeLent:
    """`lent` is for the feeder, the rest for the test. Make it inside the loop."""

    def __init__(self) -> None:
        self.intake = FakeIntake()
        self.tally = FakeTally()
        self.news = FakeNews()
        #: Places that other feeders have.
        self.taken: set[str] = set()

    @property
    def lent(self) -> Lent:
        return Lent(
            intake=self.intake, tally=self.tally, news=self.news, taken=lambda place: place in self.taken
        )
