"""The form of a page: nothing from outside, nothing unescaped, and the same as text within 80 columns."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from countersign.pages.page import (
    WIDTH,
    Beside,
    Block,
    Figure,
    Figures,
    Light,
    Page,
    Section,
    Table,
    Verbatim,
    Words,
    page_html,
    page_text,
)

EVIL = '<script>alert("1")</script><img src=x onerror=alert(1)> & "quoted"'


def page(*blocks: Block, title: str = "Weekly review") -> Page:
    return Page(title, "", [], [Section("Section", blocks)], [])


class Reader(HTMLParser):
    """The elements and the text of a page, as a browser takes them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize(
    "written",
    [
        page(Words([EVIL])),
        page(Words([EVIL], bullets=True)),
        page(Verbatim(EVIL)),
        page(Table((EVIL,), [[EVIL]], "l", caption=EVIL)),
        page(Table(("a",), [[Light("fail", EVIL)]], "l")),
        page(Figures([Figure("<svg></svg>", EVIL, EVIL, Light("ok", EVIL))], [("line", EVIL)])),
        page(title=EVIL),
        Page("", EVIL, [(EVIL, Light("ok", EVIL), EVIL)], [Section(EVIL, [])], [EVIL]),
    ],
)
def test_whatever_is_said_is_shown_as_it_was_written_and_never_taken_for_html(written: Page) -> None:
    found = Reader(page_html(written))
    assert not [tag for tag, _ in found.elements if tag in {"script", "img"}]
    assert EVIL in "".join(found.words)


def test_a_page_asks_for_nothing_from_elsewhere() -> None:
    html = page_html(page(Words(["words"]), Table(("a",), [["b"]], "l"), Figures([Figure("<svg></svg>", "f")])))
    found = Reader(html)
    assert not {"script", "link", "iframe", "img"} & {tag for tag, _ in found.elements}
    targets = [v for _, attrs in found.elements for k, v in attrs.items() if k in {"src", "href", "action"}]
    assert all(target and target.startswith("#") for target in targets)
    assert not re.search(r"https?://|@import|url\(", html)


def test_links_to_sections_lead_somewhere() -> None:
    found = Reader(page_html(Page("t", "", [], [Section("One", []), Section("Two", [])], [])))
    ids = {attrs["id"] for _, attrs in found.elements if "id" in attrs}
    assert {f"#{name}" for name in ids} == {attrs["href"] for tag, attrs in found.elements if tag == "a"}


def test_a_block_is_shown_in_the_form_that_it_is_for() -> None:
    both = page(Words(["everywhere"]), Words(["page only"], form="html"), Verbatim("text only", form="text"))
    html, text = page_html(both), page_text(both)
    assert ("everywhere" in html, "page only" in html, "text only" in html) == (True, True, False)
    assert ("everywhere" in text, "page only" in text, "text only" in text) == (True, False, True)


def test_what_stands_beside_each_other_is_one_below_the_other_as_text() -> None:
    whole = page(Beside([Words(["first"]), Verbatim("page only", form="html")], [Words(["second"])]), Words(["third"]))
    assert [line.strip() for line in page_text(whole).splitlines()][-6:] == ["first", "", "second", "", "third", ""]
    html = page_html(whole)
    assert html.index("first") < html.index("page only") < html.index("second") < html.index("third")


def test_a_link_to_what_is_folded_leads_into_it_so_that_a_browser_opens_it() -> None:
    html = page_html(Page("t", "", [], [Section("One", [Words(["words"])], folded=True)], []))
    inside = html[html.index("</summary>") : html.index("</details>")]
    assert 'id="s1"' in inside
    assert "words" in inside
    assert "One" in html[html.index("<summary>") : html.index("</summary>")]


@pytest.mark.parametrize(
    "whole", ["2008-09-15", "2008-W39", "[-0.0238, +0.0140]", "[+9.7%, +19.5%]", "6% to 92%", "[95 %]"]
)
def test_no_line_breaks_within_a_date_or_an_interval(whole: str) -> None:
    html = page_html(page(Words([f"from {whole}."]), Table((whole,), [[whole]], "l")))
    assert html.count(f'<span class="whole">{whole}</span>') == 3


def test_a_long_name_may_be_broken_at_its_underscores_alone() -> None:
    html = page_html(page(Table(("a",), [["Failed: approval_rate_vs_validation, Not_This."]], "l")))
    assert 'Failed: <span class="name">approval_<wbr>rate_<wbr>vs_<wbr>validation,</span> Not_This.' in html


def test_a_table_as_text_has_its_columns_one_below_the_other_and_wraps_the_last() -> None:
    table = Table(("name", "rows", "reason"), [["MSFT", "7", "word " * 20], ["A", "1234", "short"]], "lrl")
    lines = page_text(page(table)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  name"))
    assert lines[start] == "  name  rows  reason"
    assert lines[start + 1] == "  " + "-" * 78
    assert lines[start + 2].startswith("  MSFT     7  word word")
    assert lines[start + 3].startswith("              word")
    assert "  A     1234  short" in lines


WORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=30)
SENTENCES = st.lists(WORDS, min_size=1, max_size=30).map(" ".join)


@given(sentences=st.lists(SENTENCES, min_size=1, max_size=4), status=st.sampled_from(["ok", "FAIL"]))
@example(sentences=["0 " * 31 + "BTC-USD"], status="ok")
def test_the_text_form_never_passes_80_columns_and_loses_no_word(sentences: list[str], status: str) -> None:
    table = Table(("a", "b"), [["x", sentence] for sentence in sentences], "ll")
    written = Page(
        sentences[0],
        sentences[-1],
        [("data", Light("ok", status), sentences[0])],
        [Section("Section", [Words(sentences), Words(sentences, bullets=True), table])],
        sentences,
    )
    text = page_text(written)
    assert max(map(len, text.splitlines())) <= WIDTH
    found = text.split()
    for sentence in sentences:
        for word in sentence.split():
            # Paragraphs, list, table and foot.
            assert found.count(word) >= 4


def test_a_persons_words_keep_the_width_that_they_have() -> None:
    words = "  indented\n" + "wide " * 30
    assert words in page_text(page(Verbatim(words)))
