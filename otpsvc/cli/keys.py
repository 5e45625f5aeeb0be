"""`otpsvc keys`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from otpsvc.cli.commands import CONFIG

if TYPE_CHECKING:
    from otpsvc.keyring import KeyEntry

_RESTART = "Restart otpsvc on every node that has this keyring."


@click.group()
def keys() -> None:
    """Show and rotate the keys that codes and stored data hang on.

    To rotate: `keys add` and bring the file to every node, restart them; `keys activate`
    and again; once everything made with the old key has ended (a day), `keys retire`.
    """


@keys.command()
@CONFIG
def show(config: Path | None) -> None:
    """List the keys, without their secrets."""
    from otpsvc import keyring_file

    path = _path(config)
    for key in keyring_file.read(path).keys:
        click.echo(f"{key.id}  {key.state:<8}{key.created}".rstrip())


@keys.command()
@CONFIG
def create(config: Path | None) -> None:
    """Make the first keyring, for an external store; never over an existing one."""
    from otpsvc import keyring_file

    path = _path(config)
    made = keyring_file.create(path)
    click.echo(f"{path}: made, with the key {made.keys[0].id}.")
    click.echo("Copy it to every node of this store, and keep one copy apart from the store's backup.")


@keys.command()
@CONFIG
def add(config: Path | None) -> None:
    """Add a key that is accepted and not used yet."""
    from otpsvc import keyring_file

    path = _path(config)
    key = keyring_file.add(path)
    click.echo(f"{path}: the key {key.id} was added. {_RESTART}")
    click.echo(f"Then: otpsvc keys activate {key.id}")


@keys.command()
@click.argument("id")
@CONFIG
def activate(id: str, config: Path | None) -> None:
    """Use the key ID for everything new; the one before stays accepted."""
    from otpsvc import keyring_file

    _change(config, id, keyring_file.activate, "is the active one now")


@keys.command()
@click.argument("id")
@CONFIG
def retire(id: str, config: Path | None) -> None:
    """Destroy the secret of the key ID: what was made with it is void."""
    from otpsvc import keyring_file

    _change(config, id, keyring_file.retire, "is retired, its secret is destroyed")


def _change(config: Path | None, id: str, change: Callable[[Path, str], KeyEntry], said: str) -> None:
    path = _path(config)
    change(path, id)
    click.echo(f"{path}: the key {id} {said}. {_RESTART}")


def _path(config: Path | None) -> Path:
    from otpsvc.loading import Source, find

    return Source(path=find(config)).config().app.keyring
