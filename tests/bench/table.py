"""What was measured as tables that people read, with the aims beside it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from tests.bench.figures import Figure
from tests.bench.rig import processes
from tests.bench.routes import Row
from tests.bench.service import cores

#: What the yardstick cost where the aims were set.
REFERENCE: Final = 0.011


class Results(Struct, frozen=True, kw_only=True):
    """All of a run. `yardstick`: milliseconds of processor time of one bare answer."""

    yardstick: float
    rows: list[Row]
    figures: list[Figure]
    machine: str = f"{cores()} cores, Python {platform.python_version()}, {platform.machine()}"


class Aim(Struct, frozen=True):
    """One aim, what came, and whether it was reached."""

    name: str
    aim: str
    measured: str
    reached: bool


class _Wanted(Struct, frozen=True):
    """An aim of a figure; `least` when more is better."""

    name: str
    limit: float
    least: bool = False

    def of(self, figure: Figure) -> Aim:
        sign, value = ("≥" if self.least else "≤"), figure.value
        reached = value >= self.limit if self.least else value <= self.limit
        where = f" ({processes(figure.workers)})" if figure.workers > 1 else ""
        unit = figure.unit
        return Aim(f"{figure.name}{where}", f"{sign} {self.limit:g} {unit}", f"{value:.4g} {unit}", reached)


#: Yardsticks and milliseconds a request, service and store, with hmac-sha256 in one process.
_ROUTES: Final = {
    "create": (27, 0.30),
    "wrong": (12, 0.13),
    "status": (9, 0.10),
    "status-open": (9, 0.10),
}
_FIGURES: Final = (
    _Wanted("creates with a slow sink", 3000, least=True),
    _Wanted("store per open challenge", 300),
    _Wanted("start to ready", 1),
    _Wanted("RSS", 90),
    _Wanted("argon2id checks of the bare rate", 95, least=True),
    _Wanted("p99 of a status beside argon2id checks", 10),
    _Wanted("texts by 1 modem", 18.5, least=True),
    _Wanted("texts by 8 modems", 140, least=True),
    _Wanted("accept to AT+CMGS, median", 5),
    _Wanted("accept to AT+CMGS, p99", 50),
    _Wanted("failure to the other modem", 500),
    _Wanted("plugged in again to AT+CMGS", 3),
    _Wanted("commands from RabbitMQ to the outbox", 2000, least=True),
    _Wanted("commands from MQTT to the outbox", 1500, least=True),
    _Wanted("commands from a WebSocket broker to the outbox", 3000, least=True),
    _Wanted("growth under a backlog", 10),
    _Wanted("idle feeder", 1),
    _Wanted("command to AT+CMGS, median", 10),
)


def aims(results: Results) -> list[Aim]:
    """Every aim that this run has a figure for."""
    return [*_route_aims(results), *_figure_aims(results.figures)]


def _route_aims(results: Results) -> Iterator[Aim]:
    for row in results.rows:
        if row.workers > 1 or row.hash != "hmac-sha256" or row.route not in _ROUTES:
            continue
        times, milliseconds = _ROUTES[row.route]
        yield Aim(
            f"{row.route}, processor time",
            f"≤ {milliseconds:.2f} ms",
            f"{row.cpu:.3f} ms",
            row.cpu <= milliseconds,
        )
        ratio = row.cpu / results.yardstick
        yield Aim(f"{row.route}, yardsticks", f"≤ {times}", f"{ratio:.1f}", ratio <= times)


def _figure_aims(figures: Sequence[Figure]) -> Iterator[Aim]:
    for figure in figures:
        for wanted in _FIGURES:
            if figure.name == wanted.name:
                yield wanted.of(figure)


_COLUMNS: Final[tuple[tuple[str, Callable[[Row, float], str]], ...]] = (
    ("route", lambda row, _: row.route),
    ("hash", lambda row, _: row.hash),
    ("processes", lambda row, _: processes(row.workers)),
    ("req/s", lambda row, _: f"{row.rate:.0f}"),
    ("p50 ms", lambda row, _: f"{row.p50:.2f}"),
    ("p99 ms", lambda row, _: f"{row.p99:.2f}"),
    ("cpu ms service", lambda row, _: f"{row.service:.3f}"),
    ("store", lambda row, _: f"{row.store:.3f}"),
    ("x yardstick", lambda row, yard: f"{row.cpu / yard:.1f}"),
    ("arrival p50", lambda row, _: f"{row.arrival_p50:.1f}" if row.arrival_p50 else ""),
    ("p99 ", lambda row, _: f"{row.arrival_p99:.1f}" if row.arrival_p99 else ""),
    ("", lambda row, _: row.note),
)


def written(results: Results) -> str:
    """All tables as text."""
    parts = [results.machine]
    if results.rows:
        parts.append(
            f"a bare answer costs {results.yardstick:.4f} ms of processor time"
            f" ({REFERENCE} where the aims were set)"
        )
        lines = [[show(row, results.yardstick) for _, show in _COLUMNS] for row in results.rows]
        parts.append(_table([name for name, _ in _COLUMNS], lines))
    if results.figures:
        lines = [
            [figure.name, processes(figure.workers), f"{figure.value:.4g} {figure.unit}", figure.note]
            for figure in results.figures
        ]
        parts.append(_table(["figure", "processes", "", ""], lines))
    if found := aims(results):
        lines = [
            [aim.name, aim.aim, aim.measured, "reached" if aim.reached else "NOT REACHED"] for aim in found
        ]
        parts.append(_table(["aim", "", "measured", ""], lines))
    return "\n\n".join(parts)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[at]) for line in (head, *lines)) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, ["-" * width for width in widths], *lines)
    )
