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
    from otpsvc.channel import Channel, ChannelConfig
    from otpsvc.message import Receipt

_TEXT = "This is a test message of otpsvc. Nothing is to be done."


@click.command()
@click.argument("channel")
@click.argument("address")
@click.option("--modem", default="", help="By this modem of the channel; the service that has it must run.")
@click.option("--text", default=_TEXT, help="The text; else one that says it is a test.")
@CONFIG
def send(channel: str, address: str, modem: str, text: str, config: Path | None) -> None:
    """Send one test message through CHANNEL to ADDRESS, and say what came of it.

    It goes straight to the far end: no queue, no retry, no other channel. Blocked
    addresses get nothing, where there is a store that knows them.
    """
    from otpsvc import logs
    from otpsvc.loading import Source, find, make

    logs.configure("console", "error")
    channels = Source(path=find(config)).config().channels
    if channel not in channels:
        known = ", ".join(sorted(channels)) or "none"
        raise click.ClickException(f"there is no channel {channel!r} in the config; there are: {known}")
    if modem or channels[channel].type == "gsm":
        to = _number(channels[channel], address)
        click.echo(f"{channel}: {asyncio.run(_sent_by(channel, modem, to, text, config))}")
        return
    click.echo(f"{channel}: {asyncio.run(_sent(make(channels[channel]), address, text, config))}")


def _number(config: ChannelConfig, address: str) -> str:
    """As the channel will read it: the block list knows that form alone. Raises: ClickException."""
    from otpsvc.address import phone
    from otpsvc.channels.gsm_config import GsmConfig
    from otpsvc.errors import BadAddress

    if not isinstance(config, GsmConfig):
        return address
    try:
        return phone(config.country).parse(address)
    except BadAddress as error:
        raise click.ClickException(error.message) from None


async def _sent_by(channel: str, modem: str, address: str, text: str, config: Path | None) -> str:
    """By the process that owns the modem, which alone can reach it."""
    from otpsvc.cli.store import errands

    async with errands(config) as every:
        said = await every.send(channel, modem, address, text)
    if said.startswith("uncertain"):
        raise click.ClickException(said)
    return said


async def _sent(channel: Channel, address: str, text: str, config: Path | None) -> str:
    """What the far end said, in words. Raises: ClickException."""
    from otpsvc.cli.store import blocked
    from otpsvc.errors import BadAddress, ChannelError
    from otpsvc.logs import brief

    try:
        to = channel.address.parse(address)
    except BadAddress as error:
        raise click.ClickException(error.message) from None
    if await blocked(config, to):
        raise click.ClickException("Nothing is sent to this address: it is blocked.")
    began = time.monotonic()
    try:
        async with channel, asyncio.timeout(channel.config.timeout):
            receipt = await _hand_over(channel, to, text)
    except ChannelError as error:
        raise click.ClickException(f"{type(error).__name__.lower()}: {error.reason}") from None
    except TimeoutError:
        raise click.ClickException(f"no answer in {channel.config.timeout:g} s") from None
    except Exception as error:  # noqa: BLE001 - a bug of the channel
        raise click.ClickException(f"the channel failed: {brief(error)}") from None
    known = f", as {receipt.id}" if receipt.id else ""
    return f"taken by the far end{known} in {time.monotonic() - began:.2f} s"


async def _hand_over(channel: Channel, to: str, text: str) -> Receipt:
    from otpsvc.message import Message

    message = Message(
        id=f"test.{secrets.token_hex(8)}",
        to=to,
        subject="Test message",
        text=text,
        expires=time.time() + 60,
        tenant="test",
    )
    return await channel.send(message)
