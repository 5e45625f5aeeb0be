"""Every language of pages and messages is whole, fills in what English does, and fits where it goes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from otpsvc.language import PLACEHOLDER, catalogues, words
from otpsvc.render import Templates, locales, render, web_folder
from otpsvc.tenant import PURPOSES, Purpose

LOCALES = sorted(catalogues())
OTHERS = [locale for locale in LOCALES if locale != "en"]
#: Languages that may not lack a text; a new one may grow.
WHOLE = {"en", "id", "de", "es", "ar"}
ENGLISH = catalogues()["en"].texts
#: What is the same word in that language as in English.
SAME = {"de": {"code_label"}, "es": {"span_seconds", "span_minutes", "span_hours"}}
PARTS = {"subject.txt", "text.txt", "mail.toml", "sms.txt"}
URL = "https://otp.example/otp/shop/abc?t=x#otp=123456"

#: 3GPP TS 23.038, 6.2.1; the extension table counts double.
GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_DOUBLE = set("^{}\\[~]|€\f")


def message(
    locale: str, kind: str, *, purpose: Purpose = "authentication", **values: str | int
) -> tuple[str, str, str]:
    """Subject, text and HTML."""
    filled: dict[str, str | int] = {"code": "123456", "title": "Shop", "minutes": 5, "seconds": 300}
    sent = render(Templates(locale=locale), filled | {"purpose": purpose} | values, address_kind_name=kind)
    return sent.subject, sent.text, sent.html


# Pages


def test_pages_and_messages_have_the_same_languages() -> None:
    assert set(LOCALES) == locales()
    assert set(LOCALES) >= WHOLE


@pytest.mark.parametrize("locale", OTHERS)
def test_a_catalogue_has_texts_that_the_pages_know(locale: str) -> None:
    texts = catalogues()[locale].texts

    assert texts.keys() - ENGLISH.keys() == set()
    if locale in WHOLE:
        assert ENGLISH.keys() - texts.keys() == set()


@pytest.mark.parametrize("locale", OTHERS)
def test_a_text_fills_in_what_the_english_one_does(locale: str) -> None:
    for key, text in catalogues()[locale].texts.items():
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(ENGLISH[key])), key


@pytest.mark.parametrize("locale", LOCALES)
def test_a_text_is_one_tidy_line(locale: str) -> None:
    for key, text in catalogues()[locale].texts.items():
        assert text, key
        assert text == " ".join(text.split()) or text == "\u00a0".join(text.split()), key
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e]", text), key
        assert not re.search("[{}]", PLACEHOLDER.sub("", text)), key
        assert text.count("\u2066") == text.count("\u2069"), key


@pytest.mark.parametrize("locale", OTHERS)
def test_no_text_was_left_in_english(locale: str) -> None:
    texts = catalogues()[locale].texts

    assert {key for key, text in texts.items() if text == ENGLISH[key]} == SAME.get(locale, set())


@pytest.mark.parametrize("locale", LOCALES)
def test_every_text_can_be_said(locale: str) -> None:
    """Also where a span ends with a full stop of its own: none comes twice."""
    language = words(locale)
    values = {"sender": "Shop", "to": "a•••@example.com", "way": "SMS", "time": language.span(90)}
    for key in ENGLISH:
        said = language.say(key, **values, count=6)
        assert not re.search(r"[{}]|\.\.|\s[.,:!?]", said), said


def test_names_of_languages_differ() -> None:
    assert len({catalogue.name for catalogue in catalogues().values()}) == len(LOCALES)


def test_arabic_alone_runs_from_right_to_left() -> None:
    assert [locale for locale in LOCALES if catalogues()[locale].direction == "rtl"] == ["ar"]


# Messages


@pytest.mark.parametrize("locale", LOCALES)
def test_a_language_has_every_part_of_a_message(locale: str) -> None:
    assert {file.name for file in (web_folder() / "messages" / locale).iterdir()} == PARTS


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("minutes", "seconds", "told"), [(5, 300, "5"), (1, 90, "90"), (0, 45, "45")])
def test_every_part_says_code_and_sender_and_its_texts_how_long(
    locale: str, minutes: int, seconds: int, told: str
) -> None:
    subject, text, html = message(locale, "email", minutes=minutes, seconds=seconds)
    _, sms, _ = message(locale, "phone", minutes=minutes, seconds=seconds)

    for part in (subject, text, html, sms):
        assert "123456" in part
        assert "Shop" in part
    for part in (text, html, sms):
        assert re.search(rf"\b{told}\b", part)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("url", [URL, ""])
def test_only_the_mail_that_confirms_an_address_has_a_link(locale: str, purpose: Purpose, url: str) -> None:
    subject, text, html = message(locale, "email", purpose=purpose, url=url)
    _, sms, _ = message(locale, "phone", purpose=purpose, url=url)
    linked = bool(url) and purpose == "address_confirmation"

    assert (f"\n{URL}\n" in text) == linked
    assert (f'href="{URL}"' in html) == linked
    assert ("://" in text, "<a " in html) == (linked, linked)
    assert "://" not in subject + sms
    assert "\n\n\n" not in text


class Markup(HTMLParser):
    """Tags with their attributes but for language and direction, and the texts between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [one for one in attrs if one[0] not in {"lang", "dir"}]))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", []))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "style":
            self.texts.append(data.strip())


def written_lines(locale: str) -> set[str]:
    """All lines with letters that a language's messages say."""
    subject, text, html = message(locale, "email", purpose="address_confirmation", title="1", url="2")
    sms = message(locale, "phone", title="1")[1]
    lines = [subject, *text.splitlines(), *Markup(html).texts, sms]
    return {line for line in lines if any(map(str.isalpha, line))}


@pytest.mark.parametrize("locale", OTHERS)
def test_no_line_of_a_message_was_left_in_english(locale: str) -> None:
    assert written_lines(locale) & written_lines("en") == set()


@pytest.mark.parametrize("locale", OTHERS)
def test_mails_of_all_languages_look_the_same(locale: str) -> None:
    mine, english = (
        message(one, "email", purpose="address_confirmation", url=URL)[2] for one in (locale, "en")
    )

    assert Markup(mine).tags == Markup(english).tags


@pytest.mark.parametrize("locale", LOCALES)
def test_a_mail_says_its_language_and_direction(locale: str) -> None:
    html = message(locale, "email")[2]

    direction = catalogues()[locale].direction
    assert f'<html lang="{locale}" dir="{direction}">' in html
    # Mail programs keep no attribute of <html>.
    assert f'<table role="presentation" dir="{direction}"' in html


def sms_units(text: str) -> tuple[int, int]:
    """Units that a text takes, and how many one SMS has. (3GPP TS 23.038; 140 octets)."""
    if set(text) <= GSM | GSM_DOUBLE:
        return sum(2 if character in GSM_DOUBLE else 1 for character in text), 160
    return len(text.encode("utf-16-be")) // 2, 70


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("minutes", "seconds"), [(5, 300), (15, 900), (1, 119), (1440, 86_400)])
def test_a_text_message_is_one_sms(locale: str, minutes: int, seconds: int) -> None:
    """With a code of six digits and a title of twelve letters."""
    text = message(locale, "phone", title="Twelveletter", minutes=minutes, seconds=seconds)[1]
    units, most = sms_units(text)

    assert units <= most, f"{units} of {most}: {text}"


def test_units_of_an_sms_are_counted_as_phones_do() -> None:
    assert sms_units("Ñandú") == (5, 70)
    assert sms_units("Ñandu €") == (8, 160)
    assert sms_units("😀") == (2, 70)
