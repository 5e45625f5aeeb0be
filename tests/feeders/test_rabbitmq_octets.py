"""RabbitMQ: properties that are no text, or no time, break nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pamqp import frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from otpsvc.feeders.rabbitmq_octets import readable_delivery, readable_header
from tests.feeders.rabbit_rig import REFUSED, Rig
from tests.waiting import until

BAD_PROPERTIES = {
    "a message id in Latin-1": b"\x00\x80\x04caf\xe9",
    "a timestamp in milliseconds": b"\x00\x40" + struct.pack(">Q", 1_700_000_000_000),
    "a timestamp beyond all": b"\x00\x40" + b"\xff" * 8,
    "a header's name in Latin-1": b"\x20\x00" + struct.pack(">I", 7) + b"\x04caf\xe9t\x01",
    "a reply address in Latin-1": b"\x02\x00\x04caf\xe9",
}


@pytest.mark.parametrize("properties", BAD_PROPERTIES.values(), ids=BAD_PROPERTIES)
async def test_a_message_with(rig: Rig, properties: bytes) -> None:
    """It is taken without them, once, and so is the next."""
    await rig.start()
    await rig.publish_octets(b"1", properties)
    await rig.publish(b"2")

    await until(lambda: len(rig.intake.ended) == 2)
    await rig.acknowledged()
    assert sorted(rig.intake.bodies) == [b"1", b"2"]
    assert rig.tally.ups == 1


async def test_a_routing_key_in_latin_1(rig: Rig) -> None:
    await rig.start(exchange="amq.topic", routing_keys=("#",))
    await rig.publish_octets(b"1", to=b"caf\xe9")

    await until(lambda: rig.intake.bodies == [b"1"])
    await rig.acknowledged()


async def test_it_can_be_buried(rig: Rig) -> None:
    rig.intake.outcome = REFUSED
    await rig.start()
    await rig.publish_octets(b"\xff", BAD_PROPERTIES["a message id in Latin-1"])

    assert (await rig.next(f"{rig.queue}.dead")).body == b"\xff"


def _header(properties: bytes) -> bytes:
    return struct.pack(">HHQ", 60, 0, 5) + properties + b"\xce"


@given(some.lists(some.binary(max_size=255), max_size=3), some.binary(max_size=60), some.booleans())
def test_any_properties_can_be_read(texts: list[bytes], table: bytes, timed: bool) -> None:
    """Content type, content encoding, headers, delivery mode, priority, correlation id, timestamp."""
    head = b"".join(bytes([len(text)]) + text for text in texts[:2])
    flags = (0x0000, 0x8000, 0xC000)[len(texts[:2])] | 0x2000 | 0x1000
    values = head + struct.pack(">I", len(table)) + table + b"\x02"
    if timed:
        flags, values = flags | 0x0040, values + table[:8].rjust(8, b"\xff")
    made = readable_header(_header(struct.pack(">H", flags) + values))

    read = ContentHeader()
    read.unmarshal(made[:-1])
    assert read.body_size == 5


@given(some.text(max_size=60), some.integers(0, 255))
def test_texts_in_any_language_stay(text: str, octet: int) -> None:
    coded = text.encode()
    header = _header(b"\x14\x00" + bytes([octet, len(coded)]) + coded)

    assert readable_header(header) == header


def test_good_ones_stay_as_they_are() -> None:
    properties = Basic.Properties(message_id="é", headers={"ü": [1, {"a": "b"}]}, content_type="x/y")
    header = frame.marshal(ContentHeader(body_size=5, properties=properties), 1)[7:]

    assert readable_header(header) == header


@given(some.binary(max_size=255), some.binary(max_size=255), some.integers(0, 2**63 - 1))
def test_any_names_can_be_read(exchange: bytes, key: bytes, tag: int) -> None:
    names = b"".join(bytes([len(name)]) + name for name in (exchange, key))
    octets = b"\0\x3c\0\x3c\x01c" + struct.pack(">Q", tag) + b"\x01" + names + b"\xce"
    made = readable_delivery(octets)

    assert len(made) == len(octets)
    whole = struct.pack(">BHI", 1, 1, len(made) - 1) + made
    read = frame.unmarshal(whole)[2]
    assert isinstance(read, Basic.Deliver)
    assert (read.delivery_tag, read.redelivered) == (tag, True)
