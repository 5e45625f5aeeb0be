"""The commands. Each imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import click

from otpsvc import __version__
from otpsvc.cli.check import check
from otpsvc.cli.commands import Commands
from otpsvc.cli.demo import demo
from otpsvc.cli.feeders import feeders
from otpsvc.cli.keys import keys
from otpsvc.cli.modems import modem_trace, modems, ussd
from otpsvc.cli.secret import secret
from otpsvc.cli.send import send
from otpsvc.cli.serve import serve

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="otpsvc", message="%(prog)s %(version)s")
def main() -> None:
    """Verify that an address belongs to a user: make a code, send it, check it once."""


for _command in (serve, check, secret, keys, send, modems, ussd, modem_trace, feeders, demo):
    main.add_command(_command)
