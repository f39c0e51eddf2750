"""The language server of `vrun lsp` (pygls): what editors ask of the modules beside this one, in LSP's terms.

Columns are code points in the language and, mostly, UTF-16 units in an editor: every place goes through the codec that the editor agreed to.
"""

from __future__ import annotations

import asyncio
import difflib
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

from vlang import __version__
from vlang.cost import Pace, cost, in_words, seconds
from vlang.editor import names
from vlang.editor.complete import complete
from vlang.editor.context import before, context, word_at
from vlang.editor.fixes import fixes
from vlang.editor.hover import hover
from vlang.editor.pieces import Pieces
from vlang.editor.verification import Gates, Verification, gates, pace, start
from vlang.lower import vocabulary
from vlang.lower.checkpoints import checkpoint
from vlang.lower.files import locate
from vlang.lower.spec import compile_spec
from vlang.plan import Plan, QueryPlan
from vlang.shell.lint import found as lint
from vlang.text import syntax as s
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.layout import LayoutError, laid_out
from vlang.text.source import Source, Span
from vlang.typed.check import check
from vlang.typed.module import RESERVED, load
from vlang.typed.sources import REPORTED
from vlang.typed.tree import Network

#: Seconds without a keystroke before a text is looked at.
PAUSE = 0.05
#: Words that a name would hide, or that would hide it.
TAKEN = RESERVED | {REPORTED, "and", "because", "expect", "in", "not", "or", "param", "rspec", "sweep", "warn"}
VERIFY, STOP = "rspec.verify", "rspec.stop"
ERRORS = "https://github.com/rspec-verify/rspec-verify/blob/main/docs/errors.md"
#: Lines as the protocol and the language know them.
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
ICONS = {
    "kind": lsp.CompletionItemKind.Class,
    "key": lsp.CompletionItemKind.Property,
    "keyword": lsp.CompletionItemKind.Keyword,
    "word": lsp.CompletionItemKind.EnumMember,
    "name": lsp.CompletionItemKind.Variable,
    "field": lsp.CompletionItemKind.Field,
    "function": lsp.CompletionItemKind.Function,
    "label": lsp.CompletionItemKind.Value,
    "token": lsp.CompletionItemKind.Text,
    "file": lsp.CompletionItemKind.File,
    "folder": lsp.CompletionItemKind.Folder,
}


@dataclass
class Held:
    """An open document. tree, plan: of the last text that had one; current: whether that is this text. problems: of this text."""

    source: Source
    version: int
    pieces: Pieces = field(default_factory=Pieces)
    tree: s.File = field(default_factory=lambda: s.File(()))
    plan: Plan | None = None
    current: bool = False
    problems: tuple[Diagnostic, ...] = ()
    gates: Gates = field(default_factory=Gates)
    run: Verification | None = None

    def look(self) -> None:
        """Parse and check the text; nothing is computed."""
        tree, errors = self.pieces.parse(self.source)
        if not errors or tree.entries:
            self.tree = tree
        try:
            self.plan = compile_spec(self.source, parser=self.pieces.parse)
            self.current, self.problems = True, tuple(lint(self.plan))
        except SpecError as e:
            self.current, self.problems = False, e.diagnostics


def server() -> LanguageServer:
    """A server with documents of its own."""
    # Whole texts: edits by place would go through str.splitlines, which takes more for the end of a line than the protocol does.
    ls = LanguageServer("rspec", f"v{__version__}", text_document_sync_kind=lsp.TextDocumentSyncKind.Full)
    documents: dict[str, Held] = {}
    _texts(ls, documents)
    _questions(ls, documents)
    _changes(ls, documents)
    _runs(ls, documents)
    return ls


# -- places ---------------------------------------------------------------------------------------------------------------


def _range(ls: LanguageServer, source: Source, span: Span, end: tuple[int, int] | None = None) -> lsp.Range:
    last_line, last_column = end or (span.line, span.column + span.length)
    places = lsp.Position(span.line - 1, span.column - 1), lsp.Position(last_line - 1, last_column - 1)
    return ls.workspace.position_codec.range_to_client_units([*source.lines, ""], lsp.Range(*places))


