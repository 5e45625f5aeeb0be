"""`otpsvc secret`."""

from __future__ import annotations

import base64
import secrets
import sys

import click

#: The least that a config takes as a secret.
_LEAST = 8


@click.command()
@click.option(
    "--chosen", is_flag=True, help="Hash a secret of your own: asked for, or read from standard input."
)
@click.option("--webhook", is_flag=True, help="A secret that signs webhooks and callbacks.")
def secret(chosen: bool, webhook: bool) -> None:
    """Make a secret for a tenant, and the line that the config keeps of it.

    The secret itself is shown once and kept nowhere; the config holds its hash.
    """
    if chosen and webhook:
        raise click.UsageError("--chosen and --webhook exclude each other")
    if webhook:
        click.echo(f'secret = "whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"')
        click.echo("(for a channel; for a tenant's callbacks the key is callback_secret)", err=True)
    elif chosen:
        _chosen()
    else:
        _new()


def _new() -> None:
    from otpsvc.credential import new_secret

    token, kept = new_secret()
    click.echo(f"The secret, for the tenant's own server; it is not shown again:\n\n    {token}\n")
    click.echo(f'The line for its [tenants.NAME] table:\n\n    secret_hash = "{kept}"')


def _chosen() -> None:
    from otpsvc.credential import hash_chosen

    if sys.stdin.isatty():
        given = str(click.prompt("Secret", hide_input=True, confirmation_prompt=True))
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if len(given) < _LEAST:
        raise click.ClickException(f"expected a secret of at least {_LEAST} characters, got {len(given)}")
    click.echo(f'secret_hash = "{hash_chosen(given)}"')
