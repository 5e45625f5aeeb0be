"""The feeders of one process: made from a config, each kept by itself, told of, changed by a reload.

config ─> Feeding ─┬─> Keeper ─> feeder      a broken one disturbs no other
                   └─> board, metrics
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from msgspec import Struct

from otpsvc import logs
from otpsvc.errors import ConfigError
from otpsvc.feeder import FeederConfig, Intake, Lent, News
from otpsvc.feeders import feeder_type
from otpsvc.keeper import End, Keeper
from otpsvc.lease import Holds, Timing
from otpsvc.metrics import FeederMetrics
from otpsvc.standing import FeederState
from otpsvc.stores.board import Board, Teller
from otpsvc.tally import CountedIntake, Tally
from otpsvc.ways import names_files


class Loan(Struct, frozen=True):
    """What the app lends a feeder. `wake`: a text came in for its tenant."""

    intake: Intake
    news: News
    wake: Callable[[], None] = lambda: None


#: Its name, its table, and who is told what became of each command. Raises: ConfigError.
Lend = Callable[[str, FeederConfig, Callable[[str], None]], Loan]


class Feeding:
    """Entered: all feeders of `configs` run. Left: they have ended what they had in hand.

    `node`: the name under which this process tells of them on `board`.
    """

    def __init__(
        self,
        configs: Mapping[str, FeederConfig],
        lend: Lend,
        *,
        holds: Holds,
        board: Board[FeederState],
        node: str,
        metrics: FeederMetrics,
        timing: Timing = Timing(),  # noqa: B008 - frozen
    ) -> None:
        self._configs = configs
        self._lend = lend
        self._holds = holds
        self._metrics = metrics
        self._timing = timing
        self._keepers: dict[str, Keeper] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._hurried = False
        self._teller = Teller(board, node, self._told)

    async def __aenter__(self) -> Self:
        """Raises: ConfigError."""
        async with self.change(self._configs):
            pass
        await self._teller.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
        finally:
            await self._teller.__aexit__(kind, error, trace)

    async def stop(self) -> None:
        """Take no more, end what is in hand, close: all at once. Safe to call twice."""
        if not self._stopping:
            self._stopping = True
            for keeper in self._keepers.values():
                self._begin_stop(keeper)
        while self._leaving:
            await asyncio.wait(self._leaving)

    def hurry(self) -> None:
        """End without waiting for what is in hand: brokers deliver it again."""
        self._hurried = True
        for keeper in self._keepers.values():
            keeper.hurry()

    @asynccontextmanager
    async def change(self, configs: Mapping[str, FeederConfig]) -> AsyncIterator[None]:
        """Feeders of another config, taken over when the block ends well; those that stay go on.

        Raises: ConfigError, after which everything is as before.
        """
        made = self._made(configs)
        yield
        if not self._stopping:
            self._take_over(configs, made)

    def wake(self, tenant: str) -> None:
        """A text came in for it: tell its brokers now rather than in a while."""
        for keeper in self._keepers.values():
            if keeper.feeder.config.tenant == tenant:
                keeper.wake()

    def states(self) -> list[FeederState]:
        """How all of them are, by name."""
        return [keeper.tally.state() for _, keeper in sorted(self._keepers.items())]

    async def _told(self) -> list[FeederState] | None:
        return self.states() or None

    def _changed(self) -> None:
        self._teller.hurry()

    # Making and changing

    def _made(self, configs: Mapping[str, FeederConfig]) -> dict[str, Keeper]:
        """Those that are new, or other than before. Raises: ConfigError."""
        return {
            name: self._make(name, config)
            for name, config in configs.items()
            if not self._stays(name, config)
        }

    def _stays(self, name: str, config: FeederConfig) -> bool:
        """What stands in files may have changed, so: anew."""
        kept = self._keepers.get(name)
        return kept is not None and kept.feeder.config == config and not names_files(config)

    def _make(self, name: str, config: FeederConfig) -> Keeper:
        """Raises: ConfigError."""
        tally = Tally(name, config, metrics=self._metrics, changed=self._changed)
        loan = self._lend(name, config, tally.counted)
        lent = Lent(
            intake=CountedIntake(loan.intake, tally),
            tally=tally,
            news=loan.news,
            taken=lambda place: self._is_taken(config.type, place),
        )
        try:
            feeder = feeder_type(config.type)(name, config, lent)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                "", f"feeders.{name}", "a feeder that can be made", logs.brief(error)
            ) from error

        def ended(end: End) -> None:
            self._metrics.session(name, end)

        return Keeper(feeder, tally, holds=self._holds, timing=self._timing, wake=loan.wake, ended=ended)

    def _is_taken(self, type: str, place: str) -> bool:
        """Of whichever broker: it may have two names."""
        feeders = [keeper.feeder for keeper in self._keepers.values()]
        return any(one.config.type == type and one.config.has(one.name, place) for one in feeders)

    def _take_over(self, configs: Mapping[str, FeederConfig], made: Mapping[str, Keeper]) -> None:
        old, kept = self._keepers, [name for name in configs if name not in made]
        self._keepers = {name: made.get(name) or old[name] for name in configs}
        for name in kept:
            old[name].nudge()
        for name in old.keys() - set(kept):
            self._begin_stop(old[name])
        for name, keeper in made.items():
            keeper.start(after=old.get(name))
        self._changed()

    def _begin_stop(self, keeper: Keeper) -> None:
        if self._hurried:
            keeper.hurry()
        task = asyncio.create_task(keeper.stop())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
