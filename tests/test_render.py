"""Templates: what they say, what they may hold, and what never gets through them."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.errors import BadRequest
from otpsvc.render import (
    VARIABLES,
    Rendered,
    Templates,
    locales,
    render,
    web_folder,
)
from otpsvc.template import STRIPPED, VALUE_MAX
from otpsvc.tenant import Texts

VALUES: dict[str, str | int] = {
    "code": "123456",
    "to": "john@example.com",
    "title": "Shop",
    "minutes": 5,
    "seconds": 300,
    "url": "https://otp.example/otp/shop/abc#x",
    "purpose": "authentication",
    "locale": "en",
    "provider": "smtp",
    "id": "abc",
}
BAD = "\r\n\t\x00\x1b\x7f\x85\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ud800"


def sms(template: str, **values: str | int) -> str:
    return render(Templates(Texts(sms=template)), VALUES | values, address_kind_name="phone").text


# --- what is said ----------------------------------------------------------


def test_mail_has_three_parts_that_say_code_life_and_warning() -> None:
    mail = render(Templates(), VALUES, address_kind_name="email")

    assert mail.subject == "123456 is your Shop verification code"
    for part in (mail.text, mail.html):
        assert "123456" in part
        assert "5 minutes" in part
        assert "Do not share" in part


def test_mail_that_confirms_an_address_links_to_the_page() -> None:
    mail = render(Templates(), VALUES | {"purpose": "address_confirmation"}, address_kind_name="email")

    assert "on this page:\nhttps://otp.example/otp/shop/abc#x\n" in mail.text
    assert 'href="https://otp.example/otp/shop/abc#x"' in mail.html


@pytest.mark.parametrize(
    "values", [{"url": "", "purpose": "address_confirmation"}, {"purpose": "authentication"}]
)
def test_mail_without_a_page_or_for_a_login_has_no_link(values: dict[str, str]) -> None:
    mail = render(Templates(), VALUES | values, address_kind_name="email")

    assert "page" not in mail.text
    assert "://" not in mail.text
    assert "<a " not in mail.html
    assert "\n\n\n" not in mail.text


def test_sms_is_one_short_line() -> None:
    message = render(Templates(), VALUES, address_kind_name="phone")

    assert message == Rendered(
        "", "123456 is your Shop verification code. It is valid for 5 minutes. Do not share it with anyone."
    )


def test_other_kinds_get_the_short_text_with_a_subject() -> None:
    templates = Templates(origins=("https://shop.example",))
    message = render(templates, VALUES, address_kind_name="any")

    assert message.subject == "123456 is your Shop verification code"
    assert message.text.endswith("with anyone.")
    assert message.html == ""


def test_life_under_two_minutes_is_told_in_seconds() -> None:
    assert (
        "90 seconds"
        in render(Templates(), VALUES | {"minutes": 1, "seconds": 90}, address_kind_name="any").text
    )


def test_html_escapes_and_text_does_not() -> None:
    mail = render(Templates(), VALUES | {"title": '<b>A & "B"\''}, address_kind_name="email")

    assert '<b>A & "B"\'' in mail.text
    assert '<b>A & "B"\'' in mail.subject
    assert "<b>" not in mail.html
    assert "&lt;b&gt;A &amp; &#34;B&#34;&#39;" in mail.html


def test_constants_in_html_are_escaped_too() -> None:
    templates = Templates(Texts(html="{{ '<i>' }}{{ url|default('<u>', true) }}<b>{{ title|upper }}</b>"))
    mail = render(templates, {"title": "<s>"}, address_kind_name="email")

    assert mail.html == "&lt;i&gt;&lt;u&gt;<b>&lt;S&gt;</b>"


class Reader(HTMLParser):
    """Collects what a mail client would fetch, and checks that tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "img", "link"}:
            self.open.append(tag)
        self.fetched += [name for name, _ in attrs if name in {"src", "background", "srcset", "data"}]
        self.fetched += [tag] if tag in {"img", "link", "script", "iframe"} else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("locale", sorted(locales()))
