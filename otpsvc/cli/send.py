"""`otpsvc send`."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from otpsvc.cli.commands import CONFIG

if TYPE_CHECKING:
    from otpsvc.channel import Channel
    from otpsvc.message import Receipt

_TEXT = "This is a test message of otpsvc. Nothing is to be done."


@click.command()
@click.argument("channel")
@click.argument("address")
@CONFIG
def send(channel: str, address: str, config: Path | None) -> None:
    """Send one test message through CHANNEL to ADDRESS, and say what came of it.

    It goes straight to the far end: no queue, no retry, no other channel.
    """
    from otpsvc import logs
    from otpsvc.loading import Source, find, make

    logs.configure("console", "error")
    channels = Source(path=find(config)).config().channels
    if channel not in channels:
        known = ", ".join(sorted(channels)) or "none"
        raise click.ClickException(f"there is no channel {channel!r} in the config; there are: {known}")
    click.echo(f"{channel}: {asyncio.run(_sent(make(channels[channel]), address))}")


async def _sent(channel: Channel, address: str) -> str:
    """What the far end said, in words. Raises: ClickException."""
    from otpsvc.errors import BadAddress, ChannelError
    from otpsvc.logs import brief

    began = time.monotonic()
    try:
        to = channel.address.parse(address)
        async with channel, asyncio.timeout(channel.config.timeout):
            receipt = await _hand_over(channel, to)
    except BadAddress as error:
        raise click.ClickException(error.message) from None
    except ChannelError as error:
        raise click.ClickException(f"{type(error).__name__.lower()}: {error.reason}") from None
    except TimeoutError:
        raise click.ClickException(f"no answer in {channel.config.timeout:g} s") from None
    except Exception as error:  # noqa: BLE001 - a bug of the channel
        raise click.ClickException(f"the channel failed: {brief(error)}") from None
    known = f", as {receipt.id}" if receipt.id else ""
    return f"taken by the far end{known} in {time.monotonic() - began:.2f} s"


async def _hand_over(channel: Channel, to: str) -> Receipt:
    from otpsvc.message import Message

    message = Message(
        id=f"test.{secrets.token_hex(8)}",
        to=to,
        subject="Test message",
        text=_TEXT,
        expires=time.time() + 60,
        tenant="test",
    )
    return await channel.send(message)
