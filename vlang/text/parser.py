"""Text to syntax tree, with Lark (LALR). Every syntax error of a file is reported, not only the first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any, Literal

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.lark import PostLex
from lark.lexer import BasicLexer, LexerThread

from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import in_range
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Source, Span

#: After so many syntax errors the rest of the file is not looked at.
MOST_ERRORS = 20
SECONDS: dict[str, Fraction] = {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60), "h": Fraction(3600)}


def grammar_text() -> str:
    return resources.files("vlang.grammar").joinpath("rspec.lark").read_text(encoding="utf-8")


@cache
def _lexer() -> BasicLexer:
    """Keeps what the parser's passes over."""
    conf = copy(_lark().lexer_conf)
    conf.ignore = ()
    return BasicLexer(conf)


def parse(source: Source) -> tuple[s.File, list[Diagnostic]]:
    """The tree of what could be parsed and every syntax error, in order of place."""
    text = source.text
    errors: list[Diagnostic] = []
    while True:
        try:
            return _parse(text), errors
        except SpecError as e:
            return s.File(()), [*errors, *e.diagnostics]
        except RecursionError:
            return s.File(()), [*errors, d.too_deep(Span(1, 1))]
        except UnexpectedInput as e:
            error, line = _explain(e, text)
            errors.append(error)
            shorter = _without(text, line)
            if len(errors) >= MOST_ERRORS or shorter == text:
                return s.File(()), errors
            text = shorter


def parse_expression(text: str) -> s.Expr:
    """One expression, as on the command line (`-p x=0.2`). Raises ValueError with a one-line reason."""
    try:
        file = _parse(f"x = ({text})")
    except UnexpectedInput as e:
        raise ValueError(_explain(e, f"x = ({text})")[0].message) from None
    except SpecError as e:
        raise ValueError(e.diagnostics[0].message) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    entry = file.entries[0] if len(file.entries) == 1 else None
    if not isinstance(entry, s.Pair):
        raise ValueError("not a single value")
    return entry.value


