"""Commands from a RabbitMQ queue: taken in order, acknowledged once they are durable."""

from __future__ import annotations

from typing import Any

from otpsvc.broker_url import tls_of
from otpsvc.errors import BrokerError
from otpsvc.feeder import Feeder, Lent, heed_cancellation
from otpsvc.feeders.rabbitmq_config import RabbitConfig, full_url
from otpsvc.feeders.rabbitmq_line import Line
from otpsvc.feeders.rabbitmq_outlet import Outlet
from otpsvc.feeders.rabbitmq_visit import Visit


class RabbitFeeder(Feeder):
    """Consumes one queue."""

    Config = RabbitConfig
    config: RabbitConfig
    #: Seconds between looks at how many messages wait, and for a connection to come about.
    lag_every = 10.0
    connect_limit = 10.0

    def __init__(self, name: str, config: RabbitConfig, lent: Lent) -> None:
        """Read certificates and password. Raises: ConfigError."""
        super().__init__(name, config, lent)
        self._url = full_url(config)
        self._tls = tls_of(config)
        self._visit: Visit | None = None

    @classmethod
    def check(cls, config: Any) -> None:
        """Read the files that it names. Raises: ConfigError."""
        full_url(config)
        tls_of(config)

    async def session(self) -> None:
        """One connection, and a second one as soon as something is to be published."""
        outlet = Outlet(self.name, lambda: self._line("out"))
        visit = Visit(self.name, self.config, self.lent, outlet)
        self._visit = visit
        try:
            # The outlet closes last: commands in hand end with the connection that they came by.
            async with outlet, self._line("in") as connection:
                await visit.run(connection, lag_every=self.lag_every)
        except BrokerError:
            heed_cancellation()
            raise
        finally:
            self._visit = None

    async def drain(self) -> None:
        if self._visit is not None:
            await self._visit.drain()

    def _line(self, way: str) -> Line:
        return Line(self._url, tls=self._tls, name=f"otpsvc {self.name} {way}", limit=self.connect_limit)
