"""The API as an OpenAPI 3.1 document, put together from the calls, their parameters and their answers."""

from __future__ import annotations

import copy
from http import HTTPStatus
from typing import Final

from otpsvc import __version__
from otpsvc.http import openapi_messages as messages
from otpsvc.http import openapi_schemas as schemas
from otpsvc.http.asked import Call
from otpsvc.http.calls import CALLS
from otpsvc.http.openapi_said import Said
from otpsvc.http.openapi_schemas import ID_PARAMETER, KEY_PARAMETER, RECORD, Schema, bodies

_ASKED: Final = {"provider": "smtp", "to": "anna@home.example"}
#: What any call with credentials may answer.
_ALWAYS: Final = (400, 401, 403, 429, 503)
_CODES: Final = {
    400: ("invalid_ttl", "Invalid `ttl` value: 1 to 86400 seconds for address_confirmation."),
    401: ("unauthorized", "Invalid API credentials."),
    403: ("scope", "This namespace may not use verifications."),
    404: ("not_found", "the OTP does not exist"),
    409: ("idempotency_running", "The first request with this Idempotency-Key is still running."),
    422: ("idempotency_mismatch", "This Idempotency-Key was used with another request."),
    429: ("resend_too_soon", "The code was sent already. Retry after 30 seconds."),
    503: ("store_unavailable", "Unable to reach store."),
}


_CREATE: Final = Said(
    title="Create a verification and send its code",
    note="A create with the id of a live one sends again: it counts as one of its messages, and an older"
    " code for another address stops counting. The answer comes at once; `message` says where the"
    " message is.",
    fields=schemas.CREATE,
    required=("provider",),
    example=_ASKED,
    refused=(409, 422),
    key=True,
    data=RECORD | {"url": "https://otp.example/otp/shop/user-123?t=sQ-I3W…"},
)
_STATUS: Final = Said(
    title="Ask whether it is verified",
    note="200 with the record when it is, else 400.",
    fields=schemas.STATUS,
    data=RECORD | {"closed": True, "state": "verified", "attempts": 1},
)
_SAID: Final[dict[tuple[str, str], Said]] = {
    ("PUT", "/api/otp/{id}"): _CREATE,
    ("PUT", "/api/otp"): _CREATE,
    ("POST", "/api/otp"): _CREATE,
    ("POST", "/api/otp/{id}"): Said(
        title="Check a code",
        note="200 when it is right, and then never again. Every refusal has the record in `data`; a wrong"
        " code, a locked and an unknown verification are all 400. With an Idempotency-Key a repeat of the"
        " last check is not counted again.",
        fields=schemas.CHECK,
        required=("otp",),
        example={"otp": "123456"},
        key=True,
        data=RECORD | {"closed": True, "state": "verified", "attempts": 1, "receipt": "sQ-I3W…"},
    ),
    ("POST", "/api/otp/{id}/status"): _STATUS,
    ("DELETE", "/api/otp/{id}/status"): Said(
        title="Ask whether it is verified, and forget it",
        note="As POST; after a 200 the record is gone.",
        fields=schemas.STATUS,
        query=True,
        data=_STATUS.data,
    ),
    ("POST", "/api/otp/{id}/resend"): Said(
        title="Send the code again",
        note="The same code, unless the namespace hashes codes with argon2id.",
        fields=schemas.RESEND,
        refused=(404,),
        data=RECORD | {"generate": 2},
    ),
    ("GET", "/api/otp/{id}"): Said(
        title="Read a verification", note="Changes nothing.", refused=(404,), data=RECORD
    ),
    ("DELETE", "/api/otp/{id}"): Said(
        title="Cancel a verification",
        note="Its code stops counting, a queued message is not sent.",
        refused=(404,),
        data=RECORD | {"state": "cancelled"},
    ),
    ("POST", "/api/budgets/reset"): Said(
        title="Forget the wrong checks of an address",
        fields=schemas.RESET,
        required=("provider", "to"),
        example=_ASKED,
        data="OK",
    ),
    ("GET", "/api/providers"): Said(title="List the ways out", data=["smtp", "sms"]),
    **messages.SAID,
}


def document(root_url: str) -> Schema:
    """The whole document; `root_url` is the server it names."""
    paths: dict[str, Schema] = {}
    for call in CALLS:
        said = _SAID[call.method, call.route]
        paths.setdefault(call.route, {})[call.method.lower()] = _operation(call, said)
    paths["/api/health"] = {"get": _health()}
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "otpsvc",
            "version": __version__,
            "description": "Verifies that a person can read what is sent to an address, and sends texts and"
            " mails. Parameters come as form, multipart, JSON or query alike. Errors come as"
            " `{status, message, code}`, or as RFC 9457 where `Accept` names application/problem+json."
            " Relay clients (OTP-Broker, OTP-Pi) have doors of their own, which are not listed here.",
        },
        "servers": [{"url": root_url}],
        "security": [{"basic": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components() | messages.components(),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "Namespace and its secret."}
            },
        },
    }
    return copy.deepcopy(whole)


def _operation(call: Call, said: Said) -> Schema:
    parameters = [said.path or ID_PARAMETER] if "{" in call.route else []
    if said.key:
        parameters.append(KEY_PARAMETER)
    operation: Schema = {
        "summary": said.title,
        "description": said.note,
        "operationId": _name(call.method, call.route),
        "responses": _responses(call, said),
    }
    if said.query:
        parameters += [
            {"name": name, "in": "query", "schema": schema, "description": schema["description"]}
            for name, schema in said.fields.items()
        ]
    elif said.fields:
        operation["requestBody"] = bodies(said.fields, said.required, said.example)
    if parameters:
        operation["parameters"] = parameters
    return operation


def _name(method: str, route: str) -> str:
    words = [word for word in route.split("/") if word.isalpha()]
    return "_".join([method.lower(), *words, *(["id"] if "{" in route else [])])


def _responses(call: Call, said: Said) -> Schema:
    shape = said.shape or ("RecordAnswer" if isinstance(said.data, dict) else "Success")
    success = {"status": "success", "data": said.data}
    responses: Schema = {
        str(call.done): {"description": "Done.", "content": {"application/json": _content(shape, success)}}
    }
    return responses | {str(status): _refusal(status) for status in sorted({*_ALWAYS, *said.refused})}


def _refusal(status: int) -> Schema:
    code, message = _CODES[status]
    refused = {"status": "error", "message": message, "code": code}
    problem = {
        "type": f"/problems/{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": message,
        "code": code,
    }
    answer: Schema = {
        "description": HTTPStatus(status).phrase,
        "content": {
            "application/json": _content("Refusal", refused),
            "application/problem+json": _content("Problem", problem),
        },
    }
    if status in {409, 429, 503}:
        retry = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds.", "required": True}
        answer["headers"] = {"Retry-After": retry}
    return answer


def _content(shape: str, example: object) -> Schema:
    return {"schema": {"$ref": f"#/components/schemas/{shape}"}, "example": example}


def _health() -> Schema:
    well = _content("Success", {"status": "success", "data": "OK"})
    return {
        "summary": "Whether the service can work",
        "operationId": "get_api_health",
        "security": [],
        "responses": {
            "200": {"description": "Yes.", "content": {"application/json": well}},
            "503": _refusal(503),
        },
    }