class _Newlines(PostLex):
    """Drops new lines inside ( ) and [ ], so that lists may span lines."""

    always_accept = ("_NL",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        depth: list[str] = []
        for token in stream:
            if token in ("(", "[", "{") and token.type != "STRING":
                depth.append(str(token))
            elif token in (")", "]", "}") and token.type != "STRING" and depth:
                depth.pop()
            if token.type != "_NL" or not depth or depth[-1] == "{":
                yield token


@cache
def _lark() -> Lark:
    return Lark(grammar_text(), parser="lalr", propagate_positions=True, maybe_placeholders=True, postlex=_Newlines(), start="start")


def lexed(text: str) -> Iterator[Token]:
    """All words of a text, comments and blanks too; of line breaks only those outside ( ) and [ ]."""
    return _Newlines().process(LexerThread.from_text(_lexer(), text).lex(None))  # type: ignore[no-untyped-call]


def _parse(text: str) -> s.File:
    return _Build(text).transform(_lark().parse(text))  # type: ignore[no-any-return]


# -- tree ---------------------------------------------------------------------------------------------------------------


def _at(token: Token) -> Span:
    return Span(token.line or 1, token.column or 1, len(token))


class _Build(Transformer):  # type: ignore[type-arg]
    """Lark's tree to ours. Method names are the grammar's rules."""

    def __init__(self, text: str) -> None:
        super().__init__(visit_tokens=False)
        self.text = text

    def _call_userfunc(self, tree: Any, new_children: Any = None) -> Any:
        children = tree.children if new_children is None else new_children
        method = getattr(self, tree.data)
        return method(_span(tree.meta), children, tree.meta)

    def start(self, span: Span, items: list[Any], meta: Any) -> s.File:
        return s.File(tuple(items))

    def block(self, span: Span, items: list[Any], meta: Any) -> tuple[s.Entry, ...]:
        return tuple(items)

    def header(self, span: Span, items: list[Any], meta: Any) -> s.Header:
        return s.Header(span, str(items[0]))

    def param(self, span: Span, items: list[Any], meta: Any) -> s.Param:
        name, type_, value = items
        return s.Param(_at(name), str(name), str(type_), _at(type_), value)

    def declaration(self, span: Span, items: list[Any], meta: Any) -> s.Declaration:
        kind, name, entries = items
        return s.Declaration(_at(name), str(kind), _at(kind), str(name), entries)

    def pair(self, span: Span, items: list[Any], meta: Any) -> s.Pair:
        return s.Pair(_at(items[0]), str(items[0]), items[1])

    keyword = pair

    def path(self, span: Span, items: list[Any], meta: Any) -> tuple[Span, tuple[str, ...]]:
        return span, tuple(map(str, items))

    def sweep(self, span: Span, items: list[Any], meta: Any) -> s.Sweep:
        (path_span, path), values = items
        return s.Sweep(path_span, path, values)

    def gate(self, span: Span, items: list[Any], meta: Any) -> s.Gate:
        kind, condition, because = items
        end = because.start_pos if because is not None else meta.end_pos
        text = self.text[kind.end_pos : end]
        text = re.sub(r"\s*\bbecause\s*$", "", text) if because is not None else text
        text = " ".join(text.split())
        gate: Literal["expect", "warn"] = "expect" if kind == "expect" else "warn"
        return s.Gate(_at(kind), (meta.end_line, meta.end_column), gate, condition, text, None if because is None else _unquote(because))

    def either(self, span: Span, items: list[Any], meta: Any) -> s.Binary:
        return s.Binary(span, "or", *items)

    def both(self, span: Span, items: list[Any], meta: Any) -> s.Binary:
        return s.Binary(span, "and", *items)

    def negation(self, span: Span, items: list[Any], meta: Any) -> s.Unary:
        return s.Unary(span, "not", items[0])

    def binary(self, span: Span, items: list[Any], meta: Any) -> s.Binary:
        left, op, right = items
        return s.Binary(span, str(op), left, right)

    comparison = binary

    def unary(self, span: Span, items: list[Any], meta: Any) -> s.Unary:
        return s.Unary(span, str(items[0]), items[1])

    def field(self, span: Span, items: list[Any], meta: Any) -> s.Field:
        return s.Field(span, items[0], str(items[1]))

    def index(self, span: Span, items: list[Any], meta: Any) -> s.Index:
        return s.Index(span, *items)

    def indexslice(self, span: Span, items: list[Any], meta: Any) -> s.Index:
        base, start, stop = items
        return s.Index(span, base, s.Slice(span, start, stop))

    def number(self, span: Span, items: list[Any], meta: Any) -> s.Number:
        return s.Number(span, _exact(items[0], span), "", items[0].isdigit())

    def percent(self, span: Span, items: list[Any], meta: Any) -> s.Number:
        return s.Number(span, _exact(items[0][:-1], span) / 100, "%")

    def duration(self, span: Span, items: list[Any], meta: Any) -> s.Number:
        value = items[0].rstrip("hmins")
        return s.Number(span, _exact(value.strip(), span) * SECONDS[items[0][len(value) :]], "s")

    def string(self, span: Span, items: list[Any], meta: Any) -> s.Text:
        return s.Text(span, _unquote(items[0]))

    def name(self, span: Span, items: list[Any], meta: Any) -> s.Name:
        return s.Name(span, str(items[0]))

    def call(self, span: Span, items: list[Any], meta: Any) -> s.Call:
        return s.Call(span, str(items[0]), *_arguments(items[1:]))

    def method(self, span: Span, items: list[Any], meta: Any) -> s.Method:
        return s.Method(span, items[0], str(items[1]), *_arguments(items[2:]))

    def list_(self, span: Span, items: list[Any], meta: Any) -> s.Items:
        return s.Items(span, tuple(x for x in items if x is not None))

    def slice_(self, span: Span, items: list[Any], meta: Any) -> s.Slice:
        return s.Slice(span, *items)

    def record(self, span: Span, items: list[Any], meta: Any) -> s.Record:
        return s.Record(span, items[0])


def _arguments(items: list[Any]) -> tuple[tuple[s.Expr, ...], tuple[s.Pair, ...]]:
    """Those in order, and those by name."""
    args = [x for x in items if x is not None]
    return tuple(x for x in args if not isinstance(x, s.Pair)), tuple(x for x in args if isinstance(x, s.Pair))


def _span(meta: Any) -> Span:
    if meta.empty:
        return Span(1, 1)
    length = meta.end_column - meta.column if meta.end_line == meta.line else 1
    return Span(meta.line, meta.column, max(1, length))


def _exact(text: str, span: Span) -> Fraction:
    """The literal's exact value; one outside float64's range is refused before its digits are worked out."""
    digits, _, exponent = text.lower().partition("e")
    if len(digits) > 400 or len(exponent) > 5 or abs(int(exponent or 0)) + len(digits) > 700:
        raise SpecError(d.number_too_long(span))
    return in_range(Fraction(text), span)


ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def _unquote(token: Token) -> str:
    return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[0]), token[1:-1])


