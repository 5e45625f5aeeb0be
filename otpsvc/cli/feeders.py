"""`otpsvc feeders`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from otpsvc.cli.commands import CONFIG
from otpsvc.cli.table import ago, columns, escaped, plain

if TYPE_CHECKING:
    from otpsvc.standing import FeederState

_HEADS = ("FEEDER", "TYPE", "TENANT", "STATE", "FOR", "LAG", "TAKEN", "REFUSED", "DEAD", "NODE")


@click.command()
@CONFIG
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, with everything that is known."
)
def feeders(config: Path | None, as_json: bool) -> None:
    """List the feeders of every node that runs.

    LAG counts messages that wait at the broker, where it tells; TAKEN, REFUSED and DEAD
    (dead-lettered) count since the feeder was started.
    """
    states = asyncio.run(_states(config))
    if as_json:
        import msgspec

        for state in states:
            click.echo(escaped(msgspec.json.encode(state).decode()))
        return
    if not states:
        click.echo("No process tells of a feeder: is one running whose config has [feeders]?", err=True)
        return
    for row in columns([_HEADS, *(_row(state, time.time()) for state in states)]):
        click.echo(row)
    for state in states:
        if state.reason:
            click.echo(plain(f"{state.name}: {state.reason}"))


async def _states(config: Path | None) -> list[FeederState]:
    """By name and node."""
    from otpsvc.cli.store import running
    from otpsvc.stores.board import feeders as board

    async with running(config) as (store, keyring):
        return sorted(await board(store, keyring).read(), key=lambda one: (one.name, one.node))


def _row(state: FeederState, now: float) -> tuple[str, ...]:
    return (
        state.name,
        state.type,
        state.tenant,
        state.state,
        ago(now - state.since),
        "" if state.lag is None else str(state.lag),
        str(state.consumed),
        str(state.refused),
        str(state.dead_lettered),
        state.node,
    )
