"""Page: titled sections of words, tables and figures, as one self-contained HTML file, or as text of 80 columns.

Belongs here: the blocks, the skeleton, the style sheet, escaping. Does not belong here: what a page says (``weekly``),
how a figure is drawn (``plots``).

A page needs no network: no script, no font, no image from elsewhere. Everything but figures is escaped.
"""

from __future__ import annotations

import base64
import functools
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

WIDTH: Final = 80

LightStatus = Literal["ok", "partly", "unknown", "fail"]
Form = Literal["both", "html", "text"]
"""In which of the two forms a block is shown."""

_NARROWEST: Final = 12
"""Characters that the last column of a table keeps in the text form."""


@dataclass(frozen=True)
class Light:
    """A status light: never by colour alone, the word stands beside it."""

    status: LightStatus
    word: str

    def __str__(self) -> str:
        return self.word


Cell = str | Light


@dataclass(frozen=True)
class Words:
    """Paragraphs, or the items of a list."""

    items: Sequence[str]
    bullets: bool = False
    form: Form = "both"


@dataclass(frozen=True)
class Verbatim:
    """A text as it stands: a person's words, of any width, or what a command prints; ``code`` in a fixed width."""

    text: str
    form: Form = "both"
    code: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells. ``align`` has a letter a column: ``l``, ``r``, ``w`` for sentences. In text the last one wraps."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    align: str
    caption: str = ""
    form: Form = "both"


@dataclass(frozen=True)
class Figure:
    """A drawing (SVG, trusted), its title and caption. ``narrow`` stands in for it on a phone, where there is one."""

    svg: str
    title: str
    caption: str = ""
    status: Light | None = None
    narrow: str = ""


@dataclass(frozen=True)
class Figures:
    """Figures side by side, as many as fit. ``key`` explains marks: the class of the style sheet, and the words."""

    figures: Sequence[Figure]
    key: Sequence[tuple[str, str]] = ()
    wide: bool = False
    form: Form = "html"


@dataclass(frozen=True)
class Beside:
    """Blocks to the left and to the right of a wide screen; elsewhere one below the other."""

    left: Sequence[Words | Verbatim | Table | Figures]
    right: Sequence[Words | Verbatim | Table | Figures]
    form: Form = "both"


Block = Words | Verbatim | Table | Figures | Beside


@dataclass(frozen=True)
class Section:
    """A title and what stands below it.

    Two neighbours that are ``half`` share the width of a wide screen. One that is ``folded`` is for looking things up:
    it is opened by its title, and open in print.
    """

    title: str
    blocks: Sequence[Block]
    half: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """A whole page. ``lights`` are shown first: what each is on, its status, and a sentence."""

    title: str
    subtitle: str
    lights: Sequence[tuple[str, Light, str]]
    sections: Sequence[Section]
    foot: Sequence[str]


def page_html(page: Page) -> str:
    """The page as one HTML file; the same page makes the same text."""
    return str(_template().render(page=page, css=_CSS))


def in_one_column(blocks: Sequence[Block]) -> list[Words | Verbatim | Table | Figures]:
    """The blocks in the order in which a narrow screen shows them."""
    return [one for block in blocks for one in ((*block.left, *block.right) if isinstance(block, Beside) else [block])]


def figure_image(figure: Figure) -> str:
    """A figure as a Markdown image that holds all of itself, in the colours of the light page."""
    colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]+)", _CSS.partition("@media")[0]))
    svg = re.sub(r"var\(--([a-z0-9]+)\)", lambda found: colours[found[1]], figure.svg)
    style = f"background: {colours['ground']}; font-family: sans-serif"
    ground = f'<svg xmlns="http://www.w3.org/2000/svg" width="540" style="{style}" '
    data = base64.b64encode(svg.replace("<svg ", ground, 1).encode()).decode()
    return f"![{figure.title}](data:image/svg+xml;base64,{data})"


def page_text(page: Page) -> str:
    """The page in 80 columns, without its figures. A person's words keep the width that they have."""
    lines = [*_wrap(page.title.upper()), "=" * WIDTH, *_wrap(page.subtitle), ""]
    for name, light, sentence in page.lights:
        lines += _wrap(f"{name:<9} {light.word:<8} {sentence}", indent=21, keep=True)
    for section in page.sections:
        lines += ["", *_wrap(section.title.upper())]
        for number, block in enumerate(b for b in in_one_column(section.blocks) if b.form != "html"):
            lines += [""] if number else []
            match block:
                case Words():
                    for item in block.items:
                        lines += _wrap(f"  - {item}" if block.bullets else f"  {item}", 4 if block.bullets else 2, True)
                case Verbatim():
                    lines += block.text.rstrip("\n").split("\n")
                case Table():
                    lines += _table(block)
    return "\n".join([*lines, "", *(line for words in page.foot for line in _wrap(words))]) + "\n"