def _place(ls: LanguageServer, source: Source, position: lsp.Position) -> tuple[int, int]:
    """Line and column, from 1, in code points."""
    found = ls.workspace.position_codec.position_from_client_units([*source.lines, ""], position)
    return found.line + 1, found.character + 1


# -- texts ----------------------------------------------------------------------------------------------------------------


def _texts(ls: LanguageServer, documents: dict[str, Held]) -> None:
    def publish(uri: str, held: Held) -> None:
        told = [_told(ls, held.source, x) for x in held.problems]
        ls.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, told, held.version))
        _refresh(ls)

    async def look(uri: str) -> None:
        document = ls.workspace.get_text_document(uri)
        version = document.version or 0
        await asyncio.sleep(PAUSE)
        if uri in documents and (ls.workspace.get_text_document(uri).version or 0) == version:
            held = documents[uri]
            held.source, held.version = _source(ls, uri), version
            held.look()
            publish(uri, held)

    @ls.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        uri = params.text_document.uri
        documents[uri] = held = Held(_source(ls, uri), params.text_document.version)
        held.look()
        publish(uri, held)

    @ls.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        await look(params.text_document.uri)

    @ls.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        await look(params.text_document.uri)  # the files that it names may have changed

    @ls.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        held = documents.pop(params.text_document.uri, None)
        if held is not None and held.run is not None:
            held.run.stop()
        ls.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(params.text_document.uri, []))

    @ls.feature(lsp.SHUTDOWN)
    def ended(_: Any) -> None:
        for held in documents.values():
            if held.run is not None:
                held.run.stop()


def _source(ls: LanguageServer, uri: str) -> Source:
    document = ls.workspace.get_text_document(uri)
    return Source(document.path, document.source.replace("\r\n", "\n").replace("\r", "\n"))


def _told(ls: LanguageServer, source: Source, x: Diagnostic) -> lsp.Diagnostic:
    return lsp.Diagnostic(
        _range(ls, source, x.span or Span(1, 1)),
        x.message + (f"\n{x.hint}" if x.hint else ""),
        lsp.DiagnosticSeverity.Warning if x.warns else lsp.DiagnosticSeverity.Error,
        x.code,
        lsp.CodeDescription(f"{ERRORS}#{x.code.lower()}"),
        "rspec",
    )


def _refresh(ls: LanguageServer) -> None:
    held = ls.client_capabilities.workspace
    if held is not None and held.inlay_hint is not None and held.inlay_hint.refresh_support:
        ls.workspace_inlay_hint_refresh(None)
    if held is not None and held.code_lens is not None and held.code_lens.refresh_support:
        ls.workspace_code_lens_refresh(None)


# -- questions about a place ------------------------------------------------------------------------------------------------


