"""What is counted and timed, in the Prometheus text format. No label holds an id or an address.

Each process counts for itself; where there are several they write into one private
folder, and whoever is asked adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

#: prometheus-client reads it when it is imported: it must be set before a process starts.
FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
#: Seconds. Requests wait for the store at most, sends for a far end.
_REQUESTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SENDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: Routes of a check: what came of it is the code of the answer.
_CHECKS = frozenset({("POST", "/api/otp/{id}"), ("POST", "/otp/{namespace}/{id}")})
_STORE = "store_unavailable"


class _Within(TypedDict):
    registry: CollectorRegistry
    namespace: str


class Metrics:
    """`folder`: where the processes of one service meet; None: this process is the only one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._registry = CollectorRegistry()
        within = _Within(registry=self._registry, namespace="otpsvc")
        self._requests = Counter("requests", "Answered requests.", ("method", "route", "status"), **within)
        self._request_seconds = Histogram(
            "request_seconds", "Seconds to an answer.", ("method", "route"), buckets=_REQUESTS, **within
        )
        self._checks = Counter("checks", "Guesses, by what came of them.", ("outcome",), **within)
        self._attempts = Counter(
            "messages", "Attempts to hand a message over.", ("channel", "lane", "result", "final"), **within
        )
        self._attempt_seconds = Histogram(
            "message_seconds", "Seconds of one attempt.", ("channel",), buckets=_SENDS, **within
        )
        self._dead = Counter(
            "dead_letters", "Messages that nobody got.", ("channel", "lane", "final"), **within
        )
        self._store_errors = Counter("store_errors", "Steps that the store did not answer.", **within)
        self._in_flight = Gauge(
            "messages_in_flight", "Messages on their way now.", multiprocess_mode="livesum", **within
        )
        # A label's child is looked up by checking every value anew; few combinations come often.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(self, *, method: str, route: str, status: int, seconds: float, code: str = "") -> None:
        """One answered request. `route` is a template; `code` the word of a refusal."""
        known = self._known.get((method, route, status))
        if known is None:
            known = (
                self._requests.labels(method, route, status),
                self._request_seconds.labels(method, route),
            )
            self._known[method, route, status] = known
        known[0].inc()
        known[1].observe(seconds)
        if (method, route) in _CHECKS and status not in (401, 404, 405):
            self._checks.labels(code or "verified").inc()
        if code == _STORE:
            self._store_errors.inc()

    def attempt(self, *, channel: str, lane: str, result: str, final: str, seconds: float) -> None:
        """One attempt to hand over; `final` is the message's last state, or empty."""
        self._attempts.labels(channel, lane, result, final).inc()
        self._attempt_seconds.labels(channel).observe(seconds)
        if final in ("failed", "expired"):
            self._dead.labels(channel, lane, final).inc()

    def ended(self, *, lane: str, count: int) -> None:
        """Messages whose time ran out in the queue, so that no channel ever had them."""
        self._dead.labels("", lane, "expired").inc(count)

    def text(self, *, in_flight: int = 0) -> bytes:
        """Everything, of all processes, in the Prometheus text format."""
        self._in_flight.set(in_flight)
        if self._folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def folder_of(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the processes meet, as the parent has set it."""
    value = environ.get(FOLDER_VARIABLE)
    return Path(value) if value else None


def forget_process(pid: int, folder: Path) -> None:
    """Its gauges are gone with it; what it counted stays."""
    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
