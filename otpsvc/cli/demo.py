"""`otpsvc demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=9000,
    show_default=True,
    metavar="PORT",
    help="Where its pages and the API are; 0: any free port.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    metavar="FOLDER",
    help="Its files lie below this folder, in demo/.",
)
def demo(port: int, data_dir: Path) -> None:
    """Run the service with a shop, a mailbox and a phone to try it: nothing to set up.

    Everything stays on this machine, with data in a folder of its own.
    """
    from otpsvc.demo import run

    run(port, data_dir.absolute())
