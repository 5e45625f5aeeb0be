"""What the OpenAPI document says about messages, texts that came in, modems and blocks."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otpsvc.blocking import Blocked
from otpsvc.command import USSD_MAX
from otpsvc.http.messages import Modem, Texts
from otpsvc.http.openapi_said import Said
from otpsvc.http.openapi_schemas import REF, Schema, answer, number, text
from otpsvc.http.reading import LIMIT_MAX
from otpsvc.lines import Answered
from otpsvc.submit import LIFE_MAX, SUBJECT_MAX, TEXT_MAX, Submitted

_TO: Final = "+6281234567890"
_ROUTE: Final = text("A channel or route, as /api/providers lists them; empty: the configured one.")
_SEND: Final[Schema] = {
    "to": text("Number, short code or e-mail address.", 256, minLength=1, examples=[_TO]),
    "text": text("What is sent.", TEXT_MAX, minLength=1, examples=["Your parcel is here"]),
    "subject": text("Of a mail; one line.", SUBJECT_MAX),
    "channel": _ROUTE,
    "route": text("Another name of `channel`."),
    "ttl": number("Seconds that it may take.", LIFE_MAX),
    "deadline": {
        "type": "number",
        "description": f"The same as seconds since 1970, at most {LIFE_MAX} from now.",
    },
    "modem": text("The only modem that may send it, as /api/modems lists them."),
}
_EVERYWHERE: Final[Schema] = {
    "everywhere": {
        "type": "boolean",
        "description": "The list of all namespaces is meant, which needs the scope blocks:global.",
    }
}
_MESSAGE: Final[Schema] = {
    "id": "ncWbPtu_fTJXQvNcoTVJKg",
    "state": "queued",
    "route": "sms",
    "parts": 0,
    "tries": 0,
    "uncertain": 0,
    "reason": "",
    "created_at": "2026-11-23T08:05:18.389+00:00",
    "deadline": "2026-11-23T09:05:18.389+00:00",
    "repeated": False,
}
_TEXT: Final[Schema] = {
    "id": "Rr4LqJp0rZ8bq1qvVX8fYw",
    "modem": "one",
    "sender": "+62811223344",
    "text": "Thank you",
    "to": _TO,
    "received_at": "2026-11-23T08:05:18.389+00:00",
    "sent_at": "2026-11-23T08:05:16+00:00",
    "complete": True,
}
_MODEM: Final[Schema] = {
    "id": "sms.one",
    "name": "one",
    "channel": "sms",
    "node": "host-1",
    "state": "ready",
    "ready": True,
    "reason": "",
    "since": "2026-11-23T08:00:00+00:00",
    "told_at": "2026-11-23T08:05:18+00:00",
    "port": "/dev/ttyUSB0",
    "imei": "356938035643809",
    "imsi": "510101234567890",
    "iccid": "8962100000000000000",
    "number": _TO,
    "operator": "TELKOMSEL",
    "signal": -71,
    "manufacturer": "huawei",
    "model": "E173",
    "firmware": "11.126",
    "smsc": "+62811000000",
    "used": {"1d": {"parts": 12, "limit": 200}},
    "sent": 12,
    "failed": 0,
    "uncertain": 0,
}
_BLOCKED: Final[Schema] = {"number": _TO, "since": "2026-11-23T08:05:18.389+00:00", "everywhere": False}


def _path(name: str, note: str, example: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": note,
        "schema": {"type": "string", "minLength": 1, "maxLength": 256},
        "example": example,
    }


_NUMBER: Final = _path("number", "Number, short code or e-mail address.", _TO)
_ENTRY: Final = Said(
    title="Block a destination",
    note="Nothing is sent there by this namespace any more; what is queued is not sent either.",
    fields=_EVERYWHERE,
    data=_BLOCKED,
    shape="BlockAnswer",
    path=_NUMBER,
)
SAID: Final[dict[tuple[str, str], Said]] = {
    ("POST", "/api/messages"): Said(
        title="Send a text or a mail",
        note="The answer comes at once: the message is queued, behind all codes. With an Idempotency-Key"
        " a repeat gets the state of the first one.",
        fields=_SEND,
        required=("to", "text"),
        example={"to": _TO, "text": "Your parcel is here"},
        refused=(422,),
        key=True,
        data=_MESSAGE,
        shape="MessageAnswer",
    ),
    ("GET", "/api/messages/{id}"): Said(
        title="Where a message is",
        refused=(404,),
        data=_MESSAGE | {"state": "sent", "parts": 1, "tries": 1},
        shape="MessageAnswer",
        path=_path("id", "As the answer to its send has it.", "ncWbPtu_fTJXQvNcoTVJKg"),
    ),
    ("GET", "/api/inbox"): Said(
        title="Texts that came in",
        note="Those of the SIMs that belong to this namespace, the newest first.",
        fields={
            "limit": number("How many at most.", LIMIT_MAX),
            "before": {"type": "integer", "minimum": 0, "description": "`next` of the answer before."},
        },
        query=True,
        data={"texts": [_TEXT], "next": 0},
        shape="InboxAnswer",
    ),
    ("GET", "/api/modems"): Said(title="List the modems", data=[_MODEM], shape="ModemsAnswer"),
    ("POST", "/api/modems/{id}/ussd"): Said(
        title="Ask a modem's network (USSD)",
        note="Which codes may be sent, the operator lists. Takes up to 45 seconds.",
        fields={
            "code": text("The code, or the reply.", USSD_MAX, minLength=1, examples=["*123#"]),
            "reply": {"type": "boolean", "description": "The session of the code before waits for this."},
        },
        required=("code",),
        example={"code": "*123#"},
        refused=(404,),
        data={"text": "Balance: 50.000", "raw": "", "more": False, "status": 0},
        shape="UssdAnswer",
        path=_path("id", "`id`, name, IMEI or number of a modem.", "sms.one"),
    ),
    ("GET", "/api/blocks"): Said(
        title="List what is blocked",
        fields=_EVERYWHERE,
        query=True,
        data=[_BLOCKED],
        shape="BlocksAnswer",
    ),
    ("GET", "/api/blocks/{number}"): Said(
        title="Is a destination blocked?",
        note="In the namespace's own list, or in that of all.",
        refused=(404,),
        data=_BLOCKED,
        shape="BlockAnswer",
        path=_NUMBER,
    ),
    ("PUT", "/api/blocks/{number}"): _ENTRY,
    ("DELETE", "/api/blocks/{number}"): Said(
        title="Unblock a destination",
        fields=_EVERYWHERE,
        refused=(404,),
        query=True,
        data="OK",
        path=_NUMBER,
    ),
}


def components() -> Schema:
    """The schemas of these answers, each from its own type."""
    types = [Submitted, Texts, Modem, Blocked, Answered]
    _, found = msgspec.json.schema_components(types, ref_template=REF)
    shapes: dict[str, Any] = {
        "MessageAnswer": _ref("Submitted"),
        "InboxAnswer": _ref("Texts"),
        "ModemsAnswer": {"type": "array", "items": _ref("Modem")},
        "UssdAnswer": _ref("Answered"),
        "BlockAnswer": _ref("Blocked"),
        "BlocksAnswer": {"type": "array", "items": _ref("Blocked")},
    }
    return found | {name: answer(data) for name, data in shapes.items()}


def _ref(name: str) -> Schema:
    return {"$ref": REF.format(name=name)}
