"""Brokers for the tests of feeders in flows and drills, started once for each test process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.far_ends.mosquitto import MosquittoServer
from tests.far_ends.rabbitmq import RabbitServer
from tests.flows.feeders_rig import Gate, opened


@pytest.fixture(scope="session")
def far_rabbit(need: Callable[[str], str]) -> Iterator[RabbitServer]:
    need("rabbitmq-server")
    need("epmd")
    with RabbitServer() as server:
        yield server


@pytest.fixture(scope="session")
def far_mosquitto(need: Callable[[str], str]) -> Iterator[MosquittoServer]:
    need("mosquitto")
    with MosquittoServer() as server:
        yield server


@pytest.fixture(scope="session")
async def far_gate(far_rabbit: RabbitServer, far_mosquitto: MosquittoServer) -> AsyncIterator[Gate]:
    async with opened(far_rabbit, far_mosquitto) as made:
        yield made
        assert made.doubled() == []
        assert "Traceback" not in made.service.log


@pytest.fixture
async def gate(
    far_gate: Gate, far_rabbit: RabbitServer, far_mosquitto: MosquittoServer
) -> AsyncIterator[Gate]:
    """One service for all tests. At the end no text was sent twice."""
    async with far_gate.hands(far_rabbit, far_mosquitto):
        yield far_gate
