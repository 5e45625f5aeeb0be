"""What a tenant asks for: the parameters of a create, read and held against their rules.

Parameters are text, as forms and queries carry them; `extra` may also come as JSON.
Names and messages of otpgateway's parameters are kept.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping

import msgspec

from otpsvc.errors import BadRequest
from otpsvc.tenant import PURPOSES, TTL_CAP, Codes, Purpose
from otpsvc.veiled import Veiled

#: 6 to 128 of these: letters, digits and . _ ~ : @ + = , -
ID = re.compile(r"[A-Za-z0-9._~:@+=,-]{6,128}")
_GEN = re.compile(r"[0-9a-f]{32}")
_INTEGER = re.compile(r"[0-9]{1,20}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
#: Bytes.
EXTRA_MAX = 4096
DESCRIPTION_MAX = 1000
#: PSD2 RTS (EU) 2018/389, article 4(3)(b).
TRANSACTION_ATTEMPTS = 5
SENDS_MAX = 20
#: As Go's ParseBool, which otpgateway uses.
_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_FALSE = frozenset({"", "0", "f", "F", "false", "False", "FALSE"})


class CreateRequest(Veiled, frozen=True, kw_only=True):
    """A create whose parameters are well-formed. `to` is as it came; the channel reads it."""

    id: str
    provider: str
    to: str = ""
    code: str = ""
    #: Seconds.
    ttl: int
    max_attempts: int
    max_sends: int
    #: JSON text; empty for none.
    extra: bytes = b""
    channel_description: str = ""
    address_description: str = ""
    purpose: Purpose = "address_confirmation"
    locale: str = ""
    client_ip: str = ""
    trusted: bool = False
    idempotency_key: str = ""
    #: Of relay clients: what their code is bound to besides its address (16 bytes), their own text
    #: with one `%s` for the code, and its subject.
    bound: bytes = b""
    text: str = ""
    subject: str = ""
    #: What an Idempotency-Key is bound to: the whole request, in one form.
    body: bytes = b""


def read_create(fields: Mapping[str, str], codes: Codes, *, id: str = "", key: str = "") -> CreateRequest:
    """Read a create's parameters. `id` empty: 128 random bits. Raises: BadRequest, which names the field."""
    purpose = read_purpose(fields.get("purpose", ""))
    attempts = _count(fields, "max_attempts", codes.max_attempts, codes.max_attempts_cap)
    if purpose == "transaction":
        attempts = min(attempts, TRANSACTION_ATTEMPTS)
    return CreateRequest(
        id=read_id(id) if id else secrets.token_urlsafe(16),
        provider=fields.get("provider", ""),
        to=fields.get("to", ""),
        code=fields.get("otp", ""),
        ttl=_ttl(fields, codes, purpose),
        max_attempts=attempts,
        max_sends=_count(fields, "max_generate", codes.max_sends, SENDS_MAX),
        extra=read_extra(fields.get("extra", "")),
        channel_description=_text(fields, "channel_description"),
        address_description=_text(fields, "address_description"),
        purpose=purpose,
        locale=_locale(fields.get("locale", "")),
        client_ip=read_client_ip(fields.get("client_ip", "")),
        trusted=read_bool(fields, "trusted"),
        idempotency_key=read_key(key),
        body=_one_form(id, fields) if key else b"",
    )


def read_id(text: str) -> str:
    """Raises: BadRequest."""
    if len(text) < 6:
        raise BadRequest("ID should be min 6 chars", code="invalid_id", field="id")
    if not ID.fullmatch(text):
        raise BadRequest(
            "ID should be 6 to 128 of letters, digits and . _ ~ : @ + = , -", code="invalid_id", field="id"
        )
    return text


def read_gen(text: str) -> bytes:
    """A generation as a create answered it (32 hex digits), or nothing. Raises: BadRequest."""
    if not text:
        return b""
    if not _GEN.fullmatch(text):
        raise BadRequest("Invalid `gen` value: as the create answered it.", code="invalid_gen", field="gen")
    return bytes.fromhex(text)


