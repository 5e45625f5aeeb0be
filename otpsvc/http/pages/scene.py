"""What one page shows: all that its templates may ask for, decided before they run."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlencode

from msgspec import Struct

from otpsvc.language import Words
from otpsvc.tenant import Tenant
from otpsvc.veiled import Veiled

Kind = Literal["code", "link", "show", "address", "done", "expired", "locked", "cancelled", "gone", "busy"]
Theme = Literal["", "dark", "light"]
MessageWord = Literal["none", "queued", "sending", "sent", "delivered", "failed"]


class Way(Struct, frozen=True):
    """A channel or route as people see it: its name on the wire and its title."""

    name: str
    title: str


class Scene(Veiled, frozen=True, kw_only=True):
    """One page. All times are whole seconds from now, or since then; never a time of day.

    `error`, `notice` and `help` are finished texts in the page's language.
    """

    tenant: Tenant
    words: Words
    kind: Kind
    namespace: str
    id: str
    token: str = ""
    #: As they were asked for; the forms carry them on.
    lang: str = ""
    theme: Theme = ""
    #: A fresh nonce: makes a repeated POST of this page's forms harmless.
    op: str = ""
    #: The tenant's origins may frame it, and are told how it goes.
    framed: bool = False
    #: What the right code brought; empty: it was verified elsewhere, or before.
    receipt: str = ""
    #: Done just now, by this POST.
    fresh: bool = False
    #: The create's own description; empty: the default text.
    help: str = ""
    #: Masked; on the address page the one that there is already, if any.
    to: str = ""
    address_kind: Literal["email", "phone", "any"] = "email"
    #: Of the code; 0: not known.
    length: int = 6
    alphabet: Literal["digits", "letters"] = "digits"
    #: From `?otp=` of old links: shown, never sent by itself.
    prefill: str = ""
    attempts_left: int = 0
    #: Of the code's life.
    left: int = 0
    #: Locked: until a new one may be asked for.
    wait: int = 0
    message: MessageWord = "none"
    uncertain: bool = False
    #: Since it was sent.
    age: int = 0
    can_resend: bool = False
    resend_in: int = 0
    sends_left: int = 0
    #: Code page: other ways to the same address. Address page: all ways; `way` is the chosen one.
    ways: tuple[Way, ...] = ()
    way: str = ""
    can_change_address: bool = False
    #: Address page: what was typed, shown again beside the error.
    typed: str = ""
    #: Show page: since the request.
    asked: int = 0
    #: What `…/status` answers while nothing has changed.
    version: str = ""
    error: str = ""
    #: `field`: the error is about what was typed; `page`: about something else, such as a limit.
    error_in: Literal["field", "page"] = "field"
    notice: str = ""

    def shown(self) -> str:
        return self.kind

    @property
    def sender(self) -> str:
        """Who asks, as people know them."""
        return self.tenant.title or self.tenant.name

    @property
    def amiss(self) -> bool:
        """The input holds something wrong."""
        return bool(self.error) and self.error_in == "field"

    @property
    def spent(self) -> bool:
        """Messages were sent, and no further one may be."""
        return self.kind == "code" and self.message != "none" and not self.can_resend and not self.sends_left

    @property
    def described(self) -> str:
        """The ids of what describes the input."""
        hint = self.kind != "address" and self.length
        return " ".join(filter(None, ("error" if self.error else "", "hint" if hint else "")))

    @property
    def query(self) -> str:
        """What leads to this page again by GET, without the `?`."""
        return self.query_by(self.way if self.kind == "address" else "")

    def query_by(self, way: str) -> str:
        """The same with another way chosen."""
        said = {"t": self.token, "lang": self.lang, "theme": self.theme, "provider": way}
        return urlencode({name: value for name, value in said.items() if value})

    # Relative, so that they hold behind a front server that adds a prefix; `./` because an
    # id may begin like a scheme, `mailto:x`.

    @property
    def address_url(self) -> str:
        """From the code page to the address page."""
        return f"./{quote(self.id, safe='')}/address?{self.query}"

    @property
    def code_url(self) -> str:
        """From the address page to the code page."""
        return f"../{quote(self.id, safe='')}?{self.query_by('')}"