def _wrap(text: str, indent: int = 0, keep: bool = False) -> list[str]:
    """Lines of at most 80 columns; ``keep`` leaves the spaces of the first one as they are."""
    words = text if keep else " ".join(text.split())
    lead = len(words) - len(words.lstrip())
    return textwrap.wrap(
        words.strip(),
        WIDTH,
        initial_indent=" " * lead,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )


def _table(table: Table) -> list[str]:
    cells = [[str(cell) for cell in row] for row in (table.head, *table.rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.head))]
    before = 2 + sum(widths[:-1]) + 2 * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(WIDTH - before, _NARROWEST))
    lines = _wrap(f"  {table.caption}", 2, True)
    for number, row in enumerate(cells):
        last = textwrap.wrap(row[-1], widths[-1], break_on_hyphens=False) or [""]
        shown = [*row[:-1], last[0]]
        text = "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(shown, widths, table.align, strict=True)
        )
        lines += [f"  {text}".rstrip(), *(" " * before + more for more in last[1:])]
        if not number:
            lines.append("  " + "-" * min(before - 2 + widths[-1], WIDTH - 2))
    return lines


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    kinds = {kind.__name__.lower(): kind for kind in (Words, Verbatim, Table, Figures, Beside, Light)}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for name, kind in kinds.items():
        environment.tests[name] = lambda value, kind=kind: isinstance(value, kind)
    environment.filters |= {"breakable": _breakable, "whole": _whole}
    return environment.from_string(_HTML)


def _breakable(cell: str) -> Any:
    """As ``_whole``; the long name of a measure or threshold that has no room on any line is broken at a ``_``."""
    from markupsafe import Markup

    def name(found: re.Match[str]) -> str:
        parts = re.sub(r"([_.])(?=[a-z0-9])", r"\1<wbr>", found[0])
        return f'<span class="name">{parts}</span>'

    return Markup(re.sub(r"[(\[]?(?<![\w@/.-])[a-z][a-z0-9]*(?:[_.][a-z0-9]+)+[.,;:)\]]*", name, str(_whole(cell))))


def _whole(text: str) -> Any:
    """Escaped; no line breaks within a date, the name of a week, an interval or before a percent sign."""
    from markupsafe import Markup, escape

    kept = r"\d{4}-(?:\d\d-|W)\d\d|\[[-+.\d%]+, [-+.\d%]+\]|\d+% to \d+%|\[?\d+ %\]?"
    return Markup(re.sub(kept, r'<span class="whole">\g<0></span>', str(escape(text))))


