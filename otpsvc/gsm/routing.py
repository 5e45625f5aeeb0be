"""Which modems may send a job by rule, whatever they are doing now: names, groups, prefixes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from otpsvc.gsm.settings import ModemSettings
from otpsvc.gsm.types import Job


class Routed(Protocol):
    @property
    def settings(self) -> ModemSettings: ...


R = TypeVar("R", bound=Routed)


def by_rule(job: Job, modems: Iterable[R]) -> list[R]:
    """The modems that may send `job`, in the order given; empty: no rule leads anywhere.

    A group is a permission and always holds. A job that names a modem has said where it
    goes: prefixes are not asked. Else the longest prefix of all modems of its group wins,
    and modems without prefixes take what none matches. A prefix is a rule and no wish: while
    its modems are not ready, paused or unplugged, the job waits for them and goes nowhere else.
    """
    serving = [modem for modem in modems if _serves(modem.settings, job)]
    if job.modem:
        return serving
    lengths = [reach(modem.settings, job.to) for modem in serving]
    longest = max(lengths, default=-1)
    if longest < 0:
        return []
    return [modem for modem, length in zip(serving, lengths, strict=True) if length == longest]


def reach(settings: ModemSettings, number: str) -> int:
    """Digits of the longest of its prefixes that `number` begins with; 0: it takes any; -1: not this one."""
    if not settings.prefixes:
        return 0
    return max((len(prefix) for prefix in settings.prefixes if number.startswith(prefix)), default=-1)


def _serves(settings: ModemSettings, job: Job) -> bool:
    if job.modem and settings.name != job.modem:
        return False
    return not settings.groups or job.group in settings.groups
