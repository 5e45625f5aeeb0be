"""`python -m tests.bench`: speed and memory of the real service on this machine.

    load ──> otpsvc serve ──> sink
      └────> yardstick

Everything is on loopback and in processes of its own; processor time is read from /proc.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click
import msgspec

from tests.bench import feeders, figures, modems, processes
from tests.bench.figures import Figure
from tests.bench.rig import QUICK, Rig, Size, say
from tests.bench.routes import ROUTES, Hash, Place, Row, measure_route
from tests.bench.service import Service
from tests.bench.table import Results, aims, written

_FIGURES = ("slow-sink", "memory", "argon2", "start", "modems", "feeders")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Shows in seconds that everything runs; measures nothing.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Seconds for each route.  [default: 3]")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([*ROUTES, *_FIGURES]),
    help="One route or figure; may be repeated.",
)
@click.option("--workers", "workers", multiple=True, type=int, help="Processes.  [default: 1 and 2]")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def main(
    quick: bool, seconds: float | None, only: tuple[str, ...], workers: tuple[int, ...], as_json: bool
) -> None:
    """Measure the speed and the memory of otpsvc on this machine."""
    if not processes.available():
        raise click.ClickException("processor time is read from /proc as Linux has it")
    size = QUICK if quick else Size()
    if seconds:
        size = msgspec.structs.replace(size, seconds=seconds)
    with Rig(size) as rig:
        results = _measure(rig, only or (*ROUTES, *_FIGURES), workers or (1, 2))
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode({"results": results, "aims": aims(results)}) + b"\n")
        return
    print(written(results))


def _measure(rig: Rig, wanted: Sequence[str], workers: Sequence[int]) -> Results:
    found: list[Figure] = []
    rows: list[Row] = []
    if "start" in wanted:
        found += figures.start(rig)
    if "modems" in wanted:
        found += _modems(rig)
    if "feeders" in wanted:
        found += _feeders(rig)
    if "memory" in wanted:
        with rig.service() as service:
            found += figures.memory(rig, service)
            found += figures.remains(rig, service)
    if rest := [name for name in wanted if name not in ("start", "memory", "modems", "feeders")]:
        for count in workers:
            with rig.service(count) as service:
                rows += _routes(rig, service, rest, "hmac-sha256", count)
                found += _figures(rig, service, rest, count)
                rows += _routes(rig, service, rest, "argon2id", count)
                found += figures.resident(service, count, after=" at the end")
    return Results(yardstick=rig.yard, rows=rows, figures=found)


def _modems(rig: Rig) -> list[Figure]:
    size = rig.size
    return asyncio.run(modems.measure(size.texts, size.pulled, modems.installed() if size.peers else ()))


def _feeders(rig: Rig) -> list[Figure]:
    if missing := feeders.missing():
        say(f"no feeders: {', '.join(missing)} not installed")
        return []
    size = rig.size
    return asyncio.run(feeders.measure(size.commands, size.backlog, min(size.texts, 100), size.idle))


def _routes(rig: Rig, service: Service, wanted: Sequence[str], hash: Hash, workers: int) -> list[Row]:
    return [measure_route(Place(rig, service, hash), name, workers) for name in ROUTES if name in wanted]


def _figures(rig: Rig, service: Service, wanted: Sequence[str], workers: int) -> list[Figure]:
    """Between fast and slow hashes: each slow one at work takes 19 MiB, which stay with the process."""
    found = []
    if "slow-sink" in wanted:
        found += figures.slow_sink(rig, service, workers)
    found += figures.resident(service, workers)
    if "argon2" in wanted and workers == 1:
        found += figures.argon2(rig, service)
    return found


if __name__ == "__main__":
    main()
