"""Addresses: every kind's reader, the form for digests, the form for logs."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from otpsvc.address import ANY, EMAIL, AddressKind, canonical, masked, phone
from otpsvc.errors import BadAddress

KINDS = [EMAIL, ANY, phone("ID"), phone()]
PLANTED = "mallory.planted"


def refusal(kind: AddressKind, address: str) -> str:
    with pytest.raises(BadAddress) as caught:
        kind.parse(address)
    return caught.value.message


# --- e-mail ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("john@example.com", "john@example.com"),
        ("John.Doe+Tag@Example.COM", "John.Doe+Tag@example.com"),
        ("a!#$%&'*+/=?^_`{|}~-b@example.com", "a!#$%&'*+/=?^_`{|}~-b@example.com"),
        ("root@localhost", "root@localhost"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@例え.テスト", "a@xn--r8jz45g.xn--zckzah"),
        ("a@9to5.example", "a@9to5.example"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
    ],
)
def test_email_keeps_the_local_part_and_lowers_the_domain(written: str, read: str) -> None:
    assert EMAIL.parse(written) == read


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "empty"),
        ("john", "no @"),
        ("@example.com", "before the @"),
        ("john@", "after the @"),
        ("john@shop", "after the @"),
        ("john@example.com.", "after the @"),
        ("john@.example.com", "after the @"),
        ("john@example..com", "after the @"),
        ("john@-example.com", "after the @"),
        ("john@exam_ple.com", "after the @"),
        ("john@192.168.0.1", "after the @"),
        ("john@[192.168.0.1]", "after the @"),
        ("john@" + "x" * 64 + ".com", "after the @"),
        ("john@\u2100.com", "after the @"),
        ("john@fa\u00df.example", "xn--"),
        ("john@\u00fc" + "x" * 70 + ".example", "after the @"),
        (".john@example.com", "before the @"),
        ("john.@example.com", "before the @"),
        ("jo..hn@example.com", "before the @"),
        ('"john doe"@example.com', "before the @"),
        ("john@home@example.com", "before the @"),
        ("(x)john@example.com", "before the @"),
        ("<john@example.com>", "before the @"),
        ("John <john@example.com", "before the @"),
        ("a@b.example,c@d.example", "before the @"),
        (" john@example.com", "before the @"),
        ("john@example.com ", "after the @"),
        ("jöhn@example.com", "before the @"),
        ("a" * 65 + "@example.com", "longer than 64"),
        ("a@" + "x." * 126 + "xxx", "longer than 254"),
        ("a@" + "ü." * 60 + "example", "longer than 254"),
        ("john@example.com\r\nRCPT TO:<mallory@example.com>", "control characters"),
        ("john@example.com\n", "control characters"),
        ("jo\x00hn@example.com", "control characters"),
        ("john@exam\u0085ple.com", "control characters"),
        ("john@example.com\u2028", "control characters"),
        ("john@\ud800.com", "control characters"),
    ],
)
def test_email_refuses(written: str, reason: str) -> None:
    assert reason in refusal(EMAIL, written)


atoms = st.text(alphabet="abzABZ019!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=12)
labels = st.from_regex(r"[a-zA-Z]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
emails = st.builds(
    lambda local, domain: f"{'.'.join(local)}@{'.'.join(domain)}",
    st.lists(atoms, min_size=1, max_size=4),
    st.lists(labels, min_size=2, max_size=4),
)


@given(emails)
def test_email_round_trip(written: str) -> None:
    read = EMAIL.parse(written)

    assert read.rpartition("@")[0] == written.rpartition("@")[0]
    assert read.rpartition("@")[2] == written.rpartition("@")[2].lower()
    assert EMAIL.parse(read) == read


INJECTIONS = "\r\n\x00\x0b\x0c\x1b\x7f\x85\u2028\u2029\ud800"


@given(emails, st.sampled_from(INJECTIONS), st.data())
def test_injection_never_survives(written: str, bad: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(written)))
    planted = written[:at] + bad + written[at:]

    for kind in KINDS:
        refusal(kind, planted)


@given(st.text(max_size=80))
@example("a@\u3002b.c")
def test_what_email_answers_is_plain(written: str) -> None:
    try:
        read = EMAIL.parse(written)
    except BadAddress:
        return

    assert read.isascii()
    assert not set(read) & set(' <>()[],;:"\\')
    assert read.isprintable()


# --- any -------------------------------------------------------------------


def test_any_takes_what_can_be_printed_and_strips_blanks() -> None:
    assert ANY.parse("  Ünïque user/7 ✓ ") == "Ünïque user/7 ✓"
    assert ANY.parse("x" * 256) == "x" * 256


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("x" * 257, "longer than 256"),
        ("a\tb", "control characters"),
        ("a\n", "control characters"),
        ("\ra", "control characters"),
        ("a\u202eb", "cannot be shown"),
        ("a\u200bb", "cannot be shown"),
    ],
)
def test_any_refuses(written: str, reason: str) -> None:
    assert reason in refusal(ANY, written)


@given(st.text(max_size=300))
def test_any_answer_is_printable_and_stable(written: str) -> None:
    try:
        read = ANY.parse(written)
    except BadAddress:
        return

    assert read.isprintable()
    assert 1 <= len(read) <= 256
    assert not any(unicodedata.category(c).startswith("C") for c in read)
    assert ANY.parse(read) == read


@pytest.mark.parametrize(
    ("kind", "tail"),
    [
        (kind, tail)
        for kind in (EMAIL, phone("ID"))
        for tail in ("", " x", "@", "@\u00df.de", "@ü" + "x" * 200)
    ]
    + [(kind, tail) for kind in KINDS for tail in ("\n", "\x00", "x" * 300)],
)
def test_refusal_never_repeats_the_address(kind: AddressKind, tail: str) -> None:
    with pytest.raises(BadAddress) as caught:
        kind.parse(PLANTED + tail)

    error = caught.value
    assert PLANTED not in f"{error} {error!r} {error.message} {error.data}"
    assert (error.code, error.field) == ("invalid_address", "to")


# --- canonical and masked --------------------------------------------------


@pytest.mark.parametrize(
    ("address", "one_form"),
    [
        ("+628126666666", "+628126666666"),
        ("+62 812-6666-666", "+628126666666"),
        ("John.Doe+Tag@Example.COM", "john.doe@example.com"),
        ("john+a+b@example.com", "john@example.com"),
        ("+john@example.com", "+john@example.com"),
        ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
        ("  User-42 ", "user-42"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("not an @ address", "not an @ address"),
        ("", ""),
    ],
)
def test_canonical(address: str, one_form: str) -> None:
    assert canonical(address) == one_form


@given(st.one_of(emails, st.text(max_size=60), st.from_regex(r"\+[1-9][0-9 -]{5,16}", fullmatch=True)))
def test_canonical_is_stable_and_never_fails(address: str) -> None:
    assert canonical(canonical(address)) == canonical(address)


@given(emails)
def test_canonical_is_the_same_before_and_after_reading(address: str) -> None:
    assert canonical(EMAIL.parse(address)) == canonical(address) == canonical(address.upper())


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("john@example.com", "j…@e…"),
        ("j@e.com", "…@e…"),
        ("+628126666666", "…66"),
        ("0812 666 6666", "…66"),
        ("12345", "… (5 characters)"),
        ("some user", "… (9 characters)"),
        ("a\nb@c", "… (5 characters)"),
        ("", "… (0 characters)"),
    ],
)
def test_masked(address: str, shown: str) -> None:
    assert masked(address) == shown


@given(
    st.one_of(emails, st.text(min_size=4, max_size=60), st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
)
def test_masked_keeps_no_full_part(address: str) -> None:
    shown = masked(address)
    assume(len(address) > 3)

    assert address not in shown
    assert shown.isprintable()
    if "@" in shown:
        local, _, domain = address.rpartition("@")
        assert local != shown.partition("@")[0]
        assert domain not in shown
