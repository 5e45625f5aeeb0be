"""A queue of the worker's RabbitMQ; what else a feeder's tests need stands in their own files."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.far_ends.rabbitmq import RabbitServer
from tests.feeders.rabbit_rig import Rig


@pytest.fixture
async def rig(rabbit: RabbitServer) -> AsyncIterator[Rig]:
    async with Rig(rabbit) as made:
        yield made
