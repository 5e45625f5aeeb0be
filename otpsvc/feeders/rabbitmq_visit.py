"""One session at a RabbitMQ broker: consumes until something ends it.

message ─> take ─> dead letter, if refused ─> answer, if asked ─> acknowledgement
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from otpsvc.errors import BrokerGone
from otpsvc.feeder import Frame, Lent, Taken, heed_cancellation
from otpsvc.feeders.rabbitmq_acks import Acks
from otpsvc.feeders.rabbitmq_config import NAME_MAX, RabbitConfig
from otpsvc.feeders.rabbitmq_line import TROUBLE, why_lost
from otpsvc.feeders.rabbitmq_outlet import Outlet
from otpsvc.feeders.rabbitmq_queue import count_waiting, make_queues, why_not_consumed

#: The broker's own way to answer: it leads to the connection that asked, and nowhere else.
_DIRECT: Final = "amq.rabbitmq.reply-to."
#: Answers that wait for their moment; more are sent at once.
_LATER_MAX: Final = 10_000


class Visit:
    """`run` once."""

    def __init__(self, name: str, config: RabbitConfig, lent: Lent, outlet: Outlet) -> None:
        self._name = name
        self._config = config
        self._intake = lent.intake
        self._tally = lent.tally
        self._outlet = outlet
        self._consumer: tuple[AbstractChannel, Acks, str] | None = None
        self._is_taken = lent.taken
        self._in_hand = 0
        #: Of those: run, and not yet answered or buried.
        self._run = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._error: BaseException | None = None

    async def run(self, connection: AbstractConnection, *, lag_every: float) -> NoReturn:
        """Raises: BrokerGone, BrokerRefused; whatever the intake raises."""
        self._tally.beside = self._beside
        try:
            channel, waiting = await self._open(connection)
            acks = Acks(channel)
            self._start(acks.run())
            await self._consume(channel, acks)
            heed_cancellation()
            self._tally.up()
            self._tally.lag(waiting)
            self._start(self._watch_lag(connection, lag_every))
            await self._over.wait()
            raise self._error or BrokerGone("the line was closed")
        finally:
            await self._stop_tasks()

    async def drain(self) -> None:
        """Take no more; return when all that was taken is answered and acknowledged, or the line is lost."""
        self._draining.set()
        ends = [asyncio.ensure_future(self._finish()), asyncio.ensure_future(self._over.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def _finish(self) -> None:
        if self._consumer is None:
            return
        channel, acks, tag = self._consumer
        with contextlib.suppress(*TROUBLE):
            await channel.basic_cancel(tag)
        await self._idle.wait()
        if self._later:
            await asyncio.wait(self._later)
        await acks.all_sent()

    # Its course

    async def _open(self, connection: AbstractConnection) -> tuple[AbstractChannel, int]:
        try:
            channel = await connection.channel(publisher_confirms=False)
            # A connection that closes takes its channels along.
            channel.closing.add_done_callback(self._on_closed)
            channel.on_consumer_cancel_callbacks.add(self._on_cancelled)
            await channel.basic_qos(prefetch_count=self._config.at_once)
        except TROUBLE as error:
            raise why_lost(error) from None
        return channel, await make_queues(connection, channel, self._config)

    async def _consume(self, channel: AbstractChannel, acks: Acks) -> None:
        async def on_message(message: DeliveredMessage) -> None:
            await self._on_message(message, acks)

        try:
            tag = (await channel.basic_consume(self._config.queue, on_message)).consumer_tag
        except TROUBLE as error:
            raise why_not_consumed(error, self._config) from None
        self._consumer = channel, acks, tag or ""

    async def _watch_lag(self, connection: AbstractConnection, every: float) -> None:
        await asyncio.sleep(every)
        # Its own: what the broker refuses here must not close the one that consumes.
        channel = await connection.channel(publisher_confirms=False)
        while True:
            self._tally.lag(await count_waiting(channel, self._config.queue))
            await asyncio.sleep(every)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    async def _stop_tasks(self) -> None:
        tasks = self._tasks | self._later
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What ends it

    def _end(self, error: BaseException) -> None:
        """The first reason is the one that counts."""
        self._error = self._error or error
        self._over.set()

    def _on_closed(self, closing: asyncio.Future[None]) -> None:
        self._end(why_lost(None if closing.cancelled() else closing.exception()))

    def _on_cancelled(self, _: object) -> None:
        self._end(BrokerGone(f'queue "{self._config.queue}" was deleted, or its node went down'))

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._later.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._end(why_lost(error) if isinstance(error, TROUBLE) else error)

    # A message

    async def _on_message(self, message: DeliveredMessage, acks: Acks) -> None:
        if self._draining.is_set():
            return
        tag = message.delivery_tag or 0
        acks.came(tag)
        self._in_hand += 1
        self._idle.clear()
        try:
            await self._take(message)
            acks.done(tag)
        except Exception as error:  # noqa: BLE001 - it ends the session, which tells of it
            self._end(error)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    async def _take(self, message: DeliveredMessage) -> None:
        properties = message.header.properties
        place = self._reply_place(properties.reply_to) if properties.reply_to else ""
        frame = Frame(
            body=message.body,
            id=properties.message_id or properties.correlation_id or "",
            again=bool(message.redelivered),
            asked=bool(place),
        )
        taken = await self._intake.take(frame)
        self._run += 1
        try:
            await self._tell(message, taken, place)
        finally:
            self._run -= 1

    async def _tell(self, message: DeliveredMessage, taken: Taken, place: str) -> None:
        """Who must know what became of it."""
        properties = message.header.properties
        if taken.refusals:
            await self._bury(message, taken)
        if taken.answer and place:
            await self._outlet.answer(place, taken.answer, correlation_id=properties.correlation_id)
        if taken.answer and taken.callback and self._may_be_told(taken.callback):
            self._call_back(taken, properties.correlation_id)

    def _beside(self) -> tuple[int, str]:
        stuck = self._run and self._outlet.is_blocked
        return (
            self._run,
            "the broker takes no dead letters and answers (disk or memory alarm)" if stuck else "",
        )

    def _reply_place(self, place: str) -> str:
        """Where the publisher wants its answer; empty when it may not go there."""
        allowed = place.startswith(_DIRECT) or self._intake.replies_to(place)
        return place if allowed and self._may_be_told(place) else ""

    def _may_be_told(self, queue: str) -> bool:
        """An answer in a queue of ours, or of another feeder, would come back as a command."""
        ours = self._config.has(self._name, queue) or self._is_taken(queue)
        return not ours and len(queue.encode()) <= NAME_MAX

    async def _bury(self, message: DeliveredMessage, taken: Taken) -> None:
        reason = taken.refused or next(iter(taken.refusals.values()))
        if queue := self._config.dead_queue:
            headers = {"x-otpsvc-reason": reason, "x-otpsvc-feeder": self._name}
            if not taken.refused:
                headers["x-otpsvc-rows"] = ",".join(str(row) for row in sorted(taken.refusals))
            await self._outlet.bury(queue, message, headers)
        self._tally.dead_lettered(reason)

    def _call_back(self, taken: Taken, correlation_id: str | None) -> None:
        delay = taken.delay if len(self._later) < _LATER_MAX else 0.0
        answering = self._answer_later(taken.callback, taken.answer, correlation_id, delay)
        task = asyncio.get_running_loop().create_task(answering)
        self._later.add(task)
        task.add_done_callback(self._on_task_done)

    async def _answer_later(self, queue: str, body: bytes, correlation_id: str | None, delay: float) -> None:
        # Early is better than never.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._draining.wait()
        await self._outlet.answer(queue, body, correlation_id=correlation_id)
