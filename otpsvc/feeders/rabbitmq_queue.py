"""Making the queues of a RabbitMQ feeder, and saying why the broker does not want to."""

from __future__ import annotations

import re
from typing import Final

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from otpsvc.errors import BrokerError, BrokerRefused
from otpsvc.feeders.rabbitmq_config import RabbitConfig
from otpsvc.feeders.rabbitmq_line import TROUBLE, why_lost

#: RabbitMQ's words for settings that differ: the first one's name, and what it is now.
_DIFFERS: Final = re.compile(r"inequivalent arg '([\w-]{1,60})'.* current is (?:the value )?'([\w-]{1,60})'")
_DIFFERS_FROM_NONE: Final = re.compile(r"inequivalent arg '([\w-]{1,60})'")


async def make_queues(connection: AbstractConnection, channel: AbstractChannel, config: RabbitConfig) -> int:
    """Declare and bind; how many messages wait. `channel` is the one to consume on.

    Raises: BrokerGone, BrokerRefused.
    """
    # The broker closes a channel on which it refuses something, and says why there.
    try:
        waiting = await _declare(channel, config)
    except TROUBLE as error:
        raise _why(error, config.queue, config) from None
    try:
        for key in config.routing_keys or (config.queue,) * bool(config.exchange):
            await channel.queue_bind(config.queue, config.exchange, key)
    except TROUBLE as error:
        raise _why_not_bound(error, config) from None
    if config.dead_queue:
        await _make_dead_queue(connection, config)
    return waiting


async def _declare(channel: AbstractChannel, config: RabbitConfig) -> int:
    if not config.declare:
        return await count_waiting(channel, config.queue)
    declared = await channel.queue_declare(
        config.queue, durable=config.keeps, arguments=dict(config.declaration)
    )
    return declared.message_count or 0


async def count_waiting(channel: AbstractChannel, queue: str) -> int:
    """Messages ready in a queue that must be there."""
    return (await channel.queue_declare(queue, passive=True)).message_count or 0


async def _make_dead_queue(connection: AbstractConnection, config: RabbitConfig) -> None:
    name = config.dead_queue
    try:
        channel = await connection.channel(publisher_confirms=False)
        if config.declare:
            await channel.queue_declare(name, durable=True, arguments=dict(config.dead_declaration))
        else:
            await count_waiting(channel, name)
        await channel.close()
    except ChannelPreconditionFailed as error:
        raise BrokerRefused(
            f'queue "{name}" exists with other settings ({_differing(error)[0]}): delete it,'
            " or set dead_letters to another name"
        ) from None
    except TROUBLE as error:
        raise _why(error, name, config) from None


def why_not_consumed(error: BaseException, config: RabbitConfig) -> BrokerError:
    """In words for the operator."""
    if isinstance(error, ChannelAccessRefused) and "exclusive" in str(error):
        return BrokerRefused(f'queue "{config.queue}" has a consumer that wants it alone (exclusive)')
    if isinstance(error, ChannelAccessRefused):
        return BrokerRefused(f'the user may not read queue "{config.queue}": give it the permission')
    return _why(error, config.queue, config)


def _why(error: BaseException, queue: str, config: RabbitConfig) -> BrokerError:
    words = str(error)
    if isinstance(error, ChannelPreconditionFailed):
        name, now = _differing(error)
        return BrokerRefused(
            f'queue "{queue}" exists with other settings ({name}): {_remedy(name, now)}, or declare = false'
        )
    # RabbitMQ from 4.3 on, and closes the whole connection.
    if "transient_nonexcl_queues" in words:
        return BrokerRefused(
            f'the broker takes no queue that is not durable: set durable = true for "{queue}",'
            " or permit transient_nonexcl_queues there"
        )
    # "home node … is down" has the same number: it may come back.
    if isinstance(error, ChannelNotFoundEntity) and "no queue" in words:
        return BrokerRefused(f'there is no queue "{queue}": make it, or set declare = true')
    if isinstance(error, ChannelAccessRefused):
        return BrokerRefused(f'the user may not {_deed(config)} queue "{queue}": give it the permission')
    if isinstance(error, ChannelLockedResource):
        return BrokerRefused(f'queue "{queue}" belongs to another connection alone (exclusive)')
    return why_lost(error)


def _why_not_bound(error: BaseException, config: RabbitConfig) -> BrokerError:
    if isinstance(error, ChannelNotFoundEntity):
        return BrokerRefused(f'there is no exchange "{config.exchange}": make it, or leave exchange empty')
    if isinstance(error, ChannelAccessRefused):
        return BrokerRefused(f'the user may not bind "{config.queue}" to exchange "{config.exchange}"')
    return why_lost(error)


def _deed(config: RabbitConfig) -> str:
    return "declare" if config.declare else "read"


def _differing(error: BaseException) -> tuple[str, str]:
    """The name of the first setting that differs, and its value where the broker tells."""
    words = str(error)
    if found := _DIFFERS.search(words):
        return found[1], found[2]
    found = _DIFFERS_FROM_NONE.search(words)
    return (found[1] if found else "its arguments"), ""


def _remedy(name: str, now: str) -> str:
    if name == "durable" and now in ("true", "false"):
        return f"set durable = {now}"
    if name == "x-queue-type":
        return f'set queue_type = "{now or "classic"}"'
    return "set arguments as they are there"
