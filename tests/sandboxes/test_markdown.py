"""Texts of agents as HTML: what Markdown means is there, nothing of theirs is markup, and no text takes long."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codecourier import code, markdown

ALLOWED = {"href", "title", "target", "rel", "class", "start"}


class Reader(HTMLParser):
    """What a browser would make of a text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = set[str](), dict[str, set[str]](), ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_tables_lists_code_and_links_become_html() -> None:
    html = markdown.rendered("# Done\n\n- a\n- **b**\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n```python\nreturn 1\n```")
    for part in ("<h1>Done</h1>", "<strong>b</strong>", "<td>2</td>", '<span class="k">return</span>'):
        assert part in html


def test_a_link_leads_away_and_tells_nobody_where_from() -> None:
    attributes = Reader(markdown.rendered("[x](https://a.example) <https://b.example>")).attributes
    assert attributes["href"] == {"https://a.example", "https://b.example"}
    assert attributes["rel"] == {"noopener noreferrer nofollow"}
    assert attributes["target"] == {"_blank"}


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "JaVa\tscript:x", "data:text/html,x", "/p/rocket/", "//a.b", "vbscript:x"]
)
def test_other_addresses_stay_text(url: str) -> None:
    assert "a" not in Reader(markdown.rendered(f"[click]({url}) ![image]({url}) <{url}>")).tags


def test_an_image_is_a_link_so_that_nothing_is_fetched() -> None:
    found = Reader(markdown.rendered("![a chart](https://a.example/x.png)"))
    assert (found.tags, found.text.strip()) == ({"p", "a"}, "a chart")


def test_markup_is_text() -> None:
    evil = "<script>alert(1)</script> <img src=x onerror=alert(1)> <b id=queue class=alert>x</b> <!-- x --> ]]>"
    found = Reader(markdown.rendered(evil))
    assert (found.tags, found.text.strip()) == ({"p"}, evil)


def test_markup_in_code_is_text() -> None:
    for text in ("```html\n<script>alert(1)</script>\n```", "```nolanguage\n<img src=x>\n```", "    <i>", "`<b>`"):
        assert Reader(markdown.rendered(text)).tags <= {"pre", "code", "span", "p"}


def test_a_diff_has_its_lines_marked() -> None:
    html = markdown.rendered("```diff\n-old <b>\n+new\n```")
    assert '<span class="removed">-old &lt;b&gt;' in html
    assert '<span class="added">+new' in html


@pytest.mark.parametrize(
    "text",
    ["> " * 20_000, "1. " * 10_000, "- a\n" + "".join("  " * depth + "- x\n" for depth in range(10_000))[:400_000]],
)
def test_what_is_too_deep_is_shown_as_it_was_written(text: str) -> None:
    assert Reader(markdown.rendered(text)).text == text


@pytest.mark.parametrize(
    "piece", ["[", "![", "*a ", "*_", "`a``", "<", "[a](", "a_", "[a]: b\n", "|", "~~a", "\\", "&#"]
)
def test_a_megabyte_of_anything_is_rendered(piece: str) -> None:
    lines = (piece * 4000)[:4000] + "\n\n"
    for text in ((piece * 2**20)[: 2**20], (lines * 8)[: markdown.LONGEST]):
        assert len(markdown.rendered(text)) >= len(text.strip()) / 60


def test_a_table_as_wide_as_long_is_shown_as_it_was_written() -> None:
    assert "table" not in Reader(markdown.rendered("|a" * 300 + "|\n" + "|-" * 300 + "|\n" + "|\n" * 5000)).tags


MARKS = st.sampled_from("<>&\"'`*_[]()!|#-+~:/\\ \nahtpsj.1\x1b\0")


@given(st.text(MARKS | st.characters(codec="utf-8"), max_size=300))
def test_nothing_but_known_markup_comes_out(text: str) -> None:
    found = Reader(markdown.rendered(text))
    assert found.tags <= markdown.TAGS
    assert found.attributes.keys() <= ALLOWED
    assert all(url.startswith(("https://", "http://", "mailto:")) for url in found.attributes.get("href", ()))


def test_terminal_output_is_read_without_its_controls() -> None:
    text = "\x1b[31mred\x1b[0m \x1b]52;c;b3duZWQ=\x07\x1b]8;;http://a.b\x1b\\link\x1b]8;;\x1b\\\r\n10%\r100%\r\nbell\x07\tend"
    assert code.plain(text) == "red link\n100%\nbell\tend"


@given(st.text(max_size=200))
def test_no_control_character_is_left_in_terminal_output(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", code.plain(text))


def test_a_small_diff_shows_what_changed_with_its_surroundings() -> None:
    old = "\n".join(map(str, range(20)))
    rows = code.compared(old, old.replace("10", "ten"))
    assert [row.sign for row in rows] == [" ", " ", " ", "-", "+", " ", " ", " "]
    assert (rows[3].html, rows[4].html) == ("10", "ten")
    assert code.changed(old, old.replace("10", "ten")) == (1, 1)


def test_changes_far_apart_are_two_parts() -> None:
    old = "\n".join(f"line {number}" for number in range(40))
    new = old.replace("line 3\n", "third\n").replace("line 35\n", "last\n")
    assert [row.sign for row in code.compared(old, new, "a.py")].count("@") == 1


@given(st.text(st.sampled_from("ab\n<"), max_size=60), st.text(st.sampled_from("ab\n<"), max_size=60))
def test_a_diff_has_all_that_is_new(old: str, new: str) -> None:
    rows = code.compared(old, new)
    added, removed = code.changed(old, new)
    assert added - removed == len(new.splitlines()) - len(old.splitlines())
    assert sum(row.sign == "+" for row in rows) - sum(row.sign == "-" for row in rows) == added - removed
    assert all("<" not in row.html for row in rows)
