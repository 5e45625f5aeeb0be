"""What a feeder is lent by the service that it feeds: an intake of its tenant, and news for its broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from otpsvc.feeder import FeederConfig
from otpsvc.feeders import secret_of
from otpsvc.feeding import Loan
from otpsvc.forwarding import Forwarding
from otpsvc.intake import Intake, Running
from otpsvc.keyring import Keyring
from otpsvc.relay import Relay
from otpsvc.store import Store
from otpsvc.tenant import Tenant


class Lender:
    """`tenants` is asked for each command: a reload changes them."""

    def __init__(
        self, relay: Relay, store: Store, keyring: Keyring, tenants: Callable[[], Mapping[str, Tenant]]
    ) -> None:
        self._tenants = tenants
        self._known: dict[str, Tenant] = {}
        self._running = Running(relay, store, keyring)

    def lend(self, name: str, config: FeederConfig, counted: Callable[[str], None]) -> Loan:
        """`counted` is told what became of each frame. Raises: ConfigError: its secret cannot be read."""
        intake = Intake(
            name,
            config,
            running=self._running,
            tenant=lambda: self._tenant(config.tenant),
            secret=secret_of(config),
            counted=counted,
        )
        news = Forwarding(
            name,
            config,
            store=self._running.store,
            keyring=self._running.keyring,
            tenant=lambda: self._tenant(config.tenant),
        )
        return Loan(intake, news, news.wake)

    def remember(self) -> None:
        """Before a reload: who leaves with it is still served what its feeders have in hand."""
        self._known |= self._tenants()

    def _tenant(self, name: str) -> Tenant:
        return self._tenants().get(name) or self._known[name]
