"""What all commands share: how they fail, and how they are told of a config file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from otpsvc.errors import OtpsvcError

CONFIG = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The config file; else ./config.toml, /etc/otpsvc/config.toml, or the environment alone.",
)


class Commands(click.Group):
    """Says in one line why a command failed, whatever it was."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - a traceback helps no operator, and may quote a secret
            raise click.ClickException(_in_words(error)) from None


def _in_words(error: Exception) -> str:
    if isinstance(error, OtpsvcError):
        from otpsvc.logs import in_words

        return in_words(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"a bug in otpsvc: {type(error).__name__} in {_place(error)}"


def _place(error: Exception) -> str:
    """File and line where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
