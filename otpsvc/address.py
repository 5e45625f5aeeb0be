"""What an address is: how each kind is read, its one form for digests, its form for logs.

A kind reads what a caller or a person wrote and answers the form that is sent to.
Addresses are read by our own readers alone: those of the standard library silently
cut `a@b<CR><LF>RCPT…` to `a@b` instead of refusing it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from msgspec import Struct

from otpsvc.errors import BadAddress

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#: Dot-atom alone: quoted local parts are legal, unused, and a way to smuggle. (RFC 5321, 4.1.2)
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
#: A last label of digits alone would be an IP address.
_DOMAIN = re.compile(rf"(?:localhost|(?:{_LABEL}\.)+(?!\d+\Z){_LABEL})")
_EMAIL = re.compile(rf"({_LOCAL.pattern})@({_DOMAIN.pattern})")
_E164 = re.compile(r"\+[1-9][0-9]{4,14}")
#: Octets. (RFC 5321, 4.5.3.1)
_EMAIL_MAX, _LOCAL_MAX = 254, 64
_ANY_MAX, _PHONE_MAX = 256, 64
#: IDNA 2003, which the standard library speaks, sends `faß.de` to `fass.de`; IDNA 2008
#: to another owner's domain. Such names must come in their `xn--` form.
_DEVIATIONS = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")

#: What contact apps put around numbers: direction marks and zero-width characters are
#: dropped, the many dashes and blanks become the plain ones.
_MARKS = (*range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF)
_PHONE_MARKS: dict[int, str | None] = {
    **dict.fromkeys(_MARKS),
    **dict.fromkeys((0xAD, *range(0x2010, 0x2016), 0x2212, 0xFF0D), "-"),
    **dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F, 0x3000), " "),
    0xFF0B: "+",
}
_PHONE = re.compile(r" *\+?[0-9 ()./-]+")
_PUNCTUATION = re.compile(r"[ ()./-]")
_DIGITS = "0123456789"
#: What the code of a country may begin with.
_SIGNIFICANT = _DIGITS[1:]
_COUNTRY = re.compile(r"[A-Z]{2}")


class AddressKind(Struct, frozen=True):
    """A kind of address; `label` is what the widget calls it.

    `parse` reads and normalises, and reading its own answer changes nothing.
    It raises BadAddress.
    """

    name: str
    label: str
    parse: Callable[[str], str]


@cache
def phone(country: str = "") -> AddressKind:
    """Phone numbers, read to E.164; national forms are read as those of `country` (ISO, `ID`).

    Without a country only international numbers are taken. A number need not be of a range
    that the library knows, as plans change each month; its length must fit its country.
    Which types of number may be sent to (premium rate, shared cost) is not decided here.
    Raises: ValueError when there is no such country.
    """
    # 31 ms and 1.6 MB, which a service without phones need not pay.
    import phonenumbers

    if country and (not _COUNTRY.fullmatch(country) or country not in phonenumbers.SUPPORTED_REGIONS):
        raise ValueError(
            f"country: expected two upper-case letters (ISO 3166), such as 'ID', not {country!r}"
        )

    code = str(phonenumbers.country_code_for_region(country)) if country else "+"

    def parse(address: str) -> str:
        written = _written_number(address)
        bare = written.lstrip(" ")
        # A `+` that was not escaped in a form arrives as a blank, and `62812…` is how old
        # clients write `+62812…`: read as `+62 62812…` it is another one's number. (ID, DE)
        lost_plus = bare[0] in _DIGITS and (bare != written or bare.startswith(code))
        # What can be read in two ways must be a known number. `44…` of another country has lost its plus too.
        found = (
            (lost_plus and _e164("+" + bare, "", known=True))
            or _e164(bare, country, known=True)
            or (country and bare[0] in _SIGNIFICANT and _e164("+" + bare, "", known=True))
        )
        # One that can be read in one way only may be of a range that is newer than the plans.
        if not found and (lost_plus or bare[0] in "+0"):
            found = _e164("+" + bare if lost_plus else bare, country, known=False)
        if not found:
            raise BadAddress(_number_refused(bare, country))
        return found

    return AddressKind("phone", "Phone number", parse)


def _e164(number: str, country: str, *, known: bool) -> str:
    """The number in E.164, or an empty string; `known`: its range must be in the library's plans."""
    import phonenumbers

    try:
        read = phonenumbers.parse(number, country or None)
    except phonenumbers.NumberParseException:
        return ""
    if phonenumbers.is_possible_number_with_reason(read) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return ""
    if known and not phonenumbers.is_valid_number(read):
        return ""
    written = phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164)
    return written if _E164.fullmatch(written) else ""


