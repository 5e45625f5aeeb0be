"""What is counted and timed, in the Prometheus text format. No label holds an id or an address.

Each process counts for itself; where there are several they write into one private
folder, and whoever is asked adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, TypedDict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

#: prometheus-client reads it when it is imported: it must be set before a process starts.
FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
#: Seconds. Requests wait for the store at most, sends for a far end.
_REQUESTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SENDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: Routes of a check: what came of it is the code of the answer.
_CHECKS = frozenset({("POST", "/api/otp/{id}"), ("POST", "/otp/{namespace}/{id}")})
_STORE = "store_unavailable"
#: What may come of a frame (`intake.py`).
OUTCOMES: Final = frozenset({"done", "refused", "silent", "elsewhere", "later"})
#: Every code word that a refusal can have.
_WORDS: Final = """
bad_encoding bad_request blocked body_too_large broken_json broken_multipart check_limit
client_limit closed content_type deadline_passed destination_limit duplicate_parameter empty_otp
empty_text expired file_part forbidden hash_pool_full idempotency_mismatch idempotency_running
incomplete_body internal invalid_address invalid_address_description invalid_before invalid_channel
invalid_channel_description invalid_character invalid_client_ip invalid_deadline invalid_everywhere
invalid_extra invalid_gen invalid_id invalid_idempotency_key invalid_limit invalid_locale
invalid_max_attempts invalid_max_generate invalid_otp invalid_parameter invalid_purpose
invalid_reply invalid_subject invalid_text invalid_trusted invalid_ttl invalid_ussd key_not_offered
limited locked modem_silent no_address no_way_out not_found not_sealed not_verified otp_needed
query_too_large refused resend_too_soon scope sealed_otherwise send_budget sends_exhausted slow_body
store_unavailable template text_too_long too_long too_many_logins too_many_parameters too_many_rows
unauthorized unavailable unknown_command unknown_method unknown_modem unknown_provider unknown_route
ussd_not_allowed wrong_code
"""
#: Why a frame was given up.
REASONS: Final = frozenset(_WORDS.split())


class _Within(TypedDict):
    registry: CollectorRegistry
    namespace: str


class FeederMetrics:
    """What feeders do. Labels are names of the config and words of closed sets: a broker's word is none."""

    def __init__(self, within: _Within) -> None:
        self._commands = Counter(
            "feeder_commands", "Frames of brokers, by what came of them.", ("feeder", "outcome"), **within
        )
        self._dead = Counter(
            "feeder_dead_letters", "Frames given up, by reason.", ("feeder", "reason"), **within
        )
        self._lost = Counter(
            "feeder_lost", "Frames in hand when a door closed that cannot acknowledge.", ("feeder",), **within
        )
        self._sessions = Counter(
            "feeder_sessions", "Sessions that ended, by how.", ("feeder", "end"), **within
        )
        self._connected = Gauge(
            "feeder_connected", "1: it consumes.", ("feeder",), multiprocess_mode="livemax", **within
        )
        self._lag = Gauge(
            "feeder_lag",
            "Messages that wait at the broker.",
            ("feeder",),
            multiprocess_mode="livemax",
            **within,
        )

    def command(self, feeder: str, outcome: str) -> None:
        """A frame came to this end."""
        self._commands.labels(feeder, _bounded(outcome, OUTCOMES)).inc()

    def dead_letter(self, feeder: str, reason: str) -> None:
        """A frame was given up. `reason`: a code word."""
        self._dead.labels(feeder, _bounded(reason, REASONS)).inc()

    def lost(self, feeder: str, count: int) -> None:
        """So many frames were in hand when a door closed that cannot acknowledge."""
        self._lost.labels(feeder).inc(count)

    def session(self, feeder: str, end: str) -> None:
        """A session ended."""
        self._sessions.labels(feeder, end).inc()

    def connected(self, feeder: str, *, up: bool) -> None:
        """Whether it consumes now."""
        self._connected.labels(feeder).set(up)

    def lag(self, feeder: str, count: int) -> None:
        """What waits at its broker."""
        self._lag.labels(feeder).set(count)


def _bounded(word: str, known: frozenset[str]) -> str:
    return word if word in known else "other"


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
        self._reports = Counter("delivery_reports", "Delivery reports.", ("outcome",), **within)
        self._incoming = Counter("texts_received", "Texts that came in.", ("complete",), **within)
        self._store_errors = Counter("store_errors", "Steps that the store did not answer.", **within)
        self._in_flight = Gauge(
            "messages_in_flight", "Messages on their way now.", multiprocess_mode="livesum", **within
        )
        self.feeders = FeederMetrics(within)
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

    def delivery(self, *, ok: bool) -> None:
        """A delivery report that changed a message's state."""
        self._reports.labels("delivered" if ok else "failed").inc()

    def incoming(self, *, complete: bool) -> None:
        """A text that came in."""
        self._incoming.labels(str(complete).lower()).inc()

    def text(self, *, in_flight: int = 0, feeders: Collection[str] | None = None) -> bytes:
        """Everything, of all processes, in the Prometheus text format.

        `feeders`: the names of those that are told of; None: all that there were.
        """
        self._in_flight.set(in_flight)
        registry = self._registry
        if self._folder is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry if feeders is None else _Only(registry, feeders))


class _Only(Collector):
    """Leaves out feeders that a reload removed: nobody can take a label out of the processes' files."""

    def __init__(self, registry: CollectorRegistry, feeders: Collection[str]) -> None:
        self._registry = registry
        self._feeders = feeders

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [
                sample
                for sample in metric.samples
                if "feeder" not in sample.labels or sample.labels["feeder"] in self._feeders
            ]
            yield metric


def folder_of(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the processes meet, as the parent has set it."""
    value = environ.get(FOLDER_VARIABLE)
    return Path(value) if value else None


def forget_process(pid: int, folder: Path) -> None:
    """Its gauges are gone with it; what it counted stays."""
    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