def test_default_mail_is_whole_and_fetches_nothing(locale: str) -> None:
    reader = Reader()
    html = render(Templates(locale=locale), VALUES, address_kind_name="email").html
    reader.feed(html)

    assert reader.open == []
    assert reader.fetched == []
    assert "url(" not in html
    assert "@import" not in html
    assert f'<html lang="{locale}"' in html


@pytest.mark.parametrize("locale", sorted(locales()))
def test_every_locale_is_complete(locale: str) -> None:
    folder = web_folder() / "messages" / locale

    assert {file.name for file in folder.iterdir()} == {"subject.txt", "text.txt", "mail.toml", "sms.txt"}


@pytest.mark.parametrize("locale", ["en", "en-GB", "EN_us", "xx", "", "../../otpsvc", "en/../en", "\x00"])
def test_locale_is_looked_up_and_never_a_path(locale: str) -> None:
    assert "verification code" in render(Templates(locale=locale), VALUES, address_kind_name="phone").text


def test_first_layer_with_words_counts() -> None:
    templates = Templates(Texts(sms="tenant {{ code }}"), Texts(sms="channel", subject="channel {{ code }}"))
    message = render(templates, VALUES, address_kind_name="any")

    assert (message.subject, message.text) == ("channel 123456", "tenant 123456")


def test_missing_values_are_empty() -> None:
    assert (
        render(Templates(Texts(sms="[{{ title }}{{ minutes }}]")), {}, address_kind_name="phone").text
        == "[0]"
    )


def test_mixed_up_values_are_a_bug_of_the_caller() -> None:
    with pytest.raises(KeyError, match="otp"):
        render(Templates(), {"otp": "1"}, address_kind_name="phone")
    with pytest.raises(TypeError, match="minutes"):
        render(Templates(), {"minutes": "5"}, address_kind_name="phone")


def test_repr_shows_nothing() -> None:
    message = render(Templates(), VALUES, address_kind_name="email")

    assert f"{message!r} {message!s} {[message]}" == "Rendered(…) Rendered(…) [Rendered(…)]"


def test_templates_name_the_part_at_fault() -> None:
    with pytest.raises(ValueError, match=r"^html: no variable 'cdoe'"):
        Templates(Texts(html="{{ cdoe }}"))
    with pytest.raises(ValueError, match=r"^subject: a subject is one line"):
        Templates(Texts(subject="a\nb"))


# --- values ----------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, empty in VARIABLES.items() if empty == ""])
def test_control_characters_of_values_are_dropped(name: str) -> None:
    planted = f"a{BAD}b\u200fc\u00a0d"
    templates = Templates(Texts(sms=f"{{{{ {name} }}}}", subject=f"{{{{ {name} }}}}"))
    message = render(templates, {name: planted}, address_kind_name="any")

    assert message.text == message.subject == "ab\u200fc\u00a0d"


@given(st.text(max_size=60), st.text(max_size=60))
def test_header_injection_never_survives(title: str, to: str) -> None:
    templates = Templates(Texts(subject="{{ title }} for {{ to }}"))
    subject = render(templates, {"title": title, "to": to}, address_kind_name="email").subject

    assert not STRIPPED.search(subject)


def test_values_are_not_read_as_templates() -> None:
    assert sms("{{ title }}", title="{{ code }}{% if %}") == "{{ code }}{% if %}"


def test_too_long_value_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match="`title`") as caught:
        sms("{{ title }}", title="x" * (VALUE_MAX + 1))

    assert caught.value.field == "title"


@pytest.mark.parametrize(
    ("kind", "part"), [("phone", "sms"), ("email", "text"), ("email", "html"), ("email", "subject")]
)
def test_output_is_capped(kind: str, part: str) -> None:
    templates = Templates(Texts(**{part: "{{ to }}" * (2 if part == "subject" else 900)}))
    started = time.process_time()

    with pytest.raises(BadRequest, match="longer than"):
        render(templates, {"to": "<" * VALUE_MAX}, address_kind_name=kind)
    assert time.process_time() - started < 1


def test_errors_hold_no_values() -> None:
    with pytest.raises(BadRequest) as caught:
        sms("{{ to }}\n{{ title }}", to="secret-address", title="@planted #123456")

    assert "planted" not in repr(caught.value)
    assert "123456" not in repr(caught.value)
