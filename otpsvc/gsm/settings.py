"""What may be set: of one modem, of its time limits, of the pool."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from otpsvc.gsm.types import Quota

#: What happens to a text of which nobody knows whether the network took it.
Policy = Literal["report_then_resend", "never_resend", "resend_now"]
Seconds = Annotated[float, Meta(gt=0, le=3600)]


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds for each class of command: the figures of vendors' manuals and field reports."""

    #: AT, ATE, +CMEE, each tried three times.
    basic: Seconds = 1.0
    #: Settings and queries.
    setting: Seconds = 5.0
    #: +CPIN=, +CFUN=, +COPS?
    slow: Seconds = 15.0
    #: +CMGL, +CMGR, +CMGD.
    storage: Seconds = 10.0
    #: The prompt after AT+CMGS; nothing was sent when it does not come.
    prompt: Seconds = 5.0
    #: The result after Ctrl-Z; then nobody knows.
    result: Seconds = 60.0
    #: A result that comes later is still read until then.
    late_result: Seconds = 120.0
    ussd: Seconds = 30.0
    #: From a reset to the first OK.
    reset: Seconds = 60.0
    #: Until a SIM that was given its PIN can be read.
    sim: Seconds = 20.0


class ModemSettings(Struct, frozen=True, kw_only=True):
    """One modem. `name` is the program's; `path` finds the port, `imei` says whose it must be."""

    name: str
    path: str
    imei: str = ""
    pin: str = ""
    baud: int = 115_200
    #: Over what the SIM says; empty: the SIM's.
    smsc: str = ""
    #: Numbers that begin so go here alone (the longest match of all modems wins).
    prefixes: tuple[str, ...] = ()
    #: Who may send by it; empty: everybody.
    groups: tuple[str, ...] = ()
    quotas: tuple[Quota, ...] = ()
    #: Above this share of a quota others go first; 1: no soft limit.
    soft: Annotated[float, Meta(ge=0, le=1)] = 1.0
    #: IANA name in which days and months are counted.
    timezone: str = "UTC"
    #: Seconds between two parts, and how much of it is drawn on top at random.
    gap: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    jitter: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    paused: bool = False
    #: AT+CMMS=2 keeps the link open between parts; some firmware refuses to send then.
    keep_link: bool = False
    #: Extra commands after the initial ones, as they are written.
    init: tuple[str, ...] = ()


class PoolSettings(Struct, frozen=True, kw_only=True):
    """What all modems of a pool share."""

    policy: Policy = "report_then_resend"
    #: Seconds to wait for the report of a text that may have been sent.
    report_wait: Seconds = 20.0
    #: Ask the network for delivery reports.
    reports: bool = True
    #: Seconds that one job may wait for a modem that is ready, at most until its deadline.
    patience: Seconds = 30.0
    timeouts: Timeouts = Timeouts()
    #: Seconds between two looks at an idle modem, and between two looks for a lost port.
    ping: Seconds = 20.0
    look: Seconds = 0.5
    #: National tables that may be used where they save parts: 3GPP 23.038, 6.2.1.2.4.
    national: tuple[int, ...] = ()
