"""How feeders are, as the process that has them last told: for health, metrics and `otpsvc feeders`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, Protocol

from msgspec import Struct

#: `standby`: another node holds the line. `refused`: the broker takes no such login or queue.
Phase = Literal["connecting", "connected", "refused", "standby", "stopped"]
_BEST: Final[tuple[Phase, ...]] = ("connected", "connecting", "refused", "standby", "stopped")


class FeederState(Struct, frozen=True, kw_only=True):
    """One feeder of one node. `reason` is a short phrase without an address or a text.

    `since` and `told`: seconds since the epoch; `told` by the store's clock. `lag`: messages
    that wait at the broker, None where it does not tell. `waiting`: messages in hand. The
    counts are of commands, since the process or a reload made the feeder.
    """

    name: str
    type: str
    tenant: str
    node: str = ""
    state: Phase
    reason: str = ""
    since: float = 0.0
    told: float = 0.0
    lag: int | None = None
    consumed: int = 0
    refused: int = 0
    dead_lettered: int = 0
    lost: int = 0
    waiting: int = 0


class Standings(Protocol):
    """Implemented by `stores/board.py`."""

    async def read(self) -> list[FeederState]:
        """Every feeder of every node that told of it lately. Raises: StoreUnavailable."""


class FeederHealth(Struct, frozen=True, kw_only=True):
    """One feeder over all nodes: `ok` when one of them is connected; counts are added up."""

    ok: bool
    detail: str
    nodes: Mapping[str, Phase] = {}
    lag: int | None = None
    consumed: int = 0
    refused: int = 0
    dead_lettered: int = 0
    lost: int = 0
    waiting: int = 0


def overall(names: Iterable[str], states: Iterable[FeederState]) -> dict[str, FeederHealth]:
    """Every feeder of the config (`names`), and those that other nodes tell of."""
    told = list(states)
    return {name: summed(name, told) for name in sorted({*names, *(one.name for one in told)})}


def summed(name: str, states: Iterable[FeederState]) -> FeederHealth:
    """What all nodes tell of the feeder of this name."""
    found = sorted((one for one in states if one.name == name), key=lambda one: _BEST.index(one.state))
    if not found:
        return FeederHealth(ok=False, detail="no process tells of it")
    best = found[0]
    lags = [one.lag for one in found if one.lag is not None]
    return FeederHealth(
        ok=best.state == "connected",
        detail=f"{best.state}: {best.reason}" if best.reason else best.state,
        nodes={one.node: one.state for one in found},
        lag=max(lags, default=None),
        consumed=sum(one.consumed for one in found),
        refused=sum(one.refused for one in found),
        dead_lettered=sum(one.dead_lettered for one in found),
        lost=sum(one.lost for one in found),
        waiting=sum(one.waiting for one in found),
    )