def read_purpose(text: str) -> Purpose:
    """Raises: BadRequest."""
    if not text:
        return "address_confirmation"
    for purpose in PURPOSES:
        if text == purpose:
            return purpose
    raise BadRequest(
        f"Invalid `purpose` value: one of {', '.join(PURPOSES)}.", code="invalid_purpose", field="purpose"
    )


def read_extra(text: str) -> bytes:
    """JSON text of at most 4 kB, checked and left as it is. Raises: BadRequest."""
    raw = text.encode("utf-8", "surrogatepass").strip()
    if len(raw) > EXTRA_MAX:
        raise BadRequest(
            f"Invalid JSON in `extra`: longer than {EXTRA_MAX} bytes.", code="invalid_extra", field="extra"
        )
    if not raw or raw == b"{}":
        return b""
    try:
        msgspec.json.decode(raw)
    except (ValueError, RecursionError, MemoryError):
        raise BadRequest("Invalid JSON in `extra`.", code="invalid_extra", field="extra") from None
    return raw


def read_bool(fields: Mapping[str, str], name: str) -> bool:
    """Raises: BadRequest."""
    text = fields.get(name, "")
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise BadRequest(f"Invalid `{name}` value: true or false.", code=f"invalid_{name}", field=name)


def read_client_ip(text: str) -> str:
    """The user's address as the tenant saw it. Raises: BadRequest."""
    if not text:
        return ""
    try:
        return ipaddress.ip_address(text).compressed
    except ValueError:
        raise BadRequest(
            "Invalid `client_ip` value: an IP address.", code="invalid_client_ip", field="client_ip"
        ) from None


def client_prefix(address: str) -> str:
    """What a client is counted by: an IPv4 address, or the /64 of an IPv6 address."""
    if not address:
        return ""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def read_key(key: str) -> str:
    """An Idempotency-Key: up to 255 printable ASCII characters. Raises: BadRequest."""
    if key and (len(key) > 255 or not key.isascii() or not key.isprintable()):
        raise BadRequest(
            "Invalid Idempotency-Key: 1 to 255 printable ASCII characters.",
            code="invalid_idempotency_key",
            field="Idempotency-Key",
        )
    return key


def _ttl(fields: Mapping[str, str], codes: Codes, purpose: Purpose) -> int:
    text, cap = fields.get("ttl", ""), TTL_CAP[purpose]
    if not text:
        return min(codes.ttl, cap)
    if not _INTEGER.fullmatch(text) or not 1 <= int(text) <= cap:
        raise BadRequest(
            f"Invalid `ttl` value: 1 to {cap} seconds for {purpose}.", code="invalid_ttl", field="ttl"
        )
    return int(text)


def _count(fields: Mapping[str, str], name: str, default: int, cap: int) -> int:
    text = fields.get(name, "")
    if not text:
        return min(default, cap)
    if not _INTEGER.fullmatch(text) or int(text) < 1:
        raise BadRequest(
            f"Invalid `{name}` value: a number from 1; more than {cap} counts as {cap}.",
            code=f"invalid_{name}",
            field=name,
        )
    return min(int(text), cap)


def _text(fields: Mapping[str, str], name: str) -> str:
    text = fields.get(name, "")
    if len(text) > DESCRIPTION_MAX or "\0" in text:
        raise BadRequest(
            f"Invalid `{name}` value: at most {DESCRIPTION_MAX} characters.",
            code=f"invalid_{name}",
            field=name,
        )
    return text


def _locale(text: str) -> str:
    if text and not (len(text) <= 35 and _LOCALE.fullmatch(text)):
        raise BadRequest(
            "Invalid `locale` value: a language such as en or de-AT.", code="invalid_locale", field="locale"
        )
    return text


def _one_form(id: str, fields: Mapping[str, str]) -> bytes:
    try:
        return msgspec.json.encode([id, sorted(fields.items())])
    except UnicodeEncodeError:
        raise BadRequest("A parameter holds half of a character.", code="invalid_text") from None
