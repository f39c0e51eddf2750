"""What a word under the cursor means, in Markdown."""

from __future__ import annotations

from vlang.editor import vocabulary as v
from vlang.editor.context import Context
from vlang.editor.names import PARAM, Mention, declarations
from vlang.formats.reading import read_as
from vlang.plan import Plan
from vlang.text import syntax as s
from vlang.text.source import Source
from vlang.typed.conditions import FIELDS
from vlang.typed.signatures import KINDS

#: Lines of a declaration that are shown.
MOST_LINES = 12


def hover(word: str, at: Context, mention: Mention | None, source: Source, tree: s.File, plan: Plan | None) -> str | None:
    """at: where the word begins. mention: the name that it is."""
    if mention is not None:
        return _name(mention, source, tree, plan)
    if not at.words and at.kind == "":
        return next((f"**{x.text}**: {x.doc}" for x in v.kinds() if x.text == word), None)
    if not at.words and at.kind in KINDS and word in KINDS[at.kind].keys:
        return f"**{word}** of {at.kind}: {v.key_doc(KINDS[at.kind].keys[word])}"
    known = {x.text: x.doc for x in (*v.values(at.type), *v.aggregates())}
    known |= v.ENTRIES
    known |= {x.text: x.doc for x in v.of_conditions(at.kind)} if at.kind in FIELDS and at.words[:1] in (("expect",), ("warn",)) else {}
    return f"**{word}**: {known[word]}" if known.get(word) else None


def _name(mention: Mention, source: Source, tree: s.File, plan: Plan | None) -> str:
    kinds = {(x.kind if isinstance(x, s.Declaration) else PARAM, x.name): x for x in declarations(tree)}
    found = kinds[mention.kind, mention.name]
    first = found.span.line
    after = [x.span.line for x in kinds.values() if x.span.line > first]
    lines = [x for x in source.lines[first - 1 : min([first + MOST_LINES, *(k - 1 for k in after)])] if not x.startswith("#")]
    while lines and not lines[-1].strip():
        lines.pop()
    said = [f"```rspec\n{chr(10).join(lines)}\n```"]
    networks = [x.network for q in (plan.queries if plan is not None else ()) for x in q.variants if x.network.name == mention.name]
    if mention.kind == "network" and networks:
        said.append(f"read as: {read_as(networks[0])}")
    return "\n\n".join(said)