# -- syntax errors -------------------------------------------------------------------------------------------------------

#: What a terminal is called in an error message.
WORDS = {
    "NAME": "a name", "NUMBER": "a number", "PERCENT": "a percentage", "DURATION": "a duration", "STRING": "a text in quotes",
    "GATE": "'expect' or 'warn'", "COMPARE": "a comparison", "SIGN": "'+' or '-'", "SCALE": "'*' or '/'",
    "_NL": "a new line", "$END": "the end of the file",
    "LBRACE": "'{'", "RBRACE": "'}'", "LSQB": "'['", "RSQB": "']'", "LPAR": "'('", "RPAR": "')'", "EQUAL": "'='", "COLON": "':'",
    "COMMA": "','", "DOT": "'.'", "RSPEC": "'rspec'", "PARAM": "'param'", "SWEEP": "'sweep'", "_IN": "'in'", "_BECAUSE": "'because'",
    "_OR": "'or'", "_AND": "'and'", "NOT": "'not'",
}  # fmt: skip
#: Words that begin an entry.
KEYWORDS = ("expect", "warn", "sweep", "param", "rspec")
#: Sets of terminals that read better under one name.
VALUE = {"NUMBER", "STRING", "NAME", "LSQB", "LBRACE", "LPAR"}
ENTRY = {"NAME", "GATE", "SWEEP", "PARAM"}


def _expected(terminals: set[str]) -> str:
    words: list[str] = []
    if terminals >= VALUE:
        words.append("a value")
        terminals = terminals - VALUE - {"PERCENT", "DURATION", "SIGN", "NOT"}
    elif terminals >= ENTRY:
        words.append("an entry such as 'key = value'")
        terminals = terminals - ENTRY - {"RSPEC", "_NL", "COMMA"}
    if "SCALE" in terminals:
        # A value is complete here: what could continue it is not worth listing.
        terminals = terminals - {"_OR", "_AND", "COMPARE", "SIGN", "SCALE", "DOT", "LSQB", "_BECAUSE"}
    if "_NL" in terminals:
        terminals = terminals - {"COMMA", "$END"}
    words += [WORDS.get(t, t.lower()) for t in sorted(terminals)]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _explain(e: UnexpectedInput, text: str) -> tuple[Diagnostic, int]:
    """The diagnostic of a syntax error, and the line to leave out before going on."""
    if isinstance(e, UnexpectedToken) and e.token.type == "$END":
        opened = _unclosed(text)
        if opened is not None:
            return d.unclosed(opened[1], opened[0]), opened[1].line
        last = max(1, len(text.rstrip("\n").split("\n")))
        return d.unexpected_end(Span(last, len(text.split("\n")[last - 1]) + 1), _expected(set(e.accepts or e.expected))), last
    if isinstance(e, UnexpectedToken):
        token = e.token
        opened = _unclosed(text[: token.start_pos or 0])
        if opened is not None and opened[0] in "[(" and opened[1].line < (token.line or 1):
            return d.unclosed(opened[1], opened[0]), opened[1].line
        if token.type == "_NL":
            span, found = Span(token.line or 1, _code_end(text, token.line or 1)), "end of the line"
        else:
            span, found = Span(token.line or 1, token.column or 1, len(token)), f"'{token}'"
        expected = _expected(set(e.accepts or e.expected))
        first = (text.split("\n")[span.line - 1].split() or [""])[0]
        meant = d.nearest(first, KEYWORDS)
        borrowed = _borrowed(text, token.start_pos or 0)
        if borrowed is not None:
            return d.unexpected(span, found, "", borrowed), span.line
        return d.unexpected(span, found, f"{expected}; did you mean '{meant}'?" if meant and meant != first else expected), span.line
    if isinstance(e, UnexpectedCharacters):
        span = Span(e.line, e.column)
        char = text[e.pos_in_stream or 0]
        return (d.unterminated_text(span) if char == '"' else d.strange_character(span, char, BORROWED.get(char))), span.line
    raise e


