"""`[channels.NAME]` with `type = "gsm"`: the modems of one channel, and what they share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from otpsvc.address import phone
from otpsvc.channel import ChannelConfig
from otpsvc.channels import secret_from
from otpsvc.gsm.settings import ModemSettings, Policy, PoolSettings, Seconds, Timeouts
from otpsvc.gsm.types import WINDOWS, Quota
from otpsvc.gsm.ussd import dangerous, dialable

_QUOTA: Final = re.compile(r"([1-9][0-9]{0,8})/(minute|hour|day|month)")
_PREFIX: Final = re.compile(r"\+?[0-9]{1,15}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PIN: Final = re.compile(r"[0-9]{4,8}")
_NUMBER: Final = re.compile(r"\+[0-9]{5,15}")
#: What the config calls the tables of 3GPP 23.038, annex A.
LANGUAGES: Final[Mapping[str, int]] = {
    "turkish": 1, "spanish": 2, "portuguese": 3, "bengali": 4, "gujarati": 5, "hindi": 6, "kannada": 7,
    "malayalam": 8, "oriya": 9, "punjabi": 10, "tamil": 11, "telugu": 12, "urdu": 13,
}  # fmt: skip
Language = Literal[
    "turkish", "spanish", "portuguese", "bengali", "gujarati", "hindi", "kannada",
    "malayalam", "oriya", "punjabi", "tamil", "telugu", "urdu",
]  # fmt: skip


class ModemTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[channels.NAME.modems.MODEM]`. Empty or left out: what the channel says."""

    #: A path that stays the same over a replug, such as /dev/serial/by-path/…; may hold `*`.
    device: str
    #: Whose port it must be; with it `device` may fit several.
    imei: str = ""
    pin: str = ""
    pin_file: str = ""
    #: Numbers that begin so are sent by this modem alone; the longest prefix of all wins.
    prefixes: tuple[str, ...] = ()
    #: Tenants that may use it; empty: all.
    tenants: tuple[str, ...] = ()
    #: The tenant that owns what comes in on it; empty: the channel's.
    inbox: str = ""
    #: Parts, such as "30/hour", "200/day", "4000/month".
    quota: tuple[str, ...] = ()
    smsc: str = ""
    baud: Annotated[int, Meta(ge=300, le=4_000_000)] = 115_200
    #: Seconds between two parts, and how much is drawn on top at random.
    gap: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    jitter: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    #: Above this share of a quota other modems go first.
    soft: Annotated[float, Meta(ge=0, le=1)] = 1.0
    paused: bool = False
    #: AT+CMMS=2: quicker long texts, where the firmware can.
    keep_link: bool = False
    #: Commands after the initial ones, as they are written.
    init: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.device:
            raise ValueError("device: expected the path of a serial port, got nothing")
        if self.pin and self.pin_file:
            raise ValueError("expected pin or pin_file, got both")
        if self.pin and not _PIN.fullmatch(self.pin):
            raise ValueError("pin: expected 4 to 8 digits")
        if any(not _PREFIX.fullmatch(prefix) for prefix in self.prefixes):
            raise ValueError('prefixes: expected the beginnings of numbers, such as "+62811"')
        if self.smsc and not _NUMBER.fullmatch(self.smsc):
            raise ValueError("smsc: expected a number such as +62811000000")
        for quota in self.quota:
            read_quota(quota)
        if any(not _printable(line) for line in self.init):
            raise ValueError("init: expected AT commands, each one line")


class GsmConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All modems of one pool. `timeout` holds for a text's whole way, failover and doubt included."""

    #: Ports without more to say of them; they are called m1, m2, …
    devices: tuple[str, ...] = ()
    modems: dict[str, ModemTable] = field(default_factory=dict)
    #: The name of the host that they hang on, where several hosts share this config; empty: this one.
    host: str = ""
    #: Reads national numbers as those of this country (ISO, `ID`).
    country: str = ""
    timeout: float = 180.0
    concurrency: int = 16
    retries: int = 100
    #: When nobody knows whether the network took a text.
    policy: Policy = "report_then_resend"
    report_wait: Seconds = 20.0
    #: Ask the network for delivery reports.
    reports: bool = True
    #: Seconds that a text waits for a modem, then it goes to the route's next channel.
    patience: Seconds = 30.0
    #: USSD codes that tenants may ask for; the CLI may ask for all but dangerous ones.
    ussd: tuple[str, ...] = ()
    #: The tenant that owns what comes in; empty: nobody, and only the CLI shows it.
    inbox: str = ""
    #: Of each SIM, where a modem has none of its own.
    quota: tuple[str, ...] = ()
    #: In which days and months are counted.
    timezone: str = "UTC"
    #: National tables that receivers are known to read; they save parts.
    national: tuple[Language, ...] = ()
    timeouts: Timeouts = Timeouts()

    def __post_init__(self) -> None:
        if not self.devices and not self.modems:
            raise ValueError("devices: expected at least one serial port, got none")
        if any(not _NAME.fullmatch(name) for name in self.modems):
            raise ValueError("modems: expected names of 1 to 64 letters, digits, - and _")
        if self.country:
            phone(self.country)
        for quota in self.quota:
            read_quota(quota)
        if self.policy == "never_resend":
            # Also when a process died with it in hand.
            force_setattr(self, "on_uncertain", "never_resend")
        for code in self.ussd:
            dialable(code)
            if dangerous(code):
                raise ValueError("ussd: expected no code that forwards, bars, or changes a PIN")
        try:
            ZoneInfo(self.timezone)
        except (OSError, ValueError):
            raise ValueError('timezone: expected an IANA name such as "Asia/Jakarta"') from None

    def modem_settings(self) -> list[ModemSettings]:
        """Every modem. Raises: ConfigError: a PIN's file cannot be read."""
        tables = {f"m{at}": ModemTable(device=path) for at, path in enumerate(self.devices, 1)}
        return [self._settings(name, table) for name, table in {**tables, **self.modems}.items()]

    def _settings(self, name: str, table: ModemTable) -> ModemSettings:
        pin = secret_from(table.pin_file, key=f"modems.{name}.pin_file") if table.pin_file else table.pin
        return ModemSettings(
            name=name,
            path=table.device,
            imei=table.imei,
            pin=pin,
            baud=table.baud,
            smsc=table.smsc,
            prefixes=table.prefixes,
            groups=table.tenants,
            quotas=tuple(map(read_quota, table.quota or self.quota)),
            soft=table.soft,
            timezone=self.timezone,
            gap=table.gap,
            jitter=table.jitter,
            paused=table.paused,
            keep_link=table.keep_link,
            init=table.init,
        )

    def pool_settings(self) -> PoolSettings:
        return PoolSettings(
            policy=self.policy,
            report_wait=self.report_wait,
            reports=self.reports,
            patience=self.patience,
            timeouts=self.timeouts,
            national=tuple(LANGUAGES[name] for name in self.national),
        )

    def named_tenants(self) -> Mapping[str, tuple[str, ...]]:
        named: dict[str, tuple[str, ...]] = {"inbox": (self.inbox,)} if self.inbox else {}
        for name, table in self.modems.items():
            own = {"inbox": (table.inbox,) if table.inbox else (), "tenants": table.tenants}
            named |= {f"modems.{name}.{key}": tenants for key, tenants in own.items() if tenants}
        return named

    def inbox_of(self, modem: str) -> str:
        """The tenant that owns what comes in on this modem; empty: nobody."""
        table = self.modems.get(modem)
        return (table.inbox if table else "") or self.inbox


def read_quota(text: str) -> Quota:
    """Raises: ValueError."""
    found = _QUOTA.fullmatch(text)
    if not found:
        raise ValueError(f'quota: expected parts and one of {", ".join(WINDOWS)}, such as "200/day"')
    return Quota(int(found[1]), found[2])  # type: ignore[arg-type]


def _printable(line: str) -> bool:
    return line.isascii() and line.isprintable() and line[:2].upper() == "AT"
