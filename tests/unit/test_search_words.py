"""Words of the search: inflections of Ukrainian, Russian and English words have one form, other words another."""

from __future__ import annotations

import unicodedata

import pytest

from daarion_appservice.city.search import SearchTerm, found_excerpt, indexed_words, search_terms
from daarion_appservice.city.search_words import words
from daarion_appservice.city.types import Author, AuthorKind, Message, MessageId, RoomId
from daarion_appservice.errors import InvalidInput

WRITER = Author(AuthorKind.CITIZEN, "u_1", "Оксана")


def message(body: str, formatted_body: str | None = None) -> Message:
    return Message(MessageId("m"), RoomId("r"), 1, WRITER, body, 1, formatted_body)


def finds(query: str, body: str) -> bool:
    indexed = indexed_words(message(body)).split()
    return all(
        any(stem == term.stem or stem.startswith(term.prefix) for stem in indexed) for term in search_terms(query)
    )


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("район", "у нашому районі"),
        ("району", "Районами міста"),
        ("каву", "люблю кава"),
        ("фунікулер", "біля фунікулера"),
        ("зустріч", "Зустрічаємось завтра"),
        ("п'ять", "п’ять хвилин"),
        ("ґанок", "на ганок"),
        ("замок", "за́мок"),
        ("красивый", "красивого дома"),
        ("meeting", "two meetings"),
        ("Київ Поділ", "поділ, це київ"),
        ("фуні", "біля фунікулера"),
        ("127", "порт 127"),
        ("район", unicodedata.normalize("NFD", "у нашому Районі")),
        (unicodedata.normalize("NFD", "їжак"), "Їжаки"),
        ("naïve", unicodedata.normalize("NFD", "a naïve idea")),
    ],
)
def test_inflected_words_are_found(query: str, text: str) -> None:
    assert finds(query, text)


@pytest.mark.parametrize(("query", "text"), [("кава", "кавун"), ("район рада", "район"), ("дім", "думка")])
def test_other_words_are_not_found(query: str, text: str) -> None:
    assert not finds(query, text)


@pytest.mark.parametrize("query", ["", " ", "!!!", "👍", '"*'])
def test_query_without_words_is_refused(query: str) -> None:
    with pytest.raises(InvalidInput):
        search_terms(query)


def test_words_contain_no_syntax_of_a_database() -> None:
    text = "o'neil \"x\" a:* 'b' & | ! ( ) - ^ {c} дім-музей e_mail \x00 \\ İ ß ǅ"
    for word in words(text):
        assert all(each == "_" or each.isalnum() for each in word.text + word.stem), word


def test_highlights_count_utf16_units() -> None:
    found = found_excerpt(message("😀 кава тут, ще кавою"), search_terms("кава"))
    units = found.text.encode("utf-16-le")
    marked = [units[2 * start : 2 * end].decode("utf-16-le") for start, end in found.highlights]
    assert marked == ["кава", "кавою"]


def test_excerpt_is_around_the_first_word() -> None:
    found = found_excerpt(message("слово " * 100 + "кінець тут " + "далі " * 100), search_terms("кінець"))
    assert found.text.startswith("…слово")
    assert found.text.endswith("…")
    assert len(found.text) < 210
    start, end = found.highlights[0]
    assert found.text[start:end] == "кінець"


def test_markup_is_neither_found_nor_shown() -> None:
    formatted = '<a href="https://example.org/x">сторінка</a> <span data-mx-spoiler>таємниця</span>'
    shown = message("[сторінка](https://example.org/x) ||таємниця||", formatted)
    assert "example" not in indexed_words(shown)
    assert "таємниц" not in indexed_words(shown)
    assert found_excerpt(shown, [SearchTerm("сторінк", "сторінка")]).text.startswith("сторінка")
