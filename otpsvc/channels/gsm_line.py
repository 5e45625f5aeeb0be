"""A modem as other processes are told of it."""

from __future__ import annotations

from otpsvc.gsm.types import Snapshot
from otpsvc.lines import Line


def line_of(shot: Snapshot) -> Line:
    """Without its channel, node and time."""
    facts = shot.facts
    return Line(
        name=shot.name,
        channel="",
        state=shot.state.value,
        reason=shot.reason,
        since=shot.since,
        port=shot.path,
        imei=facts.imei,
        imsi=facts.imsi,
        iccid=facts.iccid,
        number=facts.number,
        operator=facts.operator,
        signal=facts.signal,
        manufacturer=facts.manufacturer,
        model=facts.model,
        firmware=facts.firmware,
        smsc=facts.smsc,
        used={used.window: (used.parts, used.limit) for used in shot.used},
        sent=shot.sent,
        failed=shot.failed,
        uncertain=shot.uncertain,
    )
