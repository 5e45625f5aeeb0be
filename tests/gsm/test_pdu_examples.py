"""PDUs that others published: of dreamfabric.com/sms, and of the tests and manuals of other programs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from otpsvc.gsm import pdu
from otpsvc.gsm.parts import Part, split
from otpsvc.gsm.pdu import Concat, Deliver, StatusReport, Submit

NUMBER = "+46708251358"

FONIC = (
    "07919471060040340409D0C6A733390400009060920173018093CC74595C96838C4F6772085AD6DDE4320B444E9741"
    "D4B03C6D7EC3E9E9B71B9474D3CB727799DEA286CFE5B9991DA6CBC3F432E85E9793CBA0F09A9EB6A7CB72BA0B9474"
    "D3CB727799DE72D6E9FABAFB0CBAA7E56490BA4CD7D34170F91BE4ACD3F575F7794E0F9F4161F1B92C2F8FD1EE32DD"
    "054AA2E520E3D3991C82A8E5701B"
)
FONIC_TEXT = (
    "Lieber FONIC Kunde, die Tarifoption Internet-Tagesflatrate wurde aktiviert. Internet-Nutzung "
    "wird jetzt pro Nutzungstag abgerechnet. Ihr FONIC Team"
)
TIM = (
    "07919333852804000412D0F7FBDD454FB75D693A0000903002801153402BCD301E9F0605D9E971191483C140412A35"
    "690D52832063D2F9040599A058EE05A3BD6430580E"
)
VODAFONE_1 = (
    "07919471227210244405852122F039F101506271217180A005000319020198E9B2B82C0759DFE4B0F9ED2EB7967537"
    "B9CC02B5D37450122D2FCB41EE303DFD7687D96537881A96A7CD6F383DFD7683F46134BBEC064DD36550DA0D22A7CB"
    "F3721BE42CD3F5A0198B56036DCA20B8FC0D6A0A4170767D0EAAE540433A082E7F83A6E5F93CFD76BB40D7B2DB0D9A"
    "A6CB2072BA3C2F83926EF31BE44E8FD17450BB8C9683CA"
)
VODAFONE_2 = (
    "07919471227210244405852122F039F1015062712181804F050003190202E4E8309B5E7683DAFC319A5E76B340F73D"
    "9A5D7683A6E93268FD9ED3CB6EF67B0E5AD172B19B2C2693C9602E90355D6683A6F0B007946E8382F5393BEC26BB00"
)
VODAFONE_TEXT = (
    "Lieber Vodafone-Kunde, mit Ihrer nationalen Tarifoption zahlen Sie in diesem Netz 3,45 € pro MB "
    "plus 59 Ct pro Session. Wenn Sie diese Info nicht mehr erhalten möchten, wählen Sie kostenlos "
    "+4917212220. Viel Spaß im Ausland."
)


def deliver(hexes: str) -> Deliver:
    read = pdu.read(hexes)
    assert isinstance(read, Deliver)
    return read


def report(hexes: str) -> StatusReport:
    read = pdu.read(hexes)
    assert isinstance(read, StatusReport)
    return read


def only(text: str, *, flash: bool = False) -> Part:
    (part,) = split(text, reference=0, flash=flash)
    return part


def test_submit_of_the_best_known_example() -> None:
    submit = Submit(to=NUMBER, part=only("hellohello"), validity=4 * 86_400)

    assert submit.encoded() == ("0011000B916407281553F80000AA0AE8329BFD4697D9EC37", 23)


@pytest.mark.parametrize(
    ("submit", "hexes", "length"),
    [
        (Submit(to="+34616585119", part=only("hola")), "0001000B914316565811F9000004E8373B0C", 17),
        (
            Submit(to="+34616585119", part=only("hola"), smsc="+34646456456"),
            "07914346466554F601000B914316565811F9000004E8373B0C",
            17,
        ),
        (
            Submit(to="+34654123456", part=only("hey yo"), report=True),
            "0021000B914356143254F6000006E8721E947F03",
            19,
        ),
        (
            Submit(to="+34654123456", part=only("hey yo", flash=True)),
            "0001000B914356143254F6001006E8721E947F03",
            19,
        ),
        (
            Submit(to="+34654123456", part=only("BÄRÇA äñ@")),
            "0001000B914356143254F6000009C2AD341104EDFB00",
            21,
        ),
        (
            Submit(to="+34616585119", part=only("あ叶葉"), smsc="+34646456456"),
            "07914346466554F601000B914316565811F9000806304253F68449",
            19,
        ),
        (
            Submit(to="+34616585119", part=only("Русский"), validity=4 * 86_400),
            "0011000B914316565811F90008AA0E0420044304410441043A04380439",
            28,
        ),
    ],
)
def test_submit_of_public_examples(submit: Submit, hexes: str, length: int) -> None:
    assert submit.encoded() == (hexes, length)
    assert pdu.read_submit(hexes) == submit


def test_submit_of_several_parts() -> None:
    """The last of three parts, with fill bits."""
    submit = pdu.read_submit("005100098156355476F80000AA14050003880303C2A066D8CD02B5F3A0F9DB0D")

    assert submit.data.text == "a Man, my son"
    assert submit.data.concat == Concat(0x88, 3, 3)


@pytest.mark.parametrize(
    ("hexes", "sender", "text", "at", "smsc"),
    [
        (
            "07917283010010F5040BC87238880900F10000993092516195800AE8329BFD4697D9EC37",
            "27838890001",
            "hellohello",
            datetime(1999, 3, 29, 15, 16, 59),
            "+27381000015",
        ),
        (
            FONIC,
            "FONIC",
            FONIC_TEXT,
            datetime(2009, 6, 29, 10, 37, 10),
            "+491760000443",
        ),
        (
            TIM,
            "www.tim.it",
            "Maxxi Alice 100 ATTIVATA FINO AL 19/04/2009",
            datetime(2009, 3, 20, 8, 11, 35),
            "+393358824000",
        ),
    ],
)
def test_deliver_of_public_examples(hexes: str, sender: str, text: str, at: datetime, smsc: str) -> None:
    """`at` is the clock on the SMSC's wall; its zone is checked elsewhere."""
    read = deliver(hexes)

    assert (read.sender, read.text, read.smsc) == (sender, text, smsc)
    assert abs(read.at - at.replace(tzinfo=UTC).timestamp()) in {0, 3600, 7200}
    assert (read.concat, read.ports, read.flash, read.pid, read.dcs) == (None, None, False, 0, 0)


def test_deliver_of_two_parts() -> None:
    """With fill bits, an escape, and a sender of unknown type."""
    parts = [deliver(VODAFONE_1), deliver(VODAFONE_2)]

    assert [part.concat for part in parts] == [Concat(25, 2, 1), Concat(25, 2, 2)]
    assert {part.sender for part in parts} == {"12220"}
    assert pdu.whole(parts) == VODAFONE_TEXT


@pytest.mark.parametrize(
    ("hexes", "reference", "smsc", "at"),
    [
        (
            "0791538375000075061805810531F1019082416500400190824165004000",
            24,
            "+353857000057",
            datetime(2010, 9, 28, 13, 56, tzinfo=UTC),
        ),
        ("00060505810531F1010150610000400101506100004000", 5, "", datetime(2010, 10, 5, 15, 0, tzinfo=UTC)),
    ],
)
def test_status_report_of_public_examples(hexes: str, reference: int, smsc: str, at: datetime) -> None:
    read = report(hexes)

    assert (read.reference, read.recipient, read.smsc, read.status) == (reference, "50131", smsc, 0)
    assert read.submitted == read.discharged == at.timestamp()
    assert read.delivered
