"""Brokers, and a queue of the RabbitMQ; what else a feeder's tests need stands in their own files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.far_ends.mosquitto import MosquittoServer
from tests.far_ends.rabbitmq import RabbitServer
from tests.feeders.rabbit_rig import Rig


@pytest.fixture
async def rig(rabbit: RabbitServer) -> AsyncIterator[Rig]:
    async with Rig(rabbit) as made:
        yield made


@pytest.fixture(scope="module")
def broker(need: Callable[[str], str]) -> Iterator[MosquittoServer]:
    """A Mosquitto for the tests of one file."""
    need("mosquitto")
    with MosquittoServer() as running:
        yield running


@pytest.fixture(params=["3.1.1", "5"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Of MQTT."""
    return str(request.param)
