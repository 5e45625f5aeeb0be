"""What pages show: every kind in every language, forms, errors, and nobody else's markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs

from otpsvc.http.pages.scene import Kind, Scene, Way
from otpsvc.http.pages.stage import Stage
from otpsvc.language import words
from otpsvc.tenant import PageLook, Tenant
from tests.http.page_shown import KINDS, LANGUAGES, Document, read, scene

FORMS: tuple[Kind, ...] = ("code", "link", "address")
ENDS: tuple[Kind, ...] = ("done", "expired", "locked", "cancelled", "gone", "busy")
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}</style>"
#: Seconds and what they read as; js/test/page.test.mjs holds the script to the same.
SPANS = {
    0: "0\u00a0s",
    59: "59\u00a0s",
    60: "1\u00a0min",
    61: "2\u00a0min",
    3540: "59\u00a0min",
    3541: "1\u00a0h",
    3601: "2\u00a0h",
}


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


# --- what is there ---------------------------------------------------------


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_page_in_every_language(stage: Stage, kind: Kind, locale: str) -> None:
    said = words(locale)

    page = read(stage, scene(kind, locale, theme="dark"))

    (html,) = page.all("html")
    title = said.say(f"{kind}_title")
    assert html == {"lang": locale, "dir": said.direction, "data-theme": "dark"}
    assert page.texts["h1"] == title
    assert page.texts["title"].strip() == f"{title} – Northwind"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.one("live")["role"] == "status"


@pytest.mark.parametrize("kind", FORMS)
def test_every_form_carries_what_a_post_needs(stage: Stage, kind: Kind) -> None:
    page = read(stage, scene(kind, "de", lang="de", theme="light"))

    assert {(form["method"], form["action"]) for form in page.all("form")} == {("post", "?")}
    for inputs in page.forms():
        hidden = {one["name"]: one["value"] for one in inputs if one.get("type") == "hidden"}
        assert hidden.items() >= {
            ("t", "token-of-the-page"),
            ("lang", "de"),
            ("theme", "light"),
            ("op", "0123456789abcdef"),
        }


@pytest.mark.parametrize("kind", [*ENDS, "show"])
def test_other_pages_have_no_form(stage: Stage, kind: Kind) -> None:
    page = read(stage, scene(kind))

    assert page.all("form") == page.all("input") == page.all("button") == []


@pytest.mark.parametrize(("alphabet", "keyboard"), [("digits", "numeric"), ("letters", "text")])
def test_one_input_for_the_code(stage: Stage, alphabet: str, keyboard: str) -> None:
    page = read(stage, scene(alphabet=alphabet))

    box = page.one("otp")
    assert (box["type"], box["inputmode"], box["dir"]) == ("text", keyboard, "ltr")
    assert (box["autocomplete"], box["autocapitalize"], box["spellcheck"]) == (
        "one-time-code",
        "none",
        "false",
    )
    assert "maxlength" not in box
    assert {"for": "otp"} in page.all("label")
    assert page.one(box["aria-describedby"])
    assert [one["name"] for one in page.all("input") if one.get("type") != "hidden"] == ["otp"]


@pytest.mark.parametrize(
    ("kind", "type", "complete"),
    [("email", "email", "email"), ("phone", "tel", "tel"), ("any", "text", "on")],
)
def test_an_input_for_each_kind_of_address(stage: Stage, kind: str, type: str, complete: str) -> None:
    page = read(stage, scene("address", address_kind=kind, typed="john@"))

    box = page.one("to")
    assert (box["type"], box["inputmode"], box["autocomplete"]) == (type, type, complete)
    assert box["value"] == "john@"


def test_an_error_is_told_and_linked(stage: Stage) -> None:
    page = read(stage, scene(error="This code is not right."))

    assert page.texts["title"].startswith("Please check: ")
    assert page.one("error")["role"] == "alert"
    assert {"href": "#otp"} in page.all("a")
    assert page.one("otp")["aria-invalid"] == "true"
    assert page.one("otp")["aria-describedby"] == "error hint"


def test_an_error_about_something_else_blames_no_input(stage: Stage) -> None:
    page = read(stage, scene(error="A message was just sent.", error_in="page"))

    assert page.one("error")["role"] == "alert"
    assert "aria-invalid" not in page.one("otp")
    assert {"href": "#otp"} not in page.all("a")


def test_waits_are_told_without_script_and_refused_by_the_server_alone(stage: Stage) -> None:
    text = stage.show(scene(ways=(Way("sms", "Text message"),)))[0].decode()

    assert ">Send again in 18\u00a0s</button>" in text
    assert 'name="provider" value="sms"' in text
    assert "disabled" not in text.partition("<body>")[2]
    assert ">Valid for 5\u00a0min<" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"message": "queued"}, "The message is on its way."),
        ({"message": "delivered"}, "Delivered 12\u00a0s ago."),
        ({"uncertain": True}, "Sent 12\u00a0s ago, perhaps twice."),
        ({"message": "failed"}, "The message could not be delivered. Try again"),
        ({"notice": "A message was sent."}, "A message was sent."),
        ({"can_resend": False, "sends_left": 0}, "No more messages can be sent"),
        ({"help": "Look into your letter box."}, "Look into your letter box."),
    ],
)
def test_what_a_code_page_says(stage: Stage, more: dict[str, Any], said: str) -> None:
    assert said in stage.show(scene(**more))[0].decode()


def test_a_code_of_unknown_length_has_no_hint(stage: Stage) -> None:
    page = read(stage, scene(length=0))

    assert "aria-describedby" not in page.one("otp")
    assert "hint" not in {attributes.get("id") for _, attributes in page.tags}


def test_only_the_waiting_person_gets_the_focus(stage: Stage) -> None:
    assert "autofocus" in read(stage, scene()).one("otp")
    assert "autofocus" not in read(stage, scene(framed=True)).one("otp")
    assert not {"autofocus", "data-focus"} & set(read(stage, scene("link")).one("otp"))


def test_links_hold_for_any_id(stage: Stage) -> None:
    odd = scene(id="mailto:x/ü?")

    assert odd.address_url == "./mailto%3Ax%2F%C3%BC%3F/address?t=token-of-the-page"
    assert structs.replace(odd, kind="address").code_url == "../mailto%3Ax%2F%C3%BC%3F?t=token-of-the-page"


@pytest.mark.parametrize(("seconds", "said"), SPANS.items())
def test_spans_as_the_script_counts_them(seconds: int, said: str) -> None:
    assert words("en").span(seconds) == said


# --- what is not there -----------------------------------------------------


def everywhere(text: str) -> Iterator[Scene]:
    """A hostile text in every place that takes one."""
    tenant = Tenant(
        name="shop",
        title=text,
        page=PageLook(help=text, texts={"en": dict.fromkeys(words("en").texts, text)}),
    )
    texts = ("help", "to", "token", "lang", "op", "id", "namespace", "version", "typed", "prefill", "way")
    more = dict.fromkeys((*texts, "error", "notice", "receipt"), text)
    for kind in KINDS:
        yield scene(kind, tenant=tenant, ways=(Way(text, text), Way("b", text)), **more)
        yield scene(kind, tenant=tenant, ways=(Way(text, text), Way("b", text)))


@pytest.mark.parametrize("text", [HOSTILE, "</main><form action=https://evil.example>", '" autofocus x="'])
def test_words_of_others_stay_text(stage: Stage, text: str) -> None:
    for hostile, plain in zip(everywhere(text), everywhere("words"), strict=True):
        shown, meant = read(stage, hostile).tags, read(stage, plain).tags

        assert [(tag, set(attributes)) for tag, attributes in shown] == [
            (tag, set(attributes)) for tag, attributes in meant
        ]
        assert {attributes["action"] for tag, attributes in shown if tag == "form"} <= {"?"}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_inline_and_nothing_from_elsewhere(stage: Stage, kind: Kind) -> None:
    body = stage.show(scene(kind, error="Something."))[0]

    names = {name for _, attributes in Document(body).tags for name in attributes}
    links = [tag["href"] for tag in Document(body).all("a")]
    assert not [name for name in names if name == "style" or name.startswith("on") or name == "src"]
    assert not re.search(rb"https?:|//[a-z]|@import|url\(", body)
    assert all(link.startswith(("?", "#", "./", "../")) for link in links)


def test_a_scene_shows_nothing_of_itself() -> None:
    assert repr(scene(prefill="246810", to="j@example.com")) == "Scene(code)"