def _questions(ls: LanguageServer, documents: dict[str, Held]) -> None:
    def fresh(uri: str) -> Held | None:
        """The document with the text as it is now, whose tree may be of a text before."""
        held = documents.get(uri)
        if held is not None:
            held.source = _source(ls, uri)
        return held

    def mentioned(uri: str, position: lsp.Position) -> tuple[Held, list[names.Mention], names.Mention] | None:
        held = fresh(uri)
        if held is None:
            return None
        held.tree, _ = held.pieces.parse(held.source)
        found = names.mentions(held.tree)
        one = names.at(found, *_place(ls, held.source, position))
        return None if one is None else (held, found, one)

    @ls.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=["=", " ", ".", '"', "/", "[", "("]))
    def completion(params: lsp.CompletionParams) -> lsp.CompletionList:
        held = fresh(params.text_document.uri)
        if held is None:
            return lsp.CompletionList(False, [])
        at = context(before(held.source.lines, *_place(ls, held.source, params.position)))
        known = _vocabulary(held) if at.quoted is not None and at.key == "text" else []
        words = complete(at, held.tree, held.plan, held.source.folder, known)
        items = [lsp.CompletionItem(x.text, kind=ICONS[x.of], detail=x.doc.split("\n")[0][:120], documentation=x.doc) for x in words]
        return lsp.CompletionList(bool(known), items)

    @ls.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hovered(params: lsp.HoverParams) -> lsp.Hover | None:
        held = fresh(params.text_document.uri)
        if held is None:
            return None
        line, column = _place(ls, held.source, params.position)
        if line > len(held.source.lines):
            return None
        begin, word = word_at(held.source.lines[line - 1], column)
        mention = names.at(names.mentions(held.tree), line, column)
        at = context(before(held.source.lines, line, begin))
        said = hover(word, at, mention, held.source, held.tree, held.plan) if word and not at.comment and at.quoted is None else None
        if said is None:
            return None
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, said), _range(ls, held.source, Span(line, begin, len(word))))

    @ls.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        found = mentioned(params.text_document.uri, params.position)
        if found is None:
            return None
        held, every, one = found
        declared = next((m for m in names.same(every, one) if m.declares), None)
        return None if declared is None else lsp.Location(params.text_document.uri, _range(ls, held.source, declared.span))

    @ls.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def references(params: lsp.ReferenceParams) -> list[lsp.Location]:
        found = mentioned(params.text_document.uri, params.position)
        if found is None:
            return []
        held, every, one = found
        kept = [m for m in names.same(every, one) if params.context.include_declaration or not m.declares]
        return [lsp.Location(params.text_document.uri, _range(ls, held.source, m.span)) for m in kept]

    @ls.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    def renameable(params: lsp.PrepareRenameParams) -> lsp.Range | None:
        found = mentioned(params.text_document.uri, params.position)
        return None if found is None else _range(ls, found[0].source, found[2].span)

    @ls.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    def rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        found = mentioned(params.text_document.uri, params.position)
        new = params.new_name
        if found is None or not new.isidentifier() or new in TAKEN:
            return None
        held, every, one = found
        if any(m.name == new and m.declares for m in every):
            return None  # two things of one name
        edits = [lsp.TextEdit(_range(ls, held.source, m.span), new) for m in names.same(every, one)]
        return lsp.WorkspaceEdit({params.text_document.uri: edits})

    @ls.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        held = documents.get(params.text_document.uri)
        return [] if held is None else list(_symbols(ls, held))


def _symbols(ls: LanguageServer, held: Held) -> Iterator[lsp.DocumentSymbol]:
    lines = held.source.lines
    found = [x for x in names.declarations(held.tree) if x.span.line <= len(lines)]  # the tree may be of a longer text
    for k, x in enumerate(found):
        last = max(x.span.line, found[k + 1].span.line - 1 if k + 1 < len(found) else len(lines))
        whole = _range(ls, held.source, Span(x.span.line, 1), (last, len(lines[last - 1]) + 1))
        kind, detail = (lsp.SymbolKind.Constant, f"param: {x.type}") if isinstance(x, s.Param) else (lsp.SymbolKind.Class, x.kind)
        yield lsp.DocumentSymbol(x.name, kind, whole, _range(ls, held.source, x.span), detail)


def _vocabulary(held: Held) -> list[str]:
    """Every token of the spec's networks."""
    found: dict[str, None] = {}
    for form in check(load(held.tree, {})).networks:
        found |= dict.fromkeys(_tokens(form, held.source.folder))
    return list(found)


def _tokens(form: Network, folder: Path) -> tuple[str, ...]:
    try:
        held = checkpoint(locate(folder, form.source.value, form.source.span), form.source.span)
        return vocabulary.read(form, held, folder) or ()
    except (SpecError, AttributeError):
        return ()


# -- changes of the text ------------------------------------------------------------------------------------------------------


def _changes(ls: LanguageServer, documents: dict[str, Held]) -> None:
    @ls.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def formatting(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
        source = _source(ls, params.text_document.uri)
        try:
            text = laid_out(source)
        except (SpecError, LayoutError):
            return None
        old, new = _LINES.findall(source.text), _LINES.findall(text)
        edits = []
        for tag, first, last, begin, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if tag != "equal":
                edits.append(lsp.TextEdit(lsp.Range(lsp.Position(first, 0), lsp.Position(last, 0)), "".join(new[begin:end])))
        return edits

    @ls.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix]))
    def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        held = documents.get(params.text_document.uri)
        if held is None:
            return []
        found = []
        first, last = params.range.start.line + 1, params.range.end.line + 1
        for x in held.problems:
            if x.span is not None and not first <= x.span.line <= last:
                continue
            for fix in fixes(x, held.source):
                edit = lsp.TextEdit(_range(ls, held.source, fix.span), fix.text)
                changes = lsp.WorkspaceEdit({params.text_document.uri: [edit]})
                told = [_told(ls, held.source, x)]
                found.append(lsp.CodeAction(fix.title, lsp.CodeActionKind.QuickFix, told, is_preferred=True, edit=changes))
        return found


