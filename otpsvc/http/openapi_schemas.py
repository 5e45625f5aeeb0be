"""The shapes that the OpenAPI document speaks of: parameters, records, refusals."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otpsvc.http.fields import BODY_MAX
from otpsvc.request import DESCRIPTION_MAX, EXTRA_MAX, SENDS_MAX
from otpsvc.tenant import PURPOSES, TTL_CAP
from otpsvc.verify import CODE_MAX
from otpsvc.view import STATE_WORDS, View

Schema = dict[str, Any]
REF: Final = "#/components/schemas/{name}"

RECORD: Final[Schema] = {
    "namespace": "shop",
    "id": "user-123",
    "to": "anna@home.example",
    "channel_description": "",
    "address_description": "",
    "extra": {},
    "provider": "smtp",
    "otp": "",
    "max_attempts": 5,
    "attempts": 0,
    "generate": 1,
    "max_generate": 4,
    "closed": False,
    "ttl": 300,
    "state": "pending",
    "purpose": "address_confirmation",
    "gen": "b03d220a7b6d342973064f4d183ba2ad",
    "resend_in": 30,
    "message": {"state": "queued", "tries": 0, "uncertain": 0, "reason": ""},
    "url": "",
    "receipt": "",
}

_NOTES: Final = {
    "id": "As given, or 128 random bits.",
    "to": "The address as it is sent to.",
    "otp": "Filled only in the answer to a create that gave it.",
    "max_attempts": "Checks that will be evaluated, exactly.",
    "attempts": "Checks that were evaluated.",
    "generate": "Messages that were sent, or will be.",
    "max_generate": "The most of them.",
    "closed": "True when the right code was given.",
    "ttl": "Seconds until the record is gone.",
    "gen": "Changes when an older code stops counting; status takes it.",
    "resend_in": "Seconds until the next message may be asked for.",
    "message": "Where the message is.",
    "url": "The page for the user; only in the answer to a create.",
    "receipt": "Proof of this verification, for one status call within 60 seconds; only where the code was"
    " right.",
}

_ID: Final[Schema] = {
    "type": "string",
    "minLength": 6,
    "maxLength": 128,
    "pattern": "^[A-Za-z0-9._~:@+=,-]{6,128}$",
}
ID_PARAMETER: Final[Schema] = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "Your name for this verification: letters, digits and . _ ~ : @ + = , -",
    "schema": _ID,
    "example": "user-123",
}
KEY_PARAMETER: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and request get the first answer again, for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}


def text(note: str, most: int = 0, **more: Any) -> Schema:
    """A parameter of text, of at most so many characters."""
    return {"type": "string", "description": note} | ({"maxLength": most} if most else {}) | more


def number(note: str, most: int) -> Schema:
    """A whole number from 1."""
    return {"type": "integer", "minimum": 1, "maximum": most, "description": note}


_TTL_MAX: Final = max(TTL_CAP.values())
_CLIENT_IP: Final = text("The user's address, as you see it; guards count by it.")
_TO: Final = text("Address or number. None: nothing is sent yet.", 256, examples=["anna@home.example"])

CREATE: Final[Schema] = {
    "provider": text("A way out, as /api/providers lists them.", examples=["smtp"]),
    "to": _TO,
    "ttl": number("Seconds that the code lives; at most 600 unless it confirms an address.", _TTL_MAX),
    "max_attempts": number("Checks of the code; capped by the config.", 100),
    "max_generate": number("Messages for this id.", SENDS_MAX),
    "otp": text("Your own code instead of ours.", 10, minLength=4),
    "purpose": {"type": "string", "enum": list(PURPOSES), "description": "What the code is for."},
    "extra": text("JSON that comes back with the record.", EXTRA_MAX, examples=['{"order":7}']),
    "channel_description": text("Shown above the form for the code.", DESCRIPTION_MAX),
    "address_description": text("Shown above the form for the address.", DESCRIPTION_MAX),
    "locale": text("Language of message and page.", 35, examples=["en"]),
    "client_ip": _CLIENT_IP,
    "trusted": {"type": "boolean", "description": "You know the user: the budgets of strangers do not hold."},
}
CHECK: Final[Schema] = {
    "otp": text("What the user typed.", CODE_MAX, minLength=1, examples=["123456"]),
    "client_ip": _CLIENT_IP,
    "skip_delete": text("Taken and ignored: a verified record stays until its ttl ends."),
    "action": text("Taken and ignored."),
}
STATUS: Final[Schema] = {
    "receipt": text("Of the answer to the right code; needed for authentication and transaction."),
    "gen": text("Of the create that you ask about.", 32, pattern="^[0-9a-f]{32}$"),
}
RESEND: Final[Schema] = {"client_ip": _CLIENT_IP}
RESET: Final[Schema] = {"provider": CREATE["provider"], "to": _TO}


def bodies(fields: Schema, required: tuple[str, ...], example: Schema) -> Schema:
    """A request body in the three forms that are read alike."""
    form: Schema = {"type": "object", "properties": fields}
    if required:
        form["required"] = list(required)
    as_json: Schema = form
    if "extra" in fields:
        note = fields["extra"]["description"]
        as_json = form | {"properties": fields | {"extra": {"description": note}}}
    content = {
        "application/x-www-form-urlencoded": {"schema": form, "example": example},
        "application/json": {"schema": as_json, "example": example},
        "multipart/form-data": {"schema": form},
    }
    return {"content": content, "required": bool(required), "description": f"At most {BODY_MAX} bytes."}


def components() -> Schema:
    """All named schemas: the record from its own type, the envelopes around it."""
    # Without its defaults: every field is always there.
    shape = [(field.name, field.type) for field in msgspec.structs.fields(View)]
    _, found = msgspec.json.schema_components([msgspec.defstruct("Record", shape)], ref_template=REF)
    record = found["Record"]
    for name, note in _NOTES.items():
        described = record["properties"][name]
        record["properties"][name] = {"description": note} | (
            {"allOf": [described]} if "$ref" in described else described
        )
    record["properties"]["state"] = {"enum": sorted({*STATE_WORDS.values(), "unknown"})}
    record["description"] = "One verification."
    return found | {
        "Success": answer({}),
        "RecordAnswer": answer({"$ref": REF.format(name="Record")}),
        "Refusal": _envelope("error", _refused(), optional=("data", "field")),
        "Problem": _problem(),
    }


def answer(data: Schema) -> Schema:
    """The envelope of a success with this in it."""
    return _envelope("success", {"data": data})


def _refused() -> Schema:
    return {
        "message": {"type": "string", "description": "For people."},
        "code": {"type": "string", "description": "For programs: stable.", "pattern": "^[a-z_-]+$"},
        "data": {"description": "The record, or what to wait for."},
        "field": {"type": "string", "description": "The parameter that is wrong."},
    }


def _envelope(status: str, more: Schema, optional: tuple[str, ...] = ()) -> Schema:
    properties = {"status": {"const": status}} | more
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _problem() -> Schema:
    properties = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "retry_after": {"type": "integer", "description": "Seconds."},
        "field": {"type": "string"},
        "data": {},
    }
    required = ["type", "title", "status", "detail", "code"]
    return {"type": "object", "description": "RFC 9457.", "properties": properties, "required": required}
