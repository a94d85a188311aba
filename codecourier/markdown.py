"""Markdown of agents and people as safe HTML: no markup of theirs, bounded in size, depth and time.

Inline parsing may cost the square of a paragraph's length, so long paragraphs stay text.
"""

from functools import lru_cache
from typing import Any

import nh3
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from . import code

# What is longer is shown as it was written; the caller decides how much of it.
LONGEST = 32 * 1024
LONGEST_PARAGRAPH, MOST_BRACKETS = 4 * 1024, 100
DEEPEST = 40
MOST_CELLS = 5_000
SCHEMES = ("http://", "https://", "mailto:")

TAGS = {
    *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"),
    *("s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "div"),
}
CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes={"a": {"href", "title"}, "ol": {"start"}, "span": {"class"}, "pre": {"class"}, "div": {"class"}},
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes={"http", "https", "mailto"},
)


def rendered(text: str) -> SafeString:
    """Safe HTML of a text; what is too long, too deep or too wide a table is shown as it was written."""
    if len(text) > LONGEST:
        return as_written(text)
    return _rendered(text)


def as_written(text: str) -> SafeString:
    """The text itself, with its line ends."""
    return format_html('<div class="as-written">{}</div>', text)


@lru_cache(maxsize=1024)
def _rendered(text: str) -> SafeString:
    parser = PLAIN if _cells(text) > MOST_CELLS else PARSER
    tokens = parser.parse(text)
    # The parser leaves out what lies deeper than it may go.
    if any(token.level >= DEEPEST - 2 for token in tokens):
        return as_written(text)
    html = parser.renderer.render(tokens, parser.options, {})
    return mark_safe(CLEANER.clean(html))  # noqa: S308 (cleaned)


def _cells(text: str) -> int:
    """At most so many cells would be made: rows are filled up to the width of the widest."""
    lines = text.split("\n")
    return max(line.count("|") for line in lines) * sum("|" in line for line in lines)


def _inline(state: StateCore) -> None:
    """In place of the parser's own rule of that name: long paragraphs stay text."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = token.children or []
        if len(token.content) > LONGEST_PARAGRAPH or token.content.count("[") > MOST_BRACKETS:
            token.children.append(Token("text", "", 0, content=token.content))
        else:
            state.md.inline.parse(token.content, state.md, state.env, token.children)


def _fence(self: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: dict[str, Any]) -> str:
    token = tokens[index]
    language = (token.info.split() or [""])[0]
    html = code.patched(token.content) if language in {"diff", "patch"} else None
    if html is None:
        return f'<pre class="code"><code>{code.coloured(token.content, language)}</code></pre>\n'
    return f'<pre class="code"><code>{"".join(map(_row, html))}</code></pre>\n'


def _row(row: code.Row) -> str:
    look = {"+": "added", "-": "removed", "@": "between"}.get(row.sign, "same")
    return f'<span class="{look}">{row.sign if row.sign != "@" else ""}{row.html}\n</span>'


def _image(self: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: dict[str, Any]) -> str:
    """A link: fetching it would tell a stranger's server who reads this."""
    token = tokens[index]
    text = self.renderInlineAsText(token.children or [], options, env) or "image"
    return f'<a href="{escape(token.attrGet("src") or "")}">{escape(text)}</a>'


def _is_safe(url: str) -> bool:
    """Of the schemes that lead away; an address below ours would mean something else there than in the machine."""
    return url.strip().lower().startswith(SCHEMES)


def _parser(*rules: str) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": DEEPEST}).enable(["strikethrough", *rules])
    parser.core.ruler.at("inline", _inline)
    parser.add_render_rule("fence", _fence)
    parser.add_render_rule("code_block", _fence)
    parser.add_render_rule("image", _image)
    parser.validateLink = _is_safe  # type: ignore[method-assign]
    return parser


PARSER, PLAIN = _parser("table"), _parser()
