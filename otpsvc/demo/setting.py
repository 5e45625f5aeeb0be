"""The config of a run of the demo: one tenant, the shop, and three channels that end on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from otpsvc.channels.gsm_config import GsmConfig, ModemTable
from otpsvc.channels.smtp import SmtpConfig
from otpsvc.channels.webhook import WebhookConfig
from otpsvc.config import App, Config, Listen, Redis
from otpsvc.demo.mailbox import Mailbox
from otpsvc.demo.provider import Provider
from otpsvc.demo.radio import Radio
from otpsvc.demo.shop import MAIL, MODEM, SMS, TENANT
from otpsvc.gsm.settings import Timeouts
from otpsvc.tenant import Limits, Rate, Secret, Tenant

HOST: Final = "127.0.0.1"
TITLE: Final = "Demo shop"
#: All visitors have one address, so this guard alone is wider than by default.
_CLIENT: Final = (Rate(120, 60), Rate(1000, 3600))


def root_url(port: int) -> str:
    """Where everything is."""
    return f"http://{HOST}:{port}"


def config(
    *,
    port: int,
    folder: Path,
    secret_hash: str,
    mailbox: Mailbox,
    provider: Provider,
    radio: Radio,
    sms_secret: str,
) -> Config:
    """What the service of this run is told; `sms_secret` signs what the provider gets."""
    mail = SmtpConfig(
        type="smtp", host=HOST, port=mailbox.port, tls="none", sender=f"{TITLE} <otp@demo.example>"
    )
    sms = WebhookConfig(
        type="webhook",
        title="Text message (provider)",
        url=provider.url,
        secret=sms_secret,
        address="phone",
    )
    return Config(
        app=App(
            listen=(Listen(HOST, port),),
            admin_listen=None,
            root_url=root_url(port),
            data_dir=folder,
            keyring=folder / "keyring.toml",
        ),
        redis=Redis(),
        tenants={TENANT: _tenant(port, secret_hash)},
        channels={MAIL: mail, SMS: sms, MODEM: _modem(radio)},
        routes={},
    )


def _modem(radio: Radio) -> GsmConfig:
    """One modem, with time limits for people who watch: a real network takes longer."""
    return GsmConfig(
        type="gsm",
        title="Text message (modem)",
        modems={"desk": ModemTable(device=radio.path)},
        timeouts=Timeouts(result=5.0, late_result=6.0),
        report_wait=5.0,
        patience=10.0,
    )


def _tenant(port: int, secret_hash: str) -> Tenant:
    return Tenant(
        name=TENANT,
        title=TITLE,
        secrets=(Secret(secret_hash),),
        channels=(MAIL, SMS, MODEM),
        limits=Limits(client=_CLIENT),
        # The shop's pages are of the service's own origin here, or of its other name.
        origins=(root_url(port), f"http://localhost:{port}"),
    )
