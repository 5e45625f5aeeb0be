"""How one feeder is and what it has done: kept for the board, the metrics and the health page."""

from __future__ import annotations

import time
from collections.abc import Callable

from otpsvc.feeder import Beside, FeederConfig, Frame, Intake, Taken
from otpsvc.metrics import FeederMetrics
from otpsvc.standing import FeederState, Phase

#: Of a reason, which may come from a broker.
_REASON_MAX = 200


class Tally:
    """`feeder.Tally` of one feeder. `changed` is called when its state does.

    `connected` is its keeper's, which knows whether a session runs.
    """

    def __init__(
        self,
        name: str,
        config: FeederConfig,
        *,
        metrics: FeederMetrics,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: seconds since the epoch."""
        self._name = name
        self._config = config
        self._metrics = metrics
        self._changed = changed
        self._clock = clock
        self._phase: Phase = "connecting"
        self._reason = ""
        self._since = clock()
        self._lag: int | None = None
        self._consumed = self._refused = self._dead = self._lost = self._waiting = 0
        self.connected: Callable[[], None] = lambda: None
        self.beside: Beside = lambda: (0, "")

    # What the feeder says.

    def up(self) -> None:
        self.connected()

    def lag(self, count: int) -> None:
        self._lag = count
        self._metrics.lag(self._name, count)

    def dead_lettered(self, reason: str) -> None:
        self._dead += 1
        self._metrics.dead_letter(self._name, reason)

    def lost(self, count: int) -> None:
        if count:
            self._lost += count
            self._metrics.lost(self._name, count)

    # What its keeper and its intake say.

    def begin(self) -> None:
        """It is about to have its first session."""
        self._since = self._clock()
        self._metrics.connected(self._name, up=False)

    def become(self, phase: Phase, reason: str = "") -> None:
        """From now on it is so; `since` stays while the phase does."""
        reason = reason[:_REASON_MAX]
        if (phase, reason) == (self._phase, self._reason):
            return
        if phase != self._phase:
            self._since = self._clock()
            self._metrics.connected(self._name, up=phase == "connected")
        if phase != "connected":
            # What waits there now, nobody knows.
            self._lag = None
        self._phase, self._reason = phase, reason
        self._changed()

    def counted(self, outcome: str) -> None:
        """A command came to this end."""
        self._metrics.command(self._name, outcome)

    def begun(self) -> None:
        """A frame is in hand."""
        self._waiting += 1

    def ended(self, taken: Taken | None) -> None:
        """It is no more; None: it was given up."""
        self._waiting -= 1
        if taken is not None:
            self._consumed += taken.commands
            self._refused += len(taken.refusals)

    @property
    def phase(self) -> Phase:
        return self._phase

    def state(self) -> FeederState:
        """As it is told of."""
        waiting, trouble = self.beside()
        return FeederState(
            name=self._name,
            type=self._config.type,
            tenant=self._config.tenant,
            state=self._phase,
            reason=self._reason or trouble,
            since=self._since,
            lag=self._lag,
            consumed=self._consumed,
            refused=self._refused,
            dead_lettered=self._dead,
            lost=self._lost,
            waiting=self._waiting + waiting,
        )


class CountedIntake:
    """An intake whose frames in hand and their ends are counted."""

    def __init__(self, intake: Intake, tally: Tally) -> None:
        self._intake = intake
        self._tally = tally

    async def take(self, frame: Frame) -> Taken:
        self._tally.begun()
        taken = None
        try:
            taken = await self._intake.take(frame)
        finally:
            self._tally.ended(taken)
        return taken

    def replies_to(self, place: str) -> bool:
        return self._intake.replies_to(place)
