"""The `[tenants.NAME]` tables: secrets, words and callbacks become tenants."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, field, structs

from otpsvc.address import phone
from otpsvc.config.pages import PageTable, read_page
from otpsvc.config.reading import CheckTemplate, Reader, check_text, each
from otpsvc.config.values import is_private_url, read_callback_url, read_origin, read_webhook_secret
from otpsvc.config.words import Key
from otpsvc.tenant import Codes, Limits, Scope, Secret, Tenant, Texts

S = TypeVar("S", bound=Struct)

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_HASH_PREFIXES = ("otpsvc1$", "$argon2id$")
_SECRET_MIN = 8
_SECRET_KEYS = ("secret_hash", "secret_file", "secret")
_TEXT_KEYS = ("subject", "text", "html", "sms")
#: Seconds.
_WAIT_MAX = 86_400
_HTTPS = "an https URL (http only for this machine, or with callback_insecure = true)"


class TextsTable(Texts, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tenants.NAME.templates]`: each text inline or in a file."""

    subject_file: str = ""
    text_file: str = ""
    html_file: str = ""
    sms_file: str = ""


class TenantTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[tenants.NAME]` table as it is written; `Tenant` says what the keys mean."""

    secret_hash: tuple[str, ...] = ()
    secret_file: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    title: str = ""
    scopes: frozenset[Scope] = frozenset({"otp"})
    country: str = ""
    locale: str = ""
    channels: tuple[str, ...] = ()
    open_view: bool = False
    origins: tuple[str, ...] = ()
    require_receipt: bool | None = None
    callback_url: str = ""
    callback_secret: str = ""
    callback_secret_file: str = ""
    #: Take a callback_url that others on the way can read.
    callback_insecure: bool = False
    codes: Codes = field(default_factory=Codes)
    limits: Limits = field(default_factory=Limits)
    templates: TextsTable = field(default_factory=TextsTable)
    page: PageTable = field(default_factory=PageTable)

    def __repr__(self) -> str:
        return "TenantTable(…)"

    __str__ = __repr__


class TenantReader:
    """Makes tenants; `ways` are the names of channels and routes, `codes` and `limits` the defaults."""

    def __init__(
        self,
        reader: Reader,
        *,
        ways: Collection[str],
        codes: Codes,
        limits: Limits,
        check_template: CheckTemplate | None,
    ) -> None:
        self._reader = reader
        self._ways = ways
        self._codes = codes
        self._limits = limits
        self._check_template = check_template

    def tenant(self, name: str, table: object) -> Tenant | None:
        """One tenant; None (and problems) when its table cannot be read."""
        key: Key = ("tenants", name)
        read = self._reader.struct(TenantTable, table, key)
        if read is None or not isinstance(table, dict):
            return None
        self._check(read, key)
        return Tenant(
            name=name,
            title=read.title,
            secrets=self._secrets(read, table, key),
            scopes=read.scopes,
            country=read.country,
            locale=read.locale,
            channels=read.channels,
            codes=self._folded_codes(read, table, key),
            limits=self._folded_limits(read, table, key),
            templates=self._texts(read.templates, (*key, "templates")),
            page=read_page(self._reader, read.page, (*key, "page")),
            open_view=read.open_view,
            origins=read.origins,
            require_receipt=read.require_receipt,
            callback_url=read.callback_url,
            callback_secret=self._callback_secret(read, key),
        )

    def _check(self, read: TenantTable, key: Key) -> None:
        reader = self._reader
        if read.country:
            words = 'two upper-case letters (ISO 3166-1), such as "ID"'
            reader.refine((*key, "country"), words, read.country, phone)
        if read.locale and not _LOCALE.fullmatch(read.locale):
            reader.wrong_value((*key, "locale"), 'a locale such as "en" or "pt-BR"', read.locale)
        for here, way in each((*key, "channels"), read.channels):
            if way not in self._ways:
                words = f"a channel or route ({', '.join(sorted(self._ways)) or 'there are none'})"
                reader.wrong_value(here, words, way)
        for here, origin in each((*key, "origins"), read.origins):
            words = 'an origin such as "https://shop.example" (lower case, no path; http only for localhost)'
            reader.refine(here, words, origin, read_origin)
        if read.open_view:
            reader.warn((*key, "open_view"), "whoever knows or guesses an id can open its page")

    # Secrets

    def _secrets(self, read: TenantTable, table: Mapping[str, object], key: Key) -> tuple[Secret, ...]:
        """All secrets that are valid at once. A tenant without any is a problem."""
        hashes = [self._hash(text, here) for here, text in each((*key, "secret_hash"), read.secret_hash)]
        files = [
            self._secret_file(path, here) for here, path in each((*key, "secret_file"), read.secret_file)
        ]
        plain = [self._plain(text, here) for here, text in each((*key, "secret"), read.secret)]
        if read.secret:
            self._reader.warn_plain((*key, "secret"), others=["secret_hash", "secret_file"])
        found = tuple(one for one in (*hashes, *files, *plain) if one)
        if not any(table.get(name) for name in _SECRET_KEYS):
            self._reader.wrong(key, "at least one of secret_hash, secret_file and secret", "none")
        return found

    def _hash(self, text: str, key: Key) -> Secret | None:
        if text.startswith(_HASH_PREFIXES) and text.isprintable() and " " not in text:
            return Secret(text)
        self._reader.wrong_value(key, 'a hash that starts with "otpsvc1$" or "$argon2id$"', text)
        return None

    def _plain(self, text: str, key: Key) -> Secret | None:
        if len(text) >= _SECRET_MIN:
            return Secret(text, plain=True)
        self._reader.wrong_value(key, f"a secret of at least {_SECRET_MIN} characters", text)
        return None

    def _secret_file(self, path: str, key: Key) -> Secret | None:
        """The hash or plain secret on the first line of a file."""
        line = self._first_line(path, key)
        if not line:
            return None
        if line.startswith(_HASH_PREFIXES):
            return self._hash(line, key)
        self._reader.warn_exposed(key, Path(path))
        return self._plain(line, key)

    def _first_line(self, path: str, key: Key) -> str:
        text = self._reader.text(key, path)
        if text is None:
            return ""
        line = text.partition("\n")[0].strip()
        if not line:
            self._reader.wrong(key, "a file with the secret on its first line", "an empty line")
        return line

    def _callback_secret(self, read: TenantTable, key: Key) -> str:
        here, file = (*key, "callback_secret"), (*key, "callback_secret_file")
        self._check_callback_url(read, key)
        secret, source = read.callback_secret, here
        if read.callback_secret_file:
            if secret:
                self._reader.wrong(file, "either callback_secret or callback_secret_file", "both")
                return secret
            secret, source = self._first_line(read.callback_secret_file, file), file
            if secret:
                self._reader.warn_exposed(file, Path(read.callback_secret_file))
        elif secret:
            self._reader.warn_plain(here, others=["callback_secret_file"])
        elif read.callback_url:
            self._reader.wrong(here, "a secret to sign with, beside callback_url", "nothing")
        if secret:
            words = '"whsec_" and the base64 of 24 to 64 bytes'
            self._reader.refine(source, words, secret, read_webhook_secret)
        return secret

    def _check_callback_url(self, read: TenantTable, key: Key) -> None:
        here = (*key, "callback_url")
        if not read.callback_url:
            return
        url = self._reader.refine(
            here,
            _HTTPS,
            read.callback_url,
            lambda url: read_callback_url(url, insecure=read.callback_insecure),
        )
        if url and not is_private_url(url):
            self._reader.warn((*key, "callback_insecure"), "callbacks travel in clear text")

    # Defaults

    def _folded_codes(self, read: TenantTable, table: Mapping[str, object], key: Key) -> Codes:
        codes = folded(self._codes, read.codes, table.get("codes"))
        if codes != self._codes:
            check_codes(self._reader, codes, (*key, "codes"))
        return codes

    def _folded_limits(self, read: TenantTable, table: Mapping[str, object], key: Key) -> Limits:
        limits = folded(self._limits, read.limits, table.get("limits"))
        check_limits(self._reader, read.limits, (*key, "limits"))
        return limits

    # Words

    def _texts(self, table: TextsTable, key: Key) -> Texts:
        texts = {name: self._text(table, name, key) for name in _TEXT_KEYS}
        return Texts(**texts)

    def _text(self, table: TextsTable, name: str, key: Key) -> str:
        inline: str = getattr(table, name)
        file: str = getattr(table, f"{name}_file")
        source = (*key, f"{name}_file" if file else name)
        if file and inline:
            self._reader.wrong(source, f"either {name} or {name}_file", "both")
            return inline
        # Editors end every file with a line end, which no message wants.
        text = (self._reader.text(source, file) or "").rstrip("\r\n") if file else inline
        check_text(self._reader, text, source, self._check_template)
        return text


def folded(defaults: S, own: S, table: object) -> S:
    """The defaults with the keys that a tenant's own table names."""
    names = table.keys() & set(own.__struct_fields__) if isinstance(table, dict) else ()
    return structs.replace(defaults, **{name: getattr(own, name) for name in names})


def check_codes(reader: Reader, codes: Codes, key: Key) -> None:
    """Note rules between the keys of `[codes]`."""
    if codes.max_attempts > codes.max_attempts_cap:
        words = f"an integer of at most max_attempts_cap ({codes.max_attempts_cap})"
        reader.wrong((*key, "max_attempts"), words, str(codes.max_attempts))


def check_limits(reader: Reader, limits: Limits, key: Key) -> None:
    """Note what the types of `[limits]` cannot say."""
    if not limits.waits:
        reader.wrong((*key, "waits"), "at least one number of seconds (0: no wait)", "none")
    for here, wait in each((*key, "waits"), limits.waits):
        if not 0 <= wait <= _WAIT_MAX:
            reader.wrong_value(here, f"seconds from 0 to {_WAIT_MAX}", wait)
    if not limits.enabled:
        reader.warn((*key, "enabled"), "the guards against floods and guessing are off")
