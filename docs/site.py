"""The documentation as static pages: python docs/site.py OUT. Every link is checked; those to files that are no page lead to the repository.

Made of README.md, the references and docs/, with markdown-it (which rich brings along).
"""

from __future__ import annotations

import html
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from posixpath import normpath

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/rspec-verify/rspec-verify/blob/main/"
#: In the order of the menu.
PAGES = {
    "README.md": "rspec-verify",
    "grammar/README.md": "The language",
    "docs/errors.md": "Errors",
    "docs/ci.md": "Continuous integration",
    "docs/editors.md": "Editors",
    "docs/python.md": "Python",
    "runtime/README.md": "The mathematics",
    "examples/ci/README.md": "An example repository",
    "CONTRIBUTING.md": "Contributing",
    "CHANGELOG.md": "Changes",
}
STYLE = Path(__file__).with_name("site.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Page:
    """source: its Markdown, from the root; target: its HTML, from the site's; anchors: of its headings; links: as written."""

    source: str
    target: str
    tokens: list[Token]
    anchors: frozenset[str]
    links: tuple[str, ...]


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        print("usage: python docs/site.py OUT", file=sys.stderr)
        return 2
    broken = build(Path(argv[0]))
    for line in broken:
        print(line, file=sys.stderr)
    return int(bool(broken))


def build(out: Path) -> list[str]:
    """Writes the site; returns the links that lead nowhere."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    pages = {source: _read(parser, source) for source in PAGES}
    broken = [f"{p.source}: {link} leads nowhere" for p in pages.values() for link in p.links if not _leads(p, link, pages)]
    for page in pages.values():
        target = out / page.target
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_html(parser, page, pages, out), encoding="utf-8")
    return broken


def _read(parser: MarkdownIt, source: str) -> Page:
    tokens = parser.parse((ROOT / source).read_text(encoding="utf-8"))
    anchors: list[str] = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            anchor = _anchor(inline.content, anchors)
            anchors.append(anchor)
            token.attrSet("id", anchor)
    links = [str(x.attrGet("href" if x.type == "link_open" else "src")) for x in _inline(tokens) if x.type in ("link_open", "image")]
    folder, name = source.rpartition("/")[::2]
    target = f"{folder}/".lstrip("/") + ("index" if name == "README.md" else name.removesuffix(".md").lower()) + ".html"
    return Page(source, target, tokens, frozenset(anchors), tuple(links))


def _anchor(text: str, before: list[str]) -> str:
    """As GitHub makes them."""
    made = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
    return made if made not in before else f"{made}-{sum(x.startswith(made) for x in before)}"


def _inline(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield from token.children or ()


def _leads(page: Page, link: str, pages: dict[str, Page]) -> bool:
    """Links to elsewhere are not followed: the network is not needed."""
    path, _, anchor = link.partition("#")
    if "://" in path:
        return True
    found = _resolved(page, path)
    if found in pages and anchor:
        return anchor in pages[found].anchors
    return not anchor and (ROOT / found).exists() and not found.startswith("..")


def _resolved(page: Page, path: str) -> str:
    """From the root."""
    return normpath(f"{page.source.rpartition('/')[0] or '.'}/{path}") if path else page.source


def _html(parser: MarkdownIt, page: Page, pages: dict[str, Page], out: Path) -> str:
    up = "../" * page.target.count("/")
    for token in _inline(page.tokens):
        key = {"link_open": "href", "image": "src"}.get(token.type)
        link = str(token.attrGet(key)) if key is not None else ""
        if key is None or "://" in link or link.startswith("#"):
            continue
        path, _, anchor = link.partition("#")
        found = _resolved(page, path)
        if token.type == "image" and (ROOT / found).is_file():
            (out / found).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / found, out / found)
            token.attrSet(key, up + found)
        else:
            to = up + pages[found].target if found in pages else REPOSITORY + found
            token.attrSet(key, to + (f"#{anchor}" if anchor else ""))
    body = parser.renderer.render(page.tokens, parser.options, {})
    body = re.sub(r'(?s)(<code class="language-diff">)(.*?)(</code>)', lambda m: m[1] + _coloured(m[2]) + m[3], body)
    menu = "".join(f'<a href="{up}{pages[s].target}"{" class=here" if s == page.source else ""}>{html.escape(t)}</a>' for s, t in PAGES.items())
    title = html.escape(PAGES[page.source])
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body><div class="page"><nav>{menu}</nav><main>\n{body}</main></div></body></html>\n'


def _coloured(code: str) -> str:
    def line(x: str) -> str:
        kind = {"-": "del", "+": "add"}.get(x[:1])
        return x if kind is None else f'<span class="diff-{kind}">{x}</span>'

    return "\n".join(map(line, code.split("\n")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
