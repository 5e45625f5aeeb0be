"""A tenant: who may ask, with which secrets, ways out, limits and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from otpsvc.veiled import Veiled

Scope = Literal["otp", "sms", "mail", "ussd", "inbox", "modems", "blocks:global"]
Hash = Literal["hmac-sha256", "argon2id"]
Purpose = Literal["address_confirmation", "authentication", "transaction"]
#: Stored by position; append only.
PURPOSES: tuple[Purpose, ...] = ("address_confirmation", "authentication", "transaction")
#: Longest life of a code in seconds. (NIST SP 800-63B 5.1.3.2; SP 800-63A 3.8)
TTL_CAP: Mapping[Purpose, int] = {
    "address_confirmation": 86_400,
    "authentication": 600,
    "transaction": 600,
}

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class Secret(Veiled, frozen=True):
    """One API secret as it is kept: a keyed digest, an argon2id hash or (with a warning) plain.

    `value` starts with `otpsvc1$` (keyed digest), `$argon2id$`, or is the plain secret.
    """

    value: str
    plain: bool = False


class Codes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How codes are made and how often they may be tried (`[codes]`, `[tenants.NAME.codes]`)."""

    length: Annotated[int, Meta(ge=6, le=10)] = 6
    alphabet: Literal["digits", "letters"] = "digits"
    #: Seconds.
    ttl: Annotated[int, Meta(ge=1, le=86_400)] = 300
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    #: The most that a request may ask for.
    max_attempts_cap: Annotated[int, Meta(ge=1, le=100)] = 10
    max_sends: Annotated[int, Meta(ge=1, le=20)] = 4
    hash: Hash = "hmac-sha256"


class Rate(Struct, frozen=True):
    """At most `count` in any `window` seconds; written `5/10m`, `8/1h`, `12/1d` in the config."""

    count: Count
    window: Count


class Limits(Struct, frozen=True, kw_only=True):
    """The guards; `enabled = false` switches all of them off, never attempts and sends per challenge."""

    enabled: bool = True
    #: Seconds between the sends of one challenge; the last one repeats.
    waits: tuple[int, ...] = (30, 60, 120)
    #: Sends per destination, over all tenants.
    destination: tuple[Rate, ...] = (Rate(5, 600), Rate(8, 3600), Rate(12, 86_400))
    #: Sends per client address, where it is known.
    client: tuple[Rate, ...] = (Rate(10, 60), Rate(50, 3600))
    #: Wrong checks per destination, purpose and client prefix.
    wrong_checks_client: Rate = Rate(15, 86_400)
    #: Wrong checks per destination and purpose.
    wrong_checks: Rate = Rate(60, 86_400)
    #: Wrong checks per destination and purpose of challenges created as `trusted`.
    wrong_checks_trusted: Rate = Rate(5, 86_400)
    #: Sends of the whole tenant.
    sends: Rate = Rate(20_000, 86_400)


class Texts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant's own templates (`[tenants.NAME.templates]`); empty: the default."""

    subject: str = ""
    text: str = ""
    html: str = ""
    sms: str = ""


class PageLook(Struct, frozen=True, kw_only=True):
    """A tenant's own look and words of the pages (`[tenants.NAME.page]`); empty: ours."""

    #: A `data:` URI.
    logo: str = ""
    #: `#rrggbb`.
    accent: str = ""
    #: One line under every form.
    help: str = ""
    #: Locale -> key of the catalogue -> text.
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Tenant(Veiled, frozen=True, kw_only=True):
    """One `[tenants.NAME]` table, with the defaults of `[codes]` and `[limits]` folded in."""

    name: str
    #: What people read in messages; empty: the name.
    title: str = ""
    secrets: tuple[Secret, ...] = ()
    scopes: frozenset[Scope] = frozenset({"otp"})
    country: str = ""
    #: The language of its texts; empty: not said (pages ask the browser, messages are English).
    locale: str = ""
    #: Allowed ways out (channels or routes); empty: all.
    channels: tuple[str, ...] = ()
    codes: Codes = field(default_factory=Codes)
    limits: Limits = field(default_factory=Limits)
    templates: Texts = field(default_factory=Texts)
    page: PageLook = field(default_factory=PageLook)
    open_view: bool = False
    origins: tuple[str, ...] = ()
    #: Whether a status without receipt answers "not verified"; None: by purpose.
    require_receipt: bool | None = None
    callback_url: str = ""
    #: `whsec_…` (Standard Webhooks).
    callback_secret: str = ""

    def shown(self) -> str:
        return repr(self.name)

    def may_use(self, way: str) -> bool:
        """True when the tenant may send over this channel or route."""
        return not self.channels or way in self.channels

    def needs_receipt(self, purpose: Purpose) -> bool:
        """True when a status must show a receipt (SECURITY: authentication and transaction)."""
        if self.require_receipt is not None:
            return self.require_receipt
        return purpose != "address_confirmation"
