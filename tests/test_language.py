"""Which language a reader gets, what stands in for what is missing, and what strangers cannot do."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc import language
from otpsvc.language import Words, choose, locales, tag_of, words
from otpsvc.render import web_folder
from otpsvc.tenant import PageLook

FLOOD = 5_000


def test_a_page_speaks_the_language_that_was_chosen() -> None:
    german = words(choose("", "de-AT", accept="es"))

    assert (german.locale, german.direction) == ("de", "ltr")
    assert german.say("attempts_left", count=3) == "Verbleibende Versuche: 3"
    assert german.say("code_title") == "Code eingeben"


def test_five_languages_are_there() -> None:
    assert locales() >= {"en", "id", "de", "es", "ar"}


# Choice


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ((), "en"),
        (("",), "en"),
        (("de",), "de"),
        (("fr", "", "es", "de"), "es"),
        (("DE_at",), "de-AT"),
        (("es-latn-mx",), "es-Latn-MX"),
        (("ar-EG",), "ar-EG"),
        (("en-GB", "de"), "en-GB"),
        (("fr", "xx"), "en"),
    ],
)
def test_the_first_wanted_locale_that_we_speak_counts(wanted: tuple[str, ...], chosen: str) -> None:
    assert choose(*wanted) == chosen


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de-AT"),
        ("fr-CA, fr;q=0.9, id ; q=0.5 , en;q=0.1", "id"),
        ("en;q=0.3, es;q=0.7", "es"),
        ("de;q=0.5, es;q=0.5", "de"),
        ("de;q=0, es;Q=0.001", "es"),
        ("de;q=0", "en"),
        ("*", "en"),
        ("*, de;q=0.5", "en"),
        ("fr, *;q=0.5", "en"),
        ("*;q=0.1, ar", "ar"),
        ("de;q=2, es;q=abc, id;x=1, ar;q=0.1234", "en"),
        (",, ,de;;,es;q=1.000", "es"),
        ("\tde\t;\tq=1.", "de"),
        ("fr", "en"),
    ],
)
def test_the_browsers_preference_is_read_as_the_standard_says(accept: str, chosen: str) -> None:
    """RFC 9110, 12.5.4 and 12.4.2; what cannot be read is passed over."""
    assert choose(accept=accept) == chosen


def test_the_browser_is_asked_last() -> None:
    assert choose("fr", "id", accept="de") == "id"
    assert choose("fr", "!", accept="de") == "de"


# Strangers

BAD_TAGS = [
    "../de",
    "de/../en",
    "de\n",
    "de\0",
    "d",
    "german",
    "de-",
    "-de",
    "de--AT",
    "dé",
    "de" + "-AT" * 20,
    "de" + "-abcdefgh" * 4,
    "١٢",
]


@pytest.mark.parametrize("tag", BAD_TAGS)
def test_what_is_no_tag_is_passed_over(tag: str) -> None:
    assert tag_of(tag) == ""
    assert choose(tag, "es") == "es"
    assert choose(accept=f"{tag}, es") == "es"
    assert words(tag).locale == "en"


@given(st.text(max_size=60), st.text(max_size=600))
def test_any_text_chooses_a_language_that_is_there(tag: str, accept: str) -> None:
    chosen = choose(tag, accept=accept)

    assert tag_of(chosen) == chosen
    assert words(chosen).locale in locales()
    assert words(tag, {"de": {"skip": "x"}}).locale in locales()


@pytest.mark.parametrize("piece", ["de;q=0.1,", "x", ",", ";q=", "a-", " ", "*,"])
def test_a_header_of_a_megabyte_costs_nothing(piece: str) -> None:
    started = time.process_time()
    choose("a-" * 500_000, accept=piece * 200_000)

    assert time.process_time() - started < 0.5


def test_a_header_is_read_as_far_as_browsers_write_it() -> None:
    assert choose(accept="fr," * 19 + "de") == "de"
    assert choose(accept="fr," * 20 + "de") == "en"
    assert choose(accept=" " * 500 + "de") == "en"


def test_made_up_tags_do_not_fill_the_memory() -> None:
    own = {"de": {"skip": "x"}}
    for at in range(FLOOD):
        words(f"de-x{at}", own)
        choose(accept=f"de-x{at}")

    for cached in (language._tag, language._accepted, language._merged):
        info = cached.cache_info()
        assert info.maxsize
        assert info.currsize <= info.maxsize < FLOOD
    assert language._plain.cache_info().currsize <= len(locales())


# A tenant's own texts

OWN = {
    "en": {"code_title": "Your shop code"},
    "de": {"code_title": "Ihr Shop-Code", "skip": "Weiter"},
    "de-AT": {"code_title": "Ihr Shop-Code, bitte"},
}


@pytest.mark.parametrize(
    ("locale", "found", "title", "skip"),
    [
        ("en", "en", "Your shop code", "Skip to the form"),
        ("en-GB", "en", "Your shop code", "Skip to the form"),
        ("de", "de", "Ihr Shop-Code", "Weiter"),
        ("de-CH", "de", "Ihr Shop-Code", "Weiter"),
        ("de_at", "de-AT", "Ihr Shop-Code, bitte", "Weiter"),
        ("es", "es", "Escribe tu código", "Ir al formulario"),
        ("fr", "en", "Your shop code", "Skip to the form"),
        ("../de", "en", "Your shop code", "Skip to the form"),
    ],
)
def test_own_texts_go_over_ours(locale: str, found: str, title: str, skip: str) -> None:
    own = words(locale, OWN)

    assert (own.locale, own.say("code_title"), own.say("skip")) == (found, title, skip)


def test_own_texts_keep_the_direction_of_their_language() -> None:
    assert words("ar", {"ar": {"skip": "x"}}).direction == "rtl"


def test_own_texts_of_one_tenant_are_not_those_of_another() -> None:
    """Two mappings with the same keys, and one that came after another was thrown away."""
    for at in range(50):
        assert words("de", {"de": {"skip": f"{at}"}}).say("skip") == f"{at}"
    assert words("de").say("skip") == "Zum Formular springen"
    assert words("de", PageLook().texts).say("skip") == "Zum Formular springen"


def test_the_same_words_are_made_once() -> None:
    assert words("de-AT", OWN) is words("de-AT", OWN)
    assert words("de-AT") is words("de")


def test_a_language_needs_no_code_and_not_every_text(tmp_path: Path) -> None:
    """A file beside the others is a language; what it lacks is said in English."""
    package = Path(language.__file__).parent
    shutil.copytree(package, tmp_path / "otpsvc", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(web_folder() / "languages", tmp_path / "web/languages")
    (tmp_path / "web/languages/fr.toml").write_text(
        'name = "Français"\ndirection = "ltr"\n[texts]\nspan_hours = "{count} heures"\n', "utf-8"
    )
    code = (
        "from otpsvc.language import *; w = words(choose('fr-CA')); print(w.locale, w.span(7200), w.span(9))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert run.stdout == "fr 2 heures 9\u00a0s\n"


# Saying


def words_of(text: str, direction: str = "ltr") -> Words:
    assert direction in {"ltr", "rtl"}
    return Words("xx", "rtl" if direction == "rtl" else "ltr", {"key": text})


def test_placeholders_are_filled_once() -> None:
    assert words_of("{a} {b} {a}").say("key", a="{b}", b=2) == "{b} 2 {b}"
    assert words_of("no { braces } {A}").say("key", a=1) == "no { braces } {A}"
    assert words_of("nothing").say("key", a=1) == "nothing"
    assert words_of("{key}").say("key", key="a name of its own") == "a name of its own"


def test_a_value_is_no_format() -> None:
    assert words_of("{a.__class__}{a:>9}{0}").say("key", a=1) == "{a.__class__}{a:>9}{0}"


def test_a_key_or_a_value_that_is_missing_is_a_bug() -> None:
    with pytest.raises(KeyError, match="no_such"):
        words("en").say("no_such")
    with pytest.raises(KeyError, match="count"):
        words("en").say("attempts_left")


def test_texts_stand_apart_in_a_line_from_right_to_left() -> None:
    """Without isolates `+49 30 1` is shown as `1 30 49+`; numbers alone keep their order."""
    said = words_of("{to} {count}", "rtl").say("key", to="+49 30 1", count=3)

    assert said == "\u2068+49 30 1\u2069 3"
    assert words_of("{to}").say("key", to="+49 30 1") == "+49 30 1"


@pytest.mark.parametrize(
    ("seconds", "english", "german", "arabic"),
    [
        (-5, "0\u00a0s", "0\u00a0Sek.", "0\u00a0ث"),
        (0, "0\u00a0s", "0\u00a0Sek.", "0\u00a0ث"),
        (1, "1\u00a0s", "1\u00a0Sek.", "1\u00a0ث"),
        (59, "59\u00a0s", "59\u00a0Sek.", "59\u00a0ث"),
        (60, "1\u00a0min", "1\u00a0Min.", "1\u00a0د"),
        (61, "2\u00a0min", "2\u00a0Min.", "2\u00a0د"),
        (3_540, "59\u00a0min", "59\u00a0Min.", "59\u00a0د"),
        (3_541, "1\u00a0h", "1\u00a0Std.", "1\u00a0س"),
        (3_600, "1\u00a0h", "1\u00a0Std.", "1\u00a0س"),
        (3_601, "2\u00a0h", "2\u00a0Std.", "2\u00a0س"),
        (86_400, "24\u00a0h", "24\u00a0Std.", "24\u00a0س"),
    ],
)
def test_spans_are_rounded_up(seconds: int, english: str, german: str, arabic: str) -> None:
    assert [words(locale).span(seconds) for locale in ("en", "de", "ar")] == [english, german, arabic]
