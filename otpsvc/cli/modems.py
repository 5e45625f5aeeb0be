"""`otpsvc modems`, `otpsvc ussd`, `otpsvc modem-trace`."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from otpsvc.cli.commands import CONFIG
from otpsvc.cli.table import ago, clean, columns, escaped, plain

if TYPE_CHECKING:
    from otpsvc.lines import Answered, Line

_HEADS = ("MODEM", "STATE", "FOR", "IMEI", "SIM", "OPERATOR", "SIGNAL", "TODAY", "QUOTA", "NODE")
#: Why an answer of the network has no text (3GPP 27.007, 7.15).
_WORDLESS: Final = {
    2: "the network ended the session without an answer",
    4: "the network does not know this code",
    5: "the network did not answer in time",
}


@click.command()
@CONFIG
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, with everything that is known."
)
def modems(config: Path | None, as_json: bool) -> None:
    """List the modems of every node that runs. TODAY counts parts, as operators bill them."""
    lines = asyncio.run(_lines(config))
    if as_json:
        import msgspec

        for line in lines:
            click.echo(escaped(msgspec.json.encode(line).decode()))
        return
    if not lines:
        click.echo("No process tells of a modem: is one running with a channel of the type gsm?", err=True)
        return
    for row in columns([_HEADS, *(_row(line, time.time()) for line in lines)]):
        click.echo(row)
    for line in lines:
        # Behind a semicolon: what a ready one does not do as it should.
        if line.reason and (not line.ready or "; " in line.reason):
            where = f" ({line.port})" if line.state == "absent" and line.port else ""
            click.echo(plain(f"{_name(line)}: {line.reason}{where}"))


async def _lines(config: Path | None) -> list[Line]:
    from otpsvc.cli.store import errands

    async with errands(config) as every:
        return await every.lines()


def _row(line: Line, now: float) -> tuple[str, ...]:
    quotas = [f"{used}/{most} {window}" for window, (used, most) in line.used.items() if most]
    signal = "" if line.signal is None else f"{line.signal} dBm"
    return (
        _name(line),
        line.state,
        ago(now - line.since),
        line.imei,
        line.iccid or line.imsi,
        line.operator,
        signal,
        str(line.used.get("day", (0, 0))[0]),
        ", ".join(quotas),
        line.node,
    )


def _name(line: Line) -> str:
    return f"{line.channel}.{line.name}"


@click.command()
@click.argument("modem")
@click.argument("code")
@CONFIG
@click.option("--reply", is_flag=True, help="CODE answers what the network asked before.")
def ussd(modem: str, code: str, config: Path | None, reply: bool) -> None:
    """Ask the network of MODEM by the USSD code CODE, such as *100#, and print its answer.

    Codes that forward or bar calls, or change a PIN, are refused.
    """
    from otpsvc.gsm.ussd import dangerous

    if dangerous(code):
        raise click.ClickException("codes that forward or bar calls, or change a PIN, are never sent")
    answer = asyncio.run(_asked(config, modem, code, reply=reply))
    if answer.text:
        click.echo(clean(answer.text))
    elif answer.status in _WORDLESS:
        raise click.ClickException(_WORDLESS[answer.status])
    else:
        click.echo("(the network answered without a text)", err=True)
    if answer.more:
        click.echo(f"(the network waits for a reply: otpsvc ussd --reply {modem} ANSWER)", err=True)


async def _asked(config: Path | None, modem: str, code: str, *, reply: bool) -> Answered:
    from otpsvc.cli.store import errands

    async with errands(config) as every:
        return await every.ussd(modem, code, reply=reply, operator=True)


@click.command("modem-trace")
@click.argument("modem")
@CONFIG
@click.option(
    "--seconds", type=click.IntRange(1, 300), default=60, show_default=True, help="How long to listen."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A new file that only you can read; else the terminal.",
)
def modem_trace(modem: str, config: Path | None, seconds: int, output: Path | None) -> None:
    """Show the dialogue with MODEM as it happens: commands and answers, without texts, numbers and PINs."""
    try:
        asyncio.run(_trace(config, modem, seconds, output))
    except KeyboardInterrupt:
        # As we said: what was heard so far is all there.
        click.echo(err=True)


async def _trace(config: Path | None, modem: str, seconds: int, output: Path | None) -> None:
    from otpsvc.cli.store import errands
    from otpsvc.lines import named

    async with errands(config) as every:
        # No file is left behind for a modem that is not there.
        name = _name(named(await every.lines(), modem))
        with _opened(output) as out:
            click.echo(f"listening to {name} for {seconds} s; Ctrl-C ends it", err=True)
            async for text in every.trace(name, float(seconds)):
                print(clean(text), file=out, flush=True)


def _opened(output: Path | None) -> TextIO:
    # Not over a file that others may be reading.
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600) if output else os.dup(1)
    return os.fdopen(handle, "w", encoding="utf-8")
