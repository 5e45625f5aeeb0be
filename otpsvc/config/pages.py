"""The `[tenants.NAME.page]` tables: a tenant's logo, colour and own texts become the look of its pages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from msgspec import Struct, field

from otpsvc.config.logo import LOGO_MAX, logo_uri
from otpsvc.config.reading import Reader
from otpsvc.config.words import Key, quoted, shown
from otpsvc.language import DEFAULT, PLACEHOLDER, catalogues, locales, nearest, tag_of
from otpsvc.tenant import PageLook

#: Characters of a line that people read.
_LINE_MAX = 300
_LINE = f"one line of at most {_LINE_MAX} characters, without control characters"
#: Also what turns the direction of all that follows; marks and isolates are a writer's to set.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class PageTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tenants.NAME.page]` as it is written; `PageLook` says what the keys mean."""

    #: A file.
    logo: str = ""
    accent: str = ""
    help: str = ""
    texts: dict[str, dict[str, str]] = field(default_factory=dict)


def read_page(reader: Reader, table: PageTable, key: Key) -> PageLook:
    """The look; what is wrong with it is noted."""
    if table.accent and not _COLOUR.fullmatch(table.accent):
        reader.wrong_value((*key, "accent"), 'a colour such as "#1a56c4"', table.accent)
    if not _is_line(table.help):
        reader.wrong_value((*key, "help"), _LINE, table.help)
    return PageLook(
        logo=_logo(reader, table.logo, (*key, "logo")) if table.logo else "",
        accent=table.accent.lower(),
        help=table.help,
        texts=dict(_languages(reader, table.texts, (*key, "texts"))),
    )


def _is_line(text: str) -> bool:
    return len(text) <= _LINE_MAX and not _CONTROL.search(text)


def _logo(reader: Reader, path: str, key: Key) -> str:
    content = reader.content(key, path)
    if content is None:
        return ""
    if len(content) > LOGO_MAX:
        reader.wrong(key, f"a logo of at most {LOGO_MAX:,} bytes", f"{len(content):,}")
        return ""
    try:
        return logo_uri(content)
    except ValueError as error:
        reader.wrong(key, f"a logo ({error})", shown(path, key))
        return ""


def _languages(
    reader: Reader, tables: Mapping[str, Mapping[str, str]], key: Key
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Clean tag and texts of each language that there is."""
    seen = set()
    for name, texts in tables.items():
        tag, here = tag_of(name), (*key, name)
        if not nearest(tag, catalogues()):
            known = ", ".join(sorted(locales()))
            reader.wrong(here, f'a language of the pages ({known}), or one with its region, such as "de-AT"')
        elif tag in seen:
            reader.wrong(here, "each language once", f"{quoted(tag)} twice")
        else:
            _check_texts(reader, texts, here)
            seen.add(tag)
            yield tag, texts


def _check_texts(reader: Reader, texts: Mapping[str, str], key: Key) -> None:
    reference = catalogues()[DEFAULT].texts
    for name, text in texts.items():
        here = (*key, name)
        if name not in reference:
            reader.wrong(here, _nearest_text(name, reference))
        elif not text or not _is_line(text):
            reader.wrong_value(here, f"{_LINE} (without this key, the text is ours)", text)
        else:
            _check_placeholders(reader, text, reference[name], here)


def _nearest_text(name: str, known: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"a text of the pages ({f'did you mean {quoted(close[0])}?' if close else 'docs/languages.md'})"


def _check_placeholders(reader: Reader, text: str, reference: str, key: Key) -> None:
    """A text may leave out what the reference fills in, and name nothing else in braces."""
    known = dict.fromkeys(PLACEHOLDER.findall(reference))
    unknown = [name for name in PLACEHOLDER.findall(text) if name not in known]
    words = f"only {' and '.join(f'{{{name}}}' for name in known)} in braces" if known else "no braces"
    if unknown:
        reader.wrong(key, words, f"{{{unknown[0]}}}")
    elif re.search("[{}]", PLACEHOLDER.sub("", text)):
        reader.wrong_value(key, words, text)
