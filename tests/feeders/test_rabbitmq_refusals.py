"""RabbitMQ: a broker that refuses is told of in words that help."""

from __future__ import annotations

import pytest
from aiormq.exceptions import ConnectionInternalError

from otpsvc.errors import BrokerRefused
from otpsvc.feeders.rabbitmq_queue import why_not_consumed
from tests.far_ends.rabbitmq import PASSWORD
from tests.feeders.rabbit_rig import Rig


async def _refusal(rig: Rig, **settings: object) -> str:
    error = await rig.why_not(**settings)
    assert isinstance(error, BrokerRefused)
    assert PASSWORD not in error.reason
    assert "amqp" not in error.reason
    assert rig.tally.ups == 0
    return error.reason


async def test_a_wrong_password(rig: Rig) -> None:
    wrong = rig.server.url_of("otpsvc", password="guess-77")

    assert "refused the login" in (reason := await _refusal(rig, url=wrong))
    assert "guess-77" not in reason


@pytest.mark.parametrize(("user", "vhost"), [("otpsvc", "nowhere"), ("otpsvc", "shop"), ("mallory", "")])
async def test_a_virtual_host_that_is_not_there_or_not_for_us(rig: Rig, user: str, vhost: str) -> None:
    assert "virtual host" in await _refusal(rig, url=rig.server.url_of(user, vhost=vhost))


async def test_a_queue_that_is_durable(rig: Rig) -> None:
    await rig.make_queue(rig.queue, exclusive=False, durable=True)

    assert await _refusal(rig) == (
        f'queue "{rig.queue}" exists with other settings (durable): set durable = true, or declare = false'
    )


async def test_a_queue_that_is_not_durable(rig: Rig) -> None:
    await rig.make_queue(rig.queue, exclusive=False)

    assert "set durable = false" in await _refusal(rig, durable=True)


async def test_a_queue_of_another_type(rig: Rig) -> None:
    await rig.make_queue(rig.queue, exclusive=False, durable=True)
    assert 'set queue_type = "classic"' in await _refusal(rig, queue_type="quorum")
    await rig.forget(rig.queue)
    await rig.make_queue(rig.queue, exclusive=False, durable=True, arguments={"x-queue-type": "quorum"})

    assert 'set queue_type = "quorum"' in await _refusal(rig, durable=True)


async def test_a_queue_with_other_arguments(rig: Rig) -> None:
    await rig.make_queue(rig.queue, exclusive=False, arguments={"x-max-length": 9})

    assert "(x-max-length): set arguments as they are there" in await _refusal(rig)


async def test_a_dead_letter_queue_of_somebody_else(rig: Rig) -> None:
    await rig.make_queue(f"{rig.queue}.dead", exclusive=False, durable=True)

    reason = await _refusal(rig)
    assert reason.startswith(f'queue "{rig.queue}.dead" exists with other settings (x-m')
    assert "dead_letters" in reason


async def test_no_queue(rig: Rig) -> None:
    assert f'there is no queue "{rig.queue}"' in await _refusal(rig, declare=False)


async def test_no_dead_letter_queue(rig: Rig) -> None:
    await rig.make_queue(rig.queue, exclusive=False)

    assert f'there is no queue "{rig.queue}.dead"' in await _refusal(rig, declare=False)


async def test_no_exchange(rig: Rig) -> None:
    assert 'there is no exchange "nowhere"' in await _refusal(rig, exchange="nowhere")


async def test_a_user_who_may_not_declare(rig: Rig) -> None:
    assert "may not declare" in await _refusal(rig, url=rig.server.url_of("reader"))


async def test_a_queue_that_belongs_to_another_connection(rig: Rig) -> None:
    await rig.make_queue(rig.queue)

    assert "exclusive" in await _refusal(rig)


async def test_a_queue_whose_consumer_wants_it_alone(rig: Rig) -> None:
    async def nothing(_: object) -> None: ...

    await rig.make_queue(rig.queue, exclusive=False)
    await (await rig.channel()).basic_consume(rig.queue, nothing, exclusive=True)

    assert "wants it alone" in await _refusal(rig)


def test_a_broker_that_takes_no_transient_queue(rig: Rig) -> None:
    """As RabbitMQ 4.3 says it, where the queue of the first clients is a thing of the past."""
    said = ConnectionInternalError("INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.")

    error = why_not_consumed(said, rig.make().config)
    assert isinstance(error, BrokerRefused)
    assert "durable = true" in error.reason


# TLS


async def test_tls(rig: Rig) -> None:
    await rig.start(url=rig.server.tls_url, ca_file=str(rig.server.ca_file))
    await rig.publish(b"1")

    await rig.acknowledged()
    assert rig.intake.bodies == [b"1"]


async def test_a_certificate_of_an_unknown_authority(rig: Rig) -> None:
    reason = await _refusal(rig, url=rig.server.tls_url)
    assert "not trusted" in reason
    assert "ca_file" in reason


async def test_a_certificate_for_another_name(rig: Rig) -> None:
    url = rig.server.tls_url.replace("localhost", "127.0.0.1")

    assert "the host in url" in await _refusal(rig, url=url, ca_file=str(rig.server.ca_file))


async def test_tls_at_a_port_without(rig: Rig) -> None:
    url = rig.server.tls_url.replace(str(rig.server.tls_port), str(rig.server.port))

    error = await rig.why_not(url=url, ca_file=str(rig.server.ca_file))
    assert PASSWORD not in error.reason