def _number_refused(number: str, country: str) -> str:
    if number.startswith("+"):
        return "Not a valid phone number."
    if country:
        return f"Not a valid phone number of {country}."
    return "Not an international phone number: begin with + and the code of the country."


def _written_number(address: str) -> str:
    """The number in plain digits, `+` and punctuation; letters and extensions are refused."""
    _check_size(address, most=_PHONE_MAX)
    _check_controls(address)
    written = _ascii_digits(address.translate(_PHONE_MARKS)).rstrip(" ")
    if not written:
        raise BadAddress("The address is empty.")
    if not _PHONE.fullmatch(written):
        raise BadAddress("Not a phone number: only digits, blanks, ( ) . / - and a leading + are taken.")
    return written


def _ascii_digits(text: str) -> str:
    """The text with every decimal digit of any script as 0-9 (`str.isdigit` also takes ² and ①)."""
    if text.isascii():
        return text
    return "".join(c if (n := unicodedata.decimal(c, None)) is None else str(n) for c in text)


def _parse_email(address: str) -> str:
    _check_size(address, most=_EMAIL_MAX)
    _check_controls(address)
    local, at, domain = address.rpartition("@")
    if not at:
        raise BadAddress("Not an e-mail address: there is no @.")
    if len(local) > _LOCAL_MAX:
        raise BadAddress(f"The part before the @ is longer than {_LOCAL_MAX} characters.")
    if not _LOCAL.fullmatch(local):
        raise BadAddress("The part before the @ holds a character that is not taken, or a misplaced dot.")
    domain = _ascii_domain(domain)
    if not _DOMAIN.fullmatch(domain):
        raise BadAddress("The part after the @ is not a domain name.")
    _check_size(local + at + domain, most=_EMAIL_MAX)
    return local + at + domain


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    if _DEVIATIONS.search(domain):
        raise BadAddress("The domain holds a letter that IDNA versions read differently: give its xn-- form.")
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise BadAddress("The part after the @ is not an international domain name.") from None


def _parse_any(address: str) -> str:
    _check_size(address, most=_ANY_MAX)
    text = address.strip(" ")
    if not text:
        raise BadAddress("The address is empty.")
    _check_controls(text)
    if not text.isprintable():
        raise BadAddress("The address holds a character that cannot be shown.")
    return text


def _check_size(address: str, *, most: int) -> None:
    if not address:
        raise BadAddress("The address is empty.")
    if len(address) > most:
        raise BadAddress(f"The address is longer than {most} characters.")


def _check_controls(address: str) -> None:
    if address.isprintable():
        return
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in address):
        raise BadAddress("The address holds control characters.")


#: The local part keeps its case (it is the far end's to read), the domain is lower-case ASCII.
EMAIL = AddressKind("email", "E-mail address", _parse_email)
#: 1 to 256 printable characters, for far ends that know their own addresses.
ANY = AddressKind("any", "Address", _parse_any)


def canonical(address: str) -> str:
    """The one form of a destination for digests, guards and the block list; never sent to.

    A plus-tag is stripped and letter case dropped only here, so that variants of one
    mailbox share one budget. Never raises.
    """
    text = address.strip()
    if text.startswith("+"):
        # An address of kind ANY may hold a number as people write it.
        number = _PUNCTUATION.sub("", text)
        if _E164.fullmatch(number):
            return number
    if "@" in text:
        try:
            return _canonical_email(_parse_email(text))
        except BadAddress:
            pass
    return text.casefold()


def _canonical_email(address: str) -> str:
    local, _, domain = address.lower().partition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def masked(address: str) -> str:
    """The address for logs: `j…@e…`, `…66` of a phone number, of others only the length."""
    if found := _EMAIL.fullmatch(address):
        local, domain = found[1], found[2]
        return f"{local[0] if len(local) > 1 else ''}…@{domain[0]}…"
    number = _PUNCTUATION.sub("", address).removeprefix("+")
    if len(number) >= 7 and number.isascii() and number.isdecimal():
        return f"…{number[-2:]}"
    return f"… ({len(address)} characters)"
