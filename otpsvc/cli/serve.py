"""`otpsvc serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from otpsvc.cli.commands import CONFIG


@click.command()
@CONFIG
@click.option(
    "--workers", type=click.IntRange(1, 256), metavar="N", help="API processes; goes over app.workers."
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["api", "delivery", "feeders"]),
    help="Have this role alone, or these; other processes at the same store have the others.",
)
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="host:port or unix:/path; goes over app.listen; may be given several times.",
)
def serve(
    config: Path | None,
    workers: int | None,
    only: tuple[Literal["api", "delivery", "feeders"], ...],
    listen: tuple[str, ...],
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    SIGHUP reads the config and the certificate again; a broken config changes nothing.
    The first SIGTERM lets requests and messages end, a second one does not wait.
    """
    from otpsvc import (
        logs,  # noqa: F401 - before others import structlog
        supervisor,
    )
    from otpsvc.loading import Source, find
    from otpsvc.starting import ALL

    source = Source(path=find(config), listen=listen, workers=workers or 0)
    supervisor.serve(source, frozenset(only) or ALL)