#: What other languages write, and this one writes otherwise; by the character that has no meaning here.
BORROWED = {
    ";": "entries end with their line, or a comma",
    "&": "write 'and'",
    "|": "write 'or'",
    "!": "write 'not'",
    "'": 'texts stand in double quotes: "..."',
    "$": "variables are not put into a spec: declare 'param name: text = ...' and set it by vrun -p name=...",
}


def _borrowed(text: str, at: int) -> str | None:
    """What to write in place of what stands at a place, where another language is meant."""
    before, after = text[:at], text[at : at + 2]
    if after in ("//", "/*"):
        return "comments begin with '#'"
    if re.match(r"\.\d", after) and not re.search(r"[\w\]\)]$", before):
        return "a number begins with a digit: 0" + (re.match(r"\.\d+", text[at:]) or [""])[0]
    name = re.search(r"^[ \t]*\w+[ \t]+([^\W\d]\w*)$", before.rpartition("\n")[2])
    if after[:1] == "-" and name is not None:
        rest = re.match(r"[\w-]+", text[at:])
        written = name[1] + (rest[0] if rest else "")
        return f"names are letters, digits and '_': {written.replace('-', '_')}"
    return None


def _code_end(text: str, line: int) -> int:
    """The column after a line's last token, before any comment."""
    code = text.split("\n")[line - 1]
    comment = next((m.start() for m in _TOKENS.finditer(code) if m[0].startswith("#")), len(code))
    return len(code[:comment].rstrip()) + 1


_TOKENS = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|[\[\]{}()]')


def _unclosed(text: str) -> tuple[str, Span] | None:
    """The last bracket that is opened and never closed."""
    stack: list[tuple[str, Span]] = []
    for number, line in enumerate(text.split("\n"), 1):
        for m in _TOKENS.finditer(line):
            if m[0] in "[{(":
                stack.append((m[0], Span(number, m.start() + 1)))
            elif m[0] in "]})" and stack:
                stack.pop()
    return stack[-1] if stack else None


def _without(text: str, line: int) -> str:
    """The text with one line blanked; if that line opens a block, the block too. Other places keep their lines."""
    lines = text.split("\n")
    depth, last = 0, line - 1
    for i in range(line - 1, len(lines)):
        depth += sum({"{": 1, "}": -1}.get(m[0], 0) for m in _TOKENS.finditer(lines[i]))
        last = i
        if depth <= 0:
            break
    if depth > 0:
        last = line - 1
    closing = "}" * max(0, -depth)
    blanked = [" " * len(x) for x in lines[line - 1 : last + 1]]
    if closing and lines[line - 1].strip() != closing:
        blanked[-1] = closing
    return "\n".join(lines[: line - 1] + blanked + lines[last + 1 :])
