"""Sets the scene of a page: what a visitor sees of a challenge, in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import structs

from otpsvc.http.pages.scene import Kind, Scene, Theme, Way
from otpsvc.language import Words, choose, tag_of, words
from otpsvc.store import new_op
from otpsvc.tenant import Tenant
from otpsvc.veiled import Veiled
from otpsvc.view import View
from otpsvc.visit import Look, Visit

_THEMES: Final[tuple[Theme, ...]] = ("dark", "light")
#: Code of a refusal -> key of what the page says; `{kind}` is that of the address.
_COMPLAINTS: Final = {
    "wrong_code": "error_wrong_code",
    "invalid_otp": "error_wrong_code",
    "empty_otp": "error_empty_code",
    "check_limit": "error_check_limit",
    "resend_too_soon": "error_too_soon",
    "sends_exhausted": "error_sends",
    "send_budget": "error_sends",
    "otp_needed": "error_sends",
    "destination_limit": "error_address_limit",
    "client_limit": "error_client_limit",
    "invalid_address": "error_{kind}",
}
_CHANGED: Final = "error_changed"
#: What the person can mend in the form.
_OF_THE_FIELD: Final = frozenset({"wrong_code", "invalid_otp", "empty_otp", "invalid_address"})
_ENDS: Final[Mapping[str, Kind]] = {
    "verified": "done",
    "locked": "locked",
    "cancelled": "cancelled",
    "expired": "expired",
}
_KINDS: Final[Mapping[str, Literal["email", "phone"]]] = {"email": "email", "phone": "phone"}


class Manner(Veiled, frozen=True):
    """How a browser wants its page: the token it shows, the widget's wishes, Accept-Language."""

    token: str = ""
    lang: str = ""
    theme: Theme = ""
    accept: str = ""

    @property
    def query(self) -> dict[str, str]:
        """What the address of a page carries on."""
        every = {"t": self.token, "lang": self.lang, "theme": self.theme}
        return {name: value for name, value in every.items() if value}


def read_manner(fields: Mapping[str, str], accept: str) -> Manner:
    """From the parameters of a request."""
    wanted = fields.get("theme", "")
    theme: Theme = next((theme for theme in _THEMES if theme == wanted), "")
    return Manner(fields.get("t", ""), tag_of(fields.get("lang", "")), theme, accept)


def words_of(manner: Manner, tenant: Tenant | None = None, locale: str = "") -> Words:
    """The reader's: as the widget says, else the create, else the tenant, else the browser."""
    if tenant is None:
        return words(choose(manner.lang, accept=manner.accept))
    return words(choose(manner.lang, locale, tenant.locale, accept=manner.accept), tenant.page.texts)


def complaining(scene: Scene, code: str, *, wait: int = 0) -> Scene:
    """The scene, with what was refused in the reader's words; `wait` in seconds."""
    words = scene.words
    if code == "invalid_otp" and scene.length:
        text = words.say(f"error_code_form_{scene.alphabet}", count=scene.length)
    else:
        key = _COMPLAINTS.get(code, _CHANGED).format(kind=scene.address_kind)
        text = words.say(key, time=words.span(wait))
    return structs.replace(scene, error=text, error_in="field" if code in _OF_THE_FIELD else "page")


def version(view: View) -> str:
    """Another one when the page would look another way."""
    message = view.message
    every = (view.state, view.attempts, view.generate, message.state.value, message.uncertain, view.provider)
    return ".".join(map(str, every))


class Setting:
    """Makes scenes. `titles`: what each way out is called, where its config says so."""

    def __init__(self, titles: Mapping[str, str]) -> None:
        self._titles = titles

    def gone(self, words: Words) -> Scene:
        """The one page of all who have no right to see another."""
        return Scene(tenant=Tenant(name=""), words=words, kind="gone", namespace="", id="")

    def ended(self, kind: Kind, visit: Visit, words: Words, manner: Manner) -> Scene:
        """A page on which nothing can be done any more."""
        tenant = visit.tenant
        return Scene(
            tenant=tenant,
            words=words,
            kind=kind,
            namespace=tenant.name,
            id=visit.id,
            token=manner.token,
            lang=manner.lang,
            theme=manner.theme,
            framed=bool(tenant.origins) and visit.right != "link",
        )

    def code(self, visit: Visit, look: Look, words: Words, manner: Manner) -> Scene:
        """The page of a challenge as it stands: a form for its code, or its end."""
        view = look.view
        return structs.replace(
            self.ended(_kind(visit, view), visit, words, manner),
            op=new_op().hex(),
            help=view.channel_description,
            # No line break in it.
            to=look.to.replace("…", "\u2060…\u2060"),
            address_kind=_KINDS.get(look.kind, "any"),
            length=look.length,
            alphabet=look.alphabet,
            attempts_left=max(0, view.max_attempts - view.attempts),
            left=view.ttl,
            wait=view.ttl,
            message=view.message.state.value,
            uncertain=view.message.uncertain > 0,
            age=max(1, look.age),
            can_resend=look.can_resend,
            resend_in=view.resend_in,
            sends_left=max(0, view.max_generate - view.generate),
            ways=self._ways(look.ways, dict.fromkeys(look.ways, look.kind), words),
            way=view.provider,
            can_change_address=look.can_change_address,
            asked=max(1, look.asked),
            version=version(view),
        )

    def address(
        self, visit: Visit, look: Look, words: Words, manner: Manner, *, way: str, kinds: Mapping[str, str]
    ) -> Scene:
        """The form for an address. `kinds`: the ways to choose from, and what each takes."""
        return structs.replace(
            self.code(visit, look, words, manner),
            kind="address",
            help=look.view.address_description,
            address_kind=_KINDS.get(kinds[way], "any"),
            ways=self._ways(tuple(kinds), kinds, words) if len(kinds) > 1 else (),
            way=way,
        )

    def _ways(self, names: Sequence[str], kinds: Mapping[str, str], words: Words) -> tuple[Way, ...]:
        """With titles that can be told apart."""
        titles = {name: self._title(name, kinds[name], words) for name in names}
        every = list(titles.values())
        return tuple(
            Way(name, title if every.count(title) == 1 else f"{title} ({name})")
            for name, title in titles.items()
        )

    def _title(self, name: str, kind: str, words: Words) -> str:
        return self._titles.get(name) or (words.say(f"way_{kind}") if kind in _KINDS else name)


def _kind(visit: Visit, view: View) -> Kind:
    end = _ENDS.get(view.state)
    if end is not None:
        return end
    if visit.right != "link":
        return "code"
    return "link" if visit.closes(view.purpose) else "show"
