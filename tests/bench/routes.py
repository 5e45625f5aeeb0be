"""The routes under full load: what a request costs, how many go through, how long one takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from tests.bench import requests
from tests.bench.load import percentile
from tests.bench.requests import ATTEMPTS, CODE, WRONG, new_ids
from tests.bench.rig import Measured, Rig, processes, say
from tests.bench.service import Service, Tenant

Hash = Literal["hmac-sha256", "argon2id"]
#: Requests a second that are prepared for; whoever is quicker ends sooner.
_PREPARED: Final[dict[Hash, int]] = {"hmac-sha256": 6000, "argon2id": 120}
_TENANTS: Final[dict[Hash, Tenant]] = {"hmac-sha256": "fast", "argon2id": "slow"}
#: Challenges whose status is asked again and again.
_ASKED: Final[dict[Hash, int]] = {"hmac-sha256": 200, "argon2id": 8}


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table. Milliseconds, but `rate` (requests a second)."""

    route: str
    hash: Hash
    workers: int
    rate: float
    p50: float
    p99: float
    service: float
    store: float
    arrival_p50: float = 0.0
    arrival_p99: float = 0.0
    note: str = ""

    @property
    def cpu(self) -> float:
        return self.service + self.store


class Place(Struct, frozen=True):
    """Where a route is measured."""

    rig: Rig
    service: Service
    hash: Hash

    @property
    def tenant(self) -> Tenant:
        return _TENANTS[self.hash]

    @property
    def authorization(self) -> bytes:
        return self.service.authorization(self.tenant)

    def ids(self, share: float = 1.0) -> list[str]:
        """Enough for the seconds that are measured."""
        return new_ids(max(8, int(_PREPARED[self.hash] * self.rig.size.seconds * share)))

    def some(self) -> list[str]:
        """A few that are asked again and again."""
        return new_ids(_ASKED[self.hash])


def create(place: Place) -> Measured:
    """Through the webhook, to the end."""
    return place.rig.measure_creates(place.service, place.tenant, place.ids())


def create_alone(place: Place) -> Measured:
    """One after another, over one connection: what one user waits for."""
    return place.rig.measure_creates(place.service, place.tenant, place.ids(), connections=1)


def wrong(place: Place) -> Measured:
    """Every challenge is tried as often as it allows."""
    rig, ids = place.rig, place.ids(1 / ATTEMPTS)
    # A code of its own choice might be the one that is guessed.
    rig.prepare(place.service, place.tenant, ids, code=CODE)
    guesses = requests.check(place.authorization, ids, WRONG)
    return rig.measure(place.service, guesses, passes=ATTEMPTS)


def right(place: Place) -> Measured:
    """Every challenge once."""
    rig, ids = place.rig, place.ids()
    rig.prepare(place.service, place.tenant, ids, code=CODE)
    return rig.measure(place.service, requests.check(place.authorization, ids, CODE))


def status(place: Place) -> Measured:
    """Of verified challenges."""
    rig, ids = place.rig, place.some()
    rig.prepare(place.service, place.tenant, ids, code=CODE)
    checked = rig.measure(place.service, requests.check(place.authorization, ids, CODE), seconds=60)
    if checked.run.statuses != {200: len(ids)}:
        raise RuntimeError(f"expected {len(ids)} right codes, got {checked.run.statuses}")
    return rig.measure(place.service, requests.status(place.authorization, ids), passes=0)


def status_open(place: Place) -> Measured:
    """Of challenges that nobody verified: a refusal."""
    rig, ids = place.rig, place.some()
    rig.prepare(place.service, place.tenant, ids)
    return rig.measure(place.service, requests.status(place.authorization, ids), passes=0)


def page(place: Place) -> Measured:
    """The page of an open challenge, packed."""
    targets = [place.service.page(place.tenant, id) for id in place.some()[:20]]
    return place.rig.measure(place.service, requests.page(targets), passes=0)


#: By name: how, and the status that is expected.
ROUTES: Final[dict[str, tuple[Callable[[Place], Measured], int]]] = {
    "create": (create, 200),
    "create-alone": (create_alone, 200),
    "wrong": (wrong, 400),
    "right": (right, 200),
    "status": (status, 200),
    "status-open": (status_open, 400),
    "page": (page, 200),
}


def measure_route(place: Place, name: str, workers: int) -> Row:
    """One row; a sample of the yardstick is taken before it."""
    say(f"{name}, {place.hash}, {processes(workers)}")
    place.rig.measure_yardstick()
    how, expected = ROUTES[name]
    return _row(place, name, workers, measured=how(place), expected=expected)


def _row(place: Place, name: str, workers: int, *, measured: Measured, expected: int) -> Row:
    run = measured.run
    others = run.others(expected)
    note = f"statuses besides {expected}: {others}" if others else ""
    if measured.drained:
        note = f"{run.count / measured.drained:.0f}/s to the end; {note}".rstrip("; ")
    return Row(
        route=name,
        hash=place.hash,
        workers=workers,
        rate=run.rate,
        p50=run.percentile(0.5),
        p99=run.percentile(0.99),
        service=measured.service,
        store=measured.store,
        arrival_p50=percentile(measured.arrivals, 0.5) * 1000,
        arrival_p99=percentile(measured.arrivals, 0.99) * 1000,
        note=note,
    )
