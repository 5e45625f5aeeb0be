"""`[tenants.NAME.page]`: what becomes of a logo, a colour and own texts, and what is refused."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from otpsvc.config.logo import LOGO_MAX, logo_uri
from otpsvc.language import catalogues, words
from otpsvc.tenant import PageLook
from tests.config_place import SHOP, Place

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
WEBP = b"RIFF\x1a\0\0\0WEBPVP8L"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{}</svg>'
PAGE = SHOP + "[tenants.shop.page]\n"
WHERE = "FILE: tenants.shop.page"
LINE = "expected one line of at most 300 characters, without control characters"
#: What may stand in a `url("…")` of a style as it is.
PLAIN = re.compile(r"[A-Za-z0-9:/;,.+=%*!~_-]+")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def look(place: Place, text: str, **environ: str) -> PageLook:
    return place.load(PAGE + text, environ).tenants["shop"].page


def test_a_page_of_its_own(place: Place) -> None:
    place.file("art/logo.png", PNG)
    page = look(
        place,
        'logo = "art/logo.png"\naccent = "#1A56C4"\nhelp = "Call us: 112 (day & night)"\n'
        '[tenants.shop.page.texts.en]\ncode_title = "Enter it"\n'
        '[tenants.shop.page.texts.DE_at]\ncode_help_any = "An {to}, von {sender}"\n',
    )

    assert page.logo == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert (page.accent, page.help) == ("#1a56c4", "Call us: 112 (day & night)")
    assert page.texts == {
        "en": {"code_title": "Enter it"},
        "de-AT": {"code_help_any": "An {to}, von {sender}"},
    }
    assert words("de-AT", page.texts).say("code_help_any", to="x", sender="y") == "An x, von y"


def test_without_a_table_pages_look_like_ours(place: Place) -> None:
    tenant = place.load(SHOP).tenants["shop"]

    assert tenant.page == PageLook()
    assert tenant.locale == ""


def test_the_environment_reaches_texts_too(place: Place) -> None:
    page = look(
        place,
        '[tenants.shop.page.texts.de-AT]\nskip = "Weiter"\n',
        OTPSVC_TENANTS__SHOP__PAGE__ACCENT="#000000",
        OTPSVC_TENANTS__SHOP__PAGE__TEXTS__DE_AT__CODE_TITLE="Code, bitte",
        OTPSVC_TENANTS__SHOP__PAGE__TEXTS__ES_MX__SKIP="Sigue",
    )

    assert page.accent == "#000000"
    assert page.texts == {
        "de-AT": {"skip": "Weiter", "code_title": "Code, bitte"},
        "es-MX": {"skip": "Sigue"},
    }


def test_the_environment_may_hold_all_texts_at_once(place: Place) -> None:
    whole = '{es = {skip = "Sigue"}}'

    assert look(place, "", OTPSVC_TENANTS__SHOP__PAGE__TEXTS=whole).texts == {"es": {"skip": "Sigue"}}
    slip = "OTPSVC_TENANTS__SHOP__PAGE__TEXTS__ES__SKIPP"
    assert place.wrong(PAGE, {slip: "Sigue"}) == [
        f'environment: {slip}: expected a text of the pages (did you mean "skip"?)'
    ]


def test_every_text_of_a_catalogue_may_be_set(place: Place) -> None:
    for locale, catalogue in catalogues().items():
        lines = "".join(f"{key} = '{text}'\n" for key, text in catalogue.texts.items() if "'" not in text)

        assert place.wrong(PAGE + f"[tenants.shop.page.texts.{locale}]\n{lines}") == []


# Refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('accent = "red"', 'accent: expected a colour such as "#1a56c4", got "red"'),
        ('accent = "#12345"', 'accent: expected a colour such as "#1a56c4", got "#12345"'),
        ('accent = "#123456;}"', 'accent: expected a colour such as "#1a56c4", got "#123456;}"'),
        ('help = "a\\nb"', f'help: {LINE}, got "a\\nb"'),
        ('help = "a\\u202eb"', f'help: {LINE}, got "a\\u202eb"'),
        (f'help = "{"x" * 301}"', f'help: {LINE}, got "{"x" * 60}…"'),
        ("help = 5", "help: expected a string, got 5"),
        ('logo = ["a"]', "logo: expected a string, got a list of 1"),
        ('colour = "#000000"', "colour: expected one of accent, help, logo, texts"),
        ('texts = "de"', 'texts: expected a table, got "de"'),
        ("texts = {de = 5}", "texts.de: expected a table, got 5"),
        ("texts = {de = {skip = 5}}", "texts.de.skip: expected a string, got 5"),
    ],
)
def test_a_wrong_value_is_named(place: Place, text: str, message: str) -> None:
    assert place.wrong(PAGE + text) == [f"{WHERE}.{message}"]


@pytest.mark.parametrize("locale", ["fr", "../de", "", "english", "de_"])
def test_a_language_that_the_pages_lack(place: Place, locale: str) -> None:
    (found,) = place.wrong(f'{PAGE}texts = {{"{locale}" = {{skip = "x"}}}}')

    assert found.startswith(f"{WHERE}.texts.")
    assert found.endswith(
        'expected a language of the pages (ar, de, en, es, id), or one with its region, such as "de-AT"'
    )


def test_a_language_stands_there_once(place: Place) -> None:
    twice = 'texts = {de-AT = {skip = "x"}, "de_at" = {skip = "y"}}'

    assert place.wrong(PAGE + twice) == [
        f'{WHERE}.texts.de_at: expected each language once, got "de-AT" twice'
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('code_titel = "x"', 'code_titel: expected a text of the pages (did you mean "code_title"?)'),
        ('xyz = "x"', "xyz: expected a text of the pages (docs/languages.md)"),
        ('skip = ""', f'skip: {LINE} (without this key, the text is ours), got ""'),
        ('skip = "a\\tb"', f'skip: {LINE} (without this key, the text is ours), got "a\\tb"'),
        ('skip = "{to}"', "skip: expected no braces, got {to}"),
        ('skip = "{"', 'skip: expected no braces, got "{"'),
        ('code_help_any = "{sender} {code}"',
         "code_help_any: expected only {sender} and {to} in braces, got {code}"),
        ('attempts_left = "{Count}"', 'attempts_left: expected only {count} in braces, got "{Count}"'),
        ('attempts_left = "{count.__class__}"',
         'attempts_left: expected only {count} in braces, got "{count.__class__}"'),
        ('attempts_left = "{{count}}"', 'attempts_left: expected only {count} in braces, got "{{count}}"'),
    ],
)  # fmt: skip
def test_a_text_that_the_pages_could_not_say(place: Place, line: str, message: str) -> None:
    assert place.wrong(f"{PAGE}[tenants.shop.page.texts.de]\n{line}") == [f"{WHERE}.texts.de.{message}"]


def test_everything_wrong_is_named_at_once(place: Place) -> None:
    found = place.wrong(
        PAGE + 'accent = "x"\nlogo = "none.svg"\ntexts = {fr = {}, de = {a = "x", skip = "{"}}'
    )

    assert len(found) == 5


# Logos


@pytest.mark.parametrize(("content", "kind"), [(PNG, "png"), (JPEG, "jpeg"), (WEBP, "webp")])
def test_a_picture_is_known_by_its_content(place: Place, content: bytes, kind: str) -> None:
    place.file("logo.svg", content)
    uri = look(place, 'logo = "logo.svg"').logo

    assert uri.startswith(f"data:image/{kind};base64,")
    assert base64.b64decode(uri.partition(",")[2]) == content
    assert PLAIN.fullmatch(uri)


@pytest.mark.parametrize(
    "inside",
    [
        '<path fill="red" d="M1 1h2"/>',
        '<defs><linearGradient id="a"/></defs><rect fill="url(#a)" style="stroke:url( \'#a\' )"/>',
        '<use href="#a"/><use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="#a"/>',
        '<image href="data:image/png;base64,AAAA"/>',
        '<style>.a { fill: url(#a) } /* (c) Ünï "x" */</style>',
        "<title>Shop &amp; Söhne &#8212; 100 %</title>\n<!-- <script> -->",
        '<animate attributeName="opacity" to="0"/>',
        '<metadata xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:RDF r:about=""/></metadata>',
    ],
)
def test_an_svg_that_stays_by_itself(place: Place, inside: str) -> None:
    for head in ("", '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n', "\ufeff"):
        place.file("logo", head + SVG.format(inside))
        uri = look(place, 'logo = "logo"').logo

        assert PLAIN.fullmatch(uri)
        assert unquote(uri) == "data:image/svg+xml," + (head + SVG.format(inside)).removeprefix("\ufeff")


OUTSIDE = "references to the outside"


@pytest.mark.parametrize(
    ("inside", "what"),
    [
        ("<script>alert(1)</script>", "<script>"),
        ("<SCRIPT/>", "<script>"),
        ('<h:script xmlns:h="http://www.w3.org/1999/xhtml"/>', "<script>"),
        ("<foreignObject/>", "<foreignobject>"),
        ('<path onclick="x()"/>', "handlers of events"),
        ('<path OnLoad="x()"/>', "handlers of events"),
        ('<image href="https://mallory.example/x.png"/>', OUTSIDE),
        ('<image href="//mallory.example/x.png"/>', OUTSIDE),
        ('<image href="logo.png"/>', OUTSIDE),
        ('<a href="javascript:x()"/>', OUTSIDE),
        ('<a href="java&#115;cript:x()"/>', OUTSIDE),
        ('<use xmlns:l="http://www.w3.org/1999/xlink" l:href="https://mallory.example/#a"/>', OUTSIDE),
        ('<use href="data:image/svg+xml,&lt;svg/>"/>', OUTSIDE),
        ('<g xml:base="https://mallory.example/"><use href="#a"/></g>', OUTSIDE),
        ('<path fill="url(https://mallory.example/#a)"/>', OUTSIDE),
        ("<path style=\"fill: URL( '//mallory.example')\"/>", OUTSIDE),
        ('<path style="fill:u\\72l(//mallory.example)"/>', OUTSIDE),
        ("<style>@import 'https://mallory.example';</style>", OUTSIDE),
        ("<style>@im<!-- -->port 'https://mallory.example';</style>", OUTSIDE),
        ("<style>@im<![CDATA[port 'https://mallory.example']]></style>", OUTSIDE),
        ("<style>a{b:image-set('//mallory.example' 1x)}</style>", OUTSIDE),
        ('<set attributeName="href" to="https://mallory.example"/>', "animated references"),
        ('<set attributeName="xlink:href" to="x"/>', "animated references"),
        ('<?xml-stylesheet href="https://mallory.example"?>', "processing instructions"),
    ],
)
def test_an_svg_that_runs_or_fetches_is_refused(place: Place, inside: str, what: str) -> None:
    place.file("logo.svg", SVG.format(f"\n{inside}"))

    (found,) = place.wrong(PAGE + 'logo = "logo.svg"')
    assert found == f'{WHERE}.logo: expected a logo (an svg without {what}, line 2), got "logo.svg"'


BOMB = '<!DOCTYPE s [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>' + SVG.format("&b;")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an svg, png, webp or jpeg picture"),
        (b"GIF89a", "an svg, png, webp or jpeg picture"),
        (b"RIFF\0\0\0\0WAVE", "an svg, png, webp or jpeg picture"),
        (b"<html><script/></html>", "an svg, png, webp or jpeg picture"),
        (SVG.encode()[:-1], "an svg, png, webp or jpeg picture"),
        (SVG.encode("utf-16"), "an svg, png, webp or jpeg picture"),
        (b"<svg/>", 'an svg with xmlns="http://www.w3.org/2000/svg"'),
        (BOMB.encode(), "an svg without a document type, line 1"),
        (b'<?xml version="1.0" encoding="shift_jis"?>' + SVG.encode(),
         "an svg without an encoding other than UTF-8, line 1"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_logo(place: Place, content: bytes, what: str) -> None:
    place.file("logo", content)

    assert place.wrong(PAGE + 'logo = "logo"') == [f'{WHERE}.logo: expected a logo ({what}), got "logo"']


def test_a_logo_is_small(place: Place) -> None:
    place.file("logo", PNG + bytes(LOGO_MAX - len(PNG)))
    assert place.wrong(PAGE + 'logo = "logo"') == []

    place.file("logo", PNG + bytes(LOGO_MAX - len(PNG) + 1))
    assert place.wrong(PAGE + 'logo = "logo"') == [
        f"{WHERE}.logo: expected a logo of at most 10,240 bytes, got 10,241"
    ]


def test_a_logo_must_be_there(place: Place) -> None:
    assert place.wrong(PAGE + 'logo = "none.svg"') == [
        f'{WHERE}.logo: expected an existing file, got "none.svg"'
    ]


@pytest.mark.parametrize("head", ["<svg", "<!--", '<svg xmlns="', "&", "<?xml", "<![CDATA["])
def test_deep_and_broken_files_are_only_refused(head: str) -> None:
    with pytest.raises(ValueError, match="svg"):
        logo_uri((SVG.format("") + head * 1_500)[:LOGO_MAX].encode())
    with pytest.raises(ValueError, match="svg"):
        logo_uri((SVG[:-8] + "<g>" * 3_000)[:LOGO_MAX].encode())