_HTML: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ page.title }} – Countersign</title>
<style>{{ css|safe }}</style>
</head>
<body>
{% macro light(found) %}<span class="light {{ found.status }}">{{ found.word }}</span>{% endmacro %}
{% macro shown(blocks) %}
{% for block in blocks if block.form != "text" %}
{% if block is beside %}
<div class="beside">
<div>
{{ shown(block.left) }}
</div>
<div>
{{ shown(block.right) }}
</div>
</div>
{% elif block is words and block.bullets %}
<ul>
{% for item in block["items"] %}
<li>{{ item|whole }}</li>
{% endfor %}
</ul>
{% elif block is words %}
{% for item in block["items"] %}
<p>{{ item|whole }}</p>
{% endfor %}
{% elif block is verbatim %}
<pre class="verbatim{{ ' code' if block.code }}">{{ block.text }}</pre>
{% elif block is table %}
<figure class="table">
{% if block.caption %}
<figcaption class="small">{{ block.caption|whole }}</figcaption>
{% endif %}
<div class="scroll"><table>
<thead><tr>{% for cell in block.head %}<th scope="col" class="{{ block.align[loop.index0] }}">{{ cell|whole }}</th>
{%- endfor %}</tr></thead>
<tbody>
{% for row in block.rows %}
<tr>{% for cell in row %}<td class="{{ block.align[loop.index0] }}"
{%- if "w" in block.align %} data-head="{{ block.head[loop.index0] }}"{% endif %}>
{%- if cell is light %}{{ light(cell) }}{% else %}{{ cell|breakable }}{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
</figure>
{% elif block is figures %}
{% if block.key %}
<ul class="key">{% for mark, words in block.key %}<li><i class="{{ mark }}"></i>{{ words }}</li>{% endfor %}</ul>
{% endif %}
<div class="figures{{ ' wide' if block.wide }}">
{% for figure in block.figures %}
<figure>
<figcaption><b>{{ figure.title }}</b>{% if figure.status %} {{ light(figure.status) }}{% endif %}</figcaption>
{% if figure.narrow %}
<div class="broad">{{ figure.svg|safe }}</div><div class="narrow">{{ figure.narrow|safe }}</div>
{% else %}
{{ figure.svg|safe }}
{% endif %}
{% if figure.caption %}
<p class="small">{{ figure.caption|whole }}</p>
{% endif %}
</figure>
{% endfor %}
</div>
{% endif %}
{% endfor %}
{% endmacro %}
<header>
<h1>{{ page.title|whole }}</h1>
<p>{{ page.subtitle }}</p>
</header>
<main>
{% if page.lights %}
<dl class="lights">
{% for name, found, sentence in page.lights %}
<div><dt>{{ name }} {{ light(found) }}</dt><dd>{{ sentence|breakable }}</dd></div>
{% endfor %}
</dl>
{% endif %}
<nav>{% for section in page.sections %}<a href="#s{{ loop.index }}">{{ section.title }}</a>{% endfor %}</nav>
{% for section in page.sections %}
{% if section.folded %}
<section><details>
<summary><h2>{{ section.title }}</h2></summary>
<div id="s{{ loop.index }}">
{{ shown(section.blocks) }}
</div>
</details></section>
{% else %}
<section id="s{{ loop.index }}"{% if section.half %} class="half"{% endif %}>
<h2>{{ section.title }}</h2>
{{ shown(section.blocks) }}
</section>
{% endif %}
{% endfor %}
</main>
<footer>
{% for words in page.foot %}
<p>{{ words }}</p>
{% endfor %}
</footer>
</body>
</html>
"""

# Okabe and Ito's colours, which people with any colour blindness tell apart; lighter ones on a dark ground. The steps
# of --h0 … --h4 differ in lightness, so that they are told apart without any colour.
_CSS: Final = """
:root { --ground: #fff; --panel: #f6f7f9; --ink: #1a1c20; --soft: #5b616b; --line: #d5d9df; --blue: #0072b2;
  --orange: #a85d00; --vermillion: #c24e00; --green: #00704f; --week: #e7edf5;
  --h0: #eef3f7; --h1: #c3d9ea; --h2: #7fb2d8; --h3: #2f77b0; --h4: #0b3358; --mark: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --ground: #14161a; --panel: #1d2026; --ink: #e8eaee; --soft: #a2a9b4;
  --line: #3a3f48; --blue: #56b4e9; --orange: #e69f00; --vermillion: #ff8a4c; --green: #4fd1a5; --week: #252c38;
  --h0: #232a33; --h1: #2f4d68; --h2: #3f7fb0; --h3: #77b7e2; --h4: #dcefff; --mark: #ff8a4c; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 1240px; padding: 16px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; margin: 0; line-height: 1.2; }
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; padding-bottom: .2rem; border-bottom: 2px solid var(--line); }
p, li { max-width: 80ch; }
header p { margin: .2rem 0 1rem; color: var(--soft); max-width: none; }
ul { padding-left: 1.3rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem .9rem; font-size: .9rem; margin-top: 1rem; }
a { color: var(--blue); }
.small, footer p, .key { font-size: .83rem; color: var(--soft); }
.small { margin: .1rem 0 0; }
footer { margin-top: 2.5rem; border-top: 2px solid var(--line); }
footer p { max-width: none; margin: .4rem 0; }
.lights { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: .7rem; margin: 0; }
.lights div { background: var(--panel); border-radius: 6px; padding: .6rem .8rem; }
.lights dt { font-weight: 600; } .lights dt::first-letter { text-transform: uppercase; }
.lights dd { margin: .2rem 0 0; font-size: .87rem; color: var(--soft); }
.light { display: inline-block; font-size: .78rem; font-weight: 600; white-space: nowrap; padding: 0 .45em;
  border: 1.5px solid; border-radius: 9px; line-height: 1.45; text-transform: none; }
.light.ok { color: var(--green); } .light.ok::before { content: "\\25cf\\a0"; }
.light.partly { color: var(--blue); } .light.partly::before { content: "\\25d0\\a0"; }
.light.unknown { color: var(--soft); border-style: dashed; } .light.unknown::before { content: "\\25cb\\a0"; }
.light.fail { color: var(--ground); background: var(--vermillion); border-color: var(--vermillion); }
.light.fail::before { content: "\\2715\\a0"; }
.table { margin: .6rem 0 1rem; } .table figcaption { max-width: 80ch; margin-bottom: .3rem; }
.scroll { overflow-x: auto; background: linear-gradient(to left, var(--ground) 30%, transparent)
  right / 40px 100% no-repeat local, linear-gradient(to left, var(--line), transparent) right / 14px 100% no-repeat; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .8rem .22rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; vertical-align: bottom; }
th:last-child, td:last-child { padding-right: 0; }
.whole { white-space: nowrap; } .name { display: inline-block; }
.r { text-align: right; white-space: nowrap; }
.verbatim { white-space: pre-wrap; font: inherit; background: var(--panel); border-left: 4px solid var(--blue);
  padding: .7rem 1rem; margin: 0; }
.verbatim.code { font: .83rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; margin-bottom: .8rem;
  white-space: pre; overflow-x: auto; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(310px, 100%), 1fr)); gap: 1.1rem 1.4rem; }
