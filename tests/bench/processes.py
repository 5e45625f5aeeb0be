"""What processes cost, read from Linux's /proc: processor time and memory of a process and its children."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

_TICK: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PROC: Final = Path("/proc")
_STORES: Final = frozenset({"valkey-server", "redis-server"})


class Process(Struct, frozen=True):
    """One process. `cpu` in seconds since its start, `memory` the resident bytes."""

    pid: int
    parent: int
    name: str
    cpu: float
    memory: int

    @property
    def is_store(self) -> bool:
        return self.name in _STORES


def read(pid: int) -> Process | None:
    """One process, or None when it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name may hold blanks and brackets itself.
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    # proc(5): 4 parent, 14 user and 15 system ticks, 24 resident pages; `fields` starts at 3.
    cpu = (int(fields[11]) + int(fields[12])) / _TICK
    return Process(pid, int(fields[1]), name, cpu, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def tree(root: int) -> list[Process]:
    """A process and all below it."""
    found = [one for path in _PROC.iterdir() if path.name.isdigit() and (one := read(int(path.name)))]
    below = {root}
    # A child may have a lower number than its parent once numbers start over.
    while more := {one.pid for one in found if one.parent in below} - below:
        below |= more
    return [one for one in found if one.pid in below]


class Cost(Struct, frozen=True):
    """Seconds of processor time."""

    service: float = 0.0
    store: float = 0.0

    def since(self, before: Cost) -> Cost:
        """What was spent from `before` to this."""
        return Cost(self.service - before.service, self.store - before.store)


def cost(root: int) -> Cost:
    """What a service has spent up to now, with all its processes; its store apart."""
    processes = tree(root)
    store = sum(one.cpu for one in processes if one.is_store)
    return Cost(sum(one.cpu for one in processes) - store, store)


def available() -> bool:
    """False where there is no /proc as Linux has it."""
    return (_PROC / "self" / "stat").exists()
