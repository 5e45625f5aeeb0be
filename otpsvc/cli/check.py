"""`otpsvc check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from otpsvc.cli.commands import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otpsvc.config import Config


@click.command()
@CONFIG
def check(config: Path | None) -> None:
    """Say everything that is wrong with a config.

    Reads the file and the environment as `serve` does, and the keyring if there is one;
    starts nothing and asks no other machine. The exit status is 1 when something is wrong.
    """
    from otpsvc.loading import Source, find
    from otpsvc.starting import warnings_of

    source = Source(path=find(config))
    problems = [str(problem) for problem in source.problems()]
    if not problems:
        read = source.config()
        for warning in warnings_of(read):
            click.echo(f"warning: {warning}")
        for hint in _migration(read):
            click.echo(f"hint: {hint}")
        problems = list(_keyring(read))
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise click.ClickException(f"{count} in {source.path or 'the environment'}")
    click.echo(_summary(read, source.path))


def _keyring(config: Config) -> Iterator[str]:
    from otpsvc import keyring_file
    from otpsvc.errors import KeyringError

    # With the embedded store the first start makes it.
    if config.app.keyring.exists() or config.redis.url:
        try:
            keyring_file.load(config.app.keyring)
        except KeyringError as error:
            yield str(error)


def _migration(config: Config) -> Iterator[str]:
    """The lines that clients of the systems we replace may need."""
    closed = sorted(tenant.name for tenant in config.tenants.values() if not tenant.open_view)
    unframed = sorted(tenant.name for tenant in config.tenants.values() if not tenant.origins)
    if closed:
        yield (
            f"pages of {', '.join(closed)} open only by the `url` of a create, with its token;"
            " for clients of otpgateway that make the address themselves: open_view = true"
        )
    if unframed:
        yield (
            f"pages of {', '.join(unframed)} cannot be framed;"
            ' for sites that use the widget: origins = ["https://your.site"]'
        )
    mute = sorted(name for name, feeder in config.feeders.items() if not feeder.replies and not feeder.secret)
    if mute:
        yield (
            f"answers of the feeders {', '.join(mute)} go only where the broker itself leads them;"
            " for clients that name a queue or topic (reply_to, callback_topic):"
            ' replies = ["its-name"]'
        )


def _summary(config: Config, path: Path | None) -> str:
    store = "an external store" if config.redis.url else "the embedded store"
    feeders = f" feeders: {_list(config.feeders)};" if config.feeders else ""
    return (
        f"config is good: {path or 'the environment'}; tenants: {_list(config.tenants)};"
        f" channels: {_list(config.channels)};{feeders} {store}"
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