.figures:not(.wide) figure { max-width: 440px; }
.figures.wide { display: block; }
figure { margin: 0; min-width: 0; }
summary { cursor: pointer; border-bottom: 2px solid var(--line); margin: 2rem 0 .6rem; padding-bottom: .2rem; }
summary h2 { display: inline; border: 0; margin: 0 0 0 .2rem; } details > div { scroll-margin-top: 4rem; }
@media (min-width: 1000px) { main { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr));
  column-gap: 2.4rem; } main > * { grid-column: 1 / -1; } main > .half { grid-column: auto; }
  main > section > h2 { margin-top: 1.2rem; } }
@media (min-width: 1200px) { .beside { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 4fr);
  column-gap: 2.4rem; margin-bottom: 1rem; } .beside th { white-space: normal; }
  .beside :is(th, td):not(:last-child) { padding-right: .55rem; } }
figcaption { font-size: .9rem; }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.narrow { display: none; }
@media (max-width: 640px) { .narrow { display: block; } .broad { display: none; } }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: .2rem 0 .8rem; }
.key i { display: inline-block; width: 1.3em; margin-right: .4em; vertical-align: middle; }
.key .line { border-top: 2.5px solid var(--blue); } .key .limit { border-top: 2px dashed var(--vermillion); }
.key .other { border-top: 2px dotted var(--soft); } .key .came { border-top: 2px dashed var(--ink); }
.key .range { border-top: 2px solid var(--soft); } .key .stroke { width: 2px; height: .8em; background: var(--ink); }
.key .dot { background: var(--blue); }
.key .held { border-top: 2.5px solid var(--orange); }
.key .dot, .key .cross, .key .ring { width: .7em; height: .7em; border-radius: 50%; }
.key .cross { background: var(--vermillion); border-radius: 0; transform: rotate(45deg); }
.key .ring { border: 1.5px solid var(--soft); }
.key .band { height: .9em; background: var(--week); outline: 1px solid var(--line); }
.key .h0, .key .h1, .key .h2, .key .h3, .key .h4 { height: .9em; outline: 1px solid var(--line); }
.key .h0 { background: var(--h0); } .key .h1 { background: var(--h1); } .key .h2 { background: var(--h2); }
.key .h3 { background: var(--h3); } .key .h4 { background: var(--h4); }
.key .mark { height: .5em; width: .5em; border-radius: 50%; background: var(--mark); }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--ground); }
td.l { min-width: 4.6em; } td.w { overflow-wrap: anywhere; }
@media (max-width: 640px) { body { padding: 12px; } table { font-size: .72rem; } th.r { white-space: normal; }
  :is(th, td):not(:last-child) { padding-right: .35rem; } td.l { min-width: 0; }
  td .light { font-size: .66rem; padding: 0 .3em; } .verbatim.code { white-space: pre-wrap; }
  table:has(td.w) thead { display: none; } tr:has(td.w) { display: flex; flex-wrap: wrap; gap: 0 .6rem;
  padding: .3rem 0; border-bottom: 1px solid var(--line); } tr:has(td.w) td { border: 0; } td.w { flex-basis: 100%; }
  td.r[data-head]::before { content: attr(data-head) "\\a0"; color: var(--soft); } }
@page { margin: 14mm 12mm; }
@media print { details::details-content { content-visibility: visible; height: auto; }
  html { font-size: 12px; } body { font-size: 11px; padding: 0; } nav { display: none; }
  figure:not(.table), tr { break-inside: avoid; } h2, summary, .key, .table figcaption { break-after: avoid; }
  .scroll { background: none; }
  .figures:not(.wide) { grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); } .figures:not(.wide) figure {
  max-width: 260px; } .light, .key i { print-color-adjust: exact; }
  .verbatim.code { white-space: pre-wrap; } }
"""
