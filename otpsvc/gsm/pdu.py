"""PDUs of short messages, with the SMSC before them, in hexadecimal: 3GPP TS 23.040, 9.2.

`Submit` goes to the network; `Deliver` and `StatusReport` come from it. A modem wants
the hex of SMSC and TPDU, and the length of the TPDU alone (27.005, 3.1).
"""

from __future__ import annotations

from typing import Final

from otpsvc.errors import BadPdu
from otpsvc.gsm import address
from otpsvc.gsm.octets import Octets, from_hex
from otpsvc.gsm.parts import Part
from otpsvc.gsm.timestamp import encode_time, read_time, validity_octet, validity_seconds
from otpsvc.gsm.userdata import Coding, Concat, Ports, UserData, is_flash, read_user_data, whole
from otpsvc.veiled import Veiled

__all__ = [
    "Coding",
    "Concat",
    "Deliver",
    "Ports",
    "StatusReport",
    "Submit",
    "encode_deliver",
    "encode_status_report",
    "read",
    "read_submit",
    "validity_octet",
    "validity_seconds",
    "whole",
]

#: TP-MTI of each direction, and other bits of the first octet. (9.2.3.1)
_DELIVER, _SUBMIT, _STATUS_REPORT = 0b00, 0b01, 0b10
_REJECT_DUPLICATES, _NO_MORE, _WANTS_REPORT, _HAS_HEADER = 0x04, 0x04, 0x20, 0x40
#: TP-VPF: nothing, or one octet; its two other forms have seven octets. (9.2.3.3)
_FORMAT, _NONE, _RELATIVE = 0x18, 0x00, 0x10
_TIME: Final = 7


class Submit(Veiled, frozen=True, kw_only=True):
    """One part on its way to `to`. `validity`: seconds that the network may try; None: as it likes.

    `reference` is TP-MR; a modem puts its own there. `smsc` empty: the SIM's.
    """

    to: str
    part: Part
    validity: int | None = None
    report: bool = False
    reference: int = 0
    reject_duplicates: bool = False
    smsc: str = ""

    def encoded(self) -> tuple[str, int]:
        """Hex in upper case of SMSC and TPDU, and the octets of the TPDU alone.

        Raises: ValueError when `to` is not a number that can be dialled.
        """
        address.dialled(self.to)
        timed = self.validity is not None
        first = _SUBMIT | (_RELATIVE if timed else _NONE) | (_HAS_HEADER if self.part.header else 0)
        first |= (_WANTS_REPORT if self.report else 0) | (_REJECT_DUPLICATES if self.reject_duplicates else 0)
        period = b"" if self.validity is None else bytes((validity_octet(self.validity),))
        start = bytes((first, self.reference)) + address.encode(self.to)
        return _hex(self.smsc, start + bytes((0, self.part.dcs)) + period + _user_data(self.part))

    @property
    def data(self) -> UserData:
        """What it says. Raises: BadPdu when `part` was not made by `parts.split`."""
        part = self.part
        return read_user_data(Octets(_user_data(part)), part.dcs, has_header=bool(part.header))

    @property
    def flash(self) -> bool:
        return is_flash(self.part.dcs)


class Deliver(Veiled, frozen=True, kw_only=True):
    """A text, or a part of one, that came in. `at`: seconds since the epoch by the SMSC; 0: not told.

    `sender`: `+` and digits, digits, or an alphanumeric name, which cannot be answered.
    """

    sender: str
    at: float
    dcs: int
    pid: int
    data: UserData
    smsc: str = ""

    @property
    def text(self) -> str:
        """Of this part alone: join parts with `whole`."""
        return self.data.text

    @property
    def concat(self) -> Concat | None:
        return self.data.concat

    @property
    def ports(self) -> Ports | None:
        return self.data.ports

    @property
    def flash(self) -> bool:
        return is_flash(self.dcs)


class StatusReport(Veiled, frozen=True, kw_only=True):
    """What became of the part that went to `recipient` under `reference` (TP-MR). `status`: 9.2.3.15."""

    reference: int
    recipient: str
    status: int
    submitted: float
    discharged: float
    smsc: str = ""

    @property
    def delivered(self) -> bool:
        return self.status < 0x20

    @property
    def pending(self) -> bool:
        """The SMSC still tries."""
        return 0x20 <= self.status < 0x40

    @property
    def failed(self) -> bool:
        return self.status >= 0x40