# -- runs ---------------------------------------------------------------------------------------------------------------------


def _runs(ls: LanguageServer, documents: dict[str, Held]) -> None:
    paces: list[Pace] = []  # empty until it is measured

    @ls.feature(lsp.INITIALIZED)
    async def begun(_: lsp.InitializedParams) -> None:
        found = await asyncio.get_running_loop().run_in_executor(None, pace)
        if found is not None:
            paces.append(found)
            _refresh(ls)

    @ls.feature(lsp.TEXT_DOCUMENT_CODE_LENS, lsp.CodeLensOptions())
    def lenses(params: lsp.CodeLensParams) -> list[lsp.CodeLens]:
        uri = params.text_document.uri
        held = documents.get(uri)
        if held is None or held.plan is None or not held.current:
            return []
        if held.run is not None:
            return [lsp.CodeLens(lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0)), lsp.Command("stop verifying", STOP, arguments=[uri]))]
        asked = {q.name: _size(q, paces) for q in held.plan.queries}
        asked |= {q.name: f"{len(q.variants)} matri{'x' if len(q.variants) == 1 else 'ces'}" for q in held.plan.spectra}
        found = []
        for x in (e for e in names.declarations(held.tree) if isinstance(e, s.Declaration) and e.name in asked and e.kind in names.ASKED):
            title = f"verify ({asked[x.name]})"
            found.append(lsp.CodeLens(_range(ls, held.source, x.span), lsp.Command(title, VERIFY, arguments=[uri, x.name])))
        return found

    @ls.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    def hints(params: lsp.InlayHintParams) -> list[lsp.InlayHint]:
        held = documents.get(params.text_document.uri)
        if held is None:
            return []
        found = []
        for query, number, gate in gates(held.tree):
            said = held.gates.shown(query, number, gate.text, held.source.words_sha256)
            if said is not None:
                place = _range(ls, held.source, Span(*gate.end), gate.end).start
                found.append(lsp.InlayHint(place, said, padding_left=True))
        return found

    @ls.command(VERIFY)
    async def verify(uri: str, *queries: str) -> bool:
        """Of one query, or of all. Whether a run was begun."""
        held = documents.get(uri)
        if held is None or held.plan is None or not held.current:
            ls.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Error, "this spec has errors: nothing was run"))
            return False
        if held.run is not None:
            ls.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Info, "a run of this spec is under way"))
            return False
        only = list(queries)
        held.gates.begin(held.tree, held.plan, held.source.words_sha256, only)
        end = await _progress(ls, f"verifying {', '.join(only) or Path(held.source.path).name}")
        loop = asyncio.get_running_loop()

        def done(run: Verification, code: int, report: dict[str, Any] | None) -> None:
            def tell() -> None:
                held.run = None
                held.gates.finish(report)
                end()
                if report is None and not run.stopped:
                    said = run.said.strip() or f"the run ended with exit code {code}"
                    ls.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Error, said))
                _refresh(ls)

            loop.call_soon_threadsafe(tell)

        held.run = start(held.source, only, done)
        _refresh(ls)
        return True

    @ls.command(STOP)
    def stop(uri: str) -> bool:
        """Whether there was a run."""
        held = documents.get(uri)
        if held is None or held.run is None:
            return False
        held.run.stop()
        return True


def _size(query: QueryPlan, paces: Sequence[Pace]) -> str:
    rows = cost(query).rows
    about = "".join(f", about {in_words(seconds(query, pace))}" for pace in paces)
    return f"{rows} row{'' if rows == 1 else 's'}{about}"


async def _progress(ls: LanguageServer, title: str) -> Callable[[], None]:
    """Shows that something is going on, until what is returned is called."""
    window = ls.client_capabilities.window
    if window is None or not window.work_done_progress:
        return lambda: None
    token = f"rspec-{uuid.uuid4()}"
    await ls.work_done_progress.create_async(token)
    ls.work_done_progress.begin(token, lsp.WorkDoneProgressBegin(title))
    return lambda: ls.work_done_progress.end(token, lsp.WorkDoneProgressEnd())