def read(hexes: str) -> Deliver | StatusReport:
    """A PDU from the network. Raises: BadPdu for anything else, and nothing but it."""
    octets = from_hex(hexes)
    smsc = address.read_smsc(octets)
    first = octets.octet()
    kind = first & 0b11
    if kind == _STATUS_REPORT:
        return _status_report(octets, smsc)
    if kind == _SUBMIT:
        raise BadPdu("Not a PDU from the network: its type is SUBMIT.")
    # The fourth type is reserved, and read as a DELIVER. (9.2.3.1)
    return _deliver(octets, smsc, has_header=bool(first & _HAS_HEADER))


def _deliver(octets: Octets, smsc: str, *, has_header: bool) -> Deliver:
    sender = address.read(octets)
    pid, dcs = octets.octet(), octets.octet()
    at = read_time(octets.take(_TIME))
    data = read_user_data(octets, dcs, has_header=has_header)
    return Deliver(sender=sender, at=at, dcs=dcs, pid=pid, data=data, smsc=smsc)


def _status_report(octets: Octets, smsc: str) -> StatusReport:
    """What may follow the status (TP-PI and its fields) says nothing that is asked for."""
    return StatusReport(
        reference=octets.octet(),
        recipient=address.read(octets),
        submitted=read_time(octets.take(_TIME)),
        discharged=read_time(octets.take(_TIME)),
        status=octets.octet(),
        smsc=smsc,
    )


def read_submit(hexes: str) -> Submit:
    """A PDU to the network; an absolute or enhanced validity is read as None.

    Raises: BadPdu for anything else, also for octets after its end.
    """
    octets = from_hex(hexes)
    smsc = address.read_smsc(octets)
    first, reference = octets.octet(), octets.octet()
    if first & 0b11 != _SUBMIT:
        raise BadPdu("Not a PDU to the network: its type is not SUBMIT.")
    to = address.read(octets)
    _pid, dcs = octets.octet(), octets.octet()
    validity = _validity(octets, first & _FORMAT)
    data = read_user_data(octets, dcs, has_header=bool(first & _HAS_HEADER))
    if octets.left:
        raise BadPdu(f"There are {octets.left} octets after the end of the PDU.")
    return Submit(
        to=to,
        part=data.part,
        validity=validity,
        report=bool(first & _WANTS_REPORT),
        reference=reference,
        reject_duplicates=bool(first & _REJECT_DUPLICATES),
        smsc=smsc,
    )


def _validity(octets: Octets, form: int) -> int | None:
    if form == _RELATIVE:
        return validity_seconds(octets.octet())
    if form != _NONE:
        octets.take(_TIME)
    return None


def encode_deliver(
    sender: str, part: Part, *, at: float, quarters: int = 0, pid: int = 0, smsc: str = ""
) -> tuple[str, int]:
    """A DELIVER as an SMSC makes it, as `Submit.encoded`; its clock is `quarters` of an hour east.

    Raises: ValueError for a sender or a time that cannot be written.
    """
    first = _DELIVER | _NO_MORE | (_HAS_HEADER if part.header else 0)
    start = bytes((first,)) + address.encode_sender(sender) + bytes((pid, part.dcs))
    return _hex(smsc, start + encode_time(at, quarters) + _user_data(part))


def encode_status_report(
    reference: int,
    recipient: str,
    status: int,
    *,
    submitted: float,
    discharged: float,
    quarters: int = 0,
    smsc: str = "",
) -> tuple[str, int]:
    """A STATUS-REPORT as an SMSC makes it, otherwise as `encode_deliver`."""
    start = bytes((_STATUS_REPORT | _NO_MORE, reference)) + address.encode(recipient)
    times = encode_time(submitted, quarters) + encode_time(discharged, quarters)
    return _hex(smsc, start + times + bytes((status,)))


def _user_data(part: Part) -> bytes:
    return bytes((part.length,)) + part.header + part.data


def _hex(smsc: str, tpdu: bytes) -> tuple[str, int]:
    return (address.encode_smsc(smsc) + tpdu).hex().upper(), len(tpdu)
