"""The language server as an editor meets it: through its standard input and output, with places in the editor's units."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_lsp
from lsprotocol import types as lsp
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

ROOT = Path(__file__).parents[3]
SPEC = """rspec 1
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(2) }}
engine e {{ method = interval, tolerance = {tolerance} }}
radius q {{
  network = net, input = data, perturbation = {{ frames = [1], norm = 2 }}, engine = e
  expect max(radius) > 0 because "é𝄞"
  expect min(radius) > 1000 because "no"
}}
"""
#: Keeps a run busy until it is stopped.
LONG = """attack a {{ network = net, input = data, perturbation = {{ frames = all, norm = 2 }}, restarts = 10000, steps = 100000
  expect all(found) because "no" }}
"""


@pytest_lsp.fixture(
    config=ClientServerConfig(server_command=[sys.executable, "-m", "vlang.cli", "lsp"], server_env=os.environ | {"PYTHONPATH": str(ROOT)})
)
async def client(lsp_client: LanguageClient) -> AsyncIterator[None]:
    for asked in (lsp.WORKSPACE_CODE_LENS_REFRESH, lsp.WORKSPACE_INLAY_HINT_REFRESH):
        lsp_client.feature(asked)(lambda _: None)
    capabilities = client_capabilities("visual-studio-code")
    await lsp_client.initialize_session(lsp.InitializeParams(capabilities=capabilities, root_uri=None))
    yield
    await lsp_client.shutdown_session()


def opened(client: LanguageClient, path: Path, text: str) -> str:
    uri = path.as_uri()
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "rspec", 1, text)))
    return uri


def changed(client: LanguageClient, uri: str, version: int, text: str) -> None:
    change = lsp.TextDocumentContentChangeWholeDocument(text)
    client.text_document_did_change(lsp.DidChangeTextDocumentParams(lsp.VersionedTextDocumentIdentifier(version, uri), [change]))


async def told(client: LanguageClient, uri: str, codes: list[str]) -> list[lsp.Diagnostic]:
    """The diagnostics, once they have these codes."""
    for _ in range(200):
        found = client.diagnostics.get(uri)
        if found is not None and [x.code for x in found] == codes:
            return list(found)
        await asyncio.sleep(0.05)
    raise AssertionError(client.diagnostics.get(uri))


async def hints(client: LanguageClient, uri: str) -> list[str]:
    everywhere = lsp.Range(lsp.Position(0, 0), lsp.Position(100, 0))
    found = await client.text_document_inlay_hint_async(lsp.InlayHintParams(lsp.TextDocumentIdentifier(uri), everywhere))
    return [str(x.label) for x in found or ()]


async def lenses(client: LanguageClient, uri: str) -> list[lsp.Command]:
    found = await client.text_document_code_lens_async(lsp.CodeLensParams(lsp.TextDocumentIdentifier(uri)))
    return [x.command for x in found or () if x.command is not None]


async def command(client: LanguageClient, of: lsp.Command) -> object:
    return await client.workspace_execute_command_async(lsp.ExecuteCommandParams(of.command, of.arguments))


def running() -> list[psutil.Process]:
    """Verifications that servers of this process have begun."""
    return [x for x in psutil.Process().children(recursive=True) if "vlang.child" in " ".join(x.cmdline())]


@pytest.mark.asyncio
async def test_a_text_is_told_of_as_it_is_typed(client: LanguageClient, world: Path, tmp_path: Path) -> None:
    text = SPEC.format(world=world, tolerance=0.5)
    uri = opened(client, tmp_path / "s.rspec", text)
    assert await told(client, uri, []) == []
    # behind characters that UTF-16 needs two units for, places are the editor's
    wrong = text.replace("pick = first(2)", 'labls = "𝄞𝄞", pikc = first(2)')
    changed(client, uri, 2, wrong)
    labels, pick = await told(client, uri, ["R203", "R203"])
    line = wrong.split("\n")[2]
    for x, word in ((labels, "labls"), (pick, "pikc")):
        units = len(line[: line.index(word)].encode("utf-16-le")) // 2
        assert (x.range.start, x.range.end) == (lsp.Position(2, units), lsp.Position(2, units + len(word)))
        assert x.code_description is not None
        assert x.code_description.href.endswith("docs/errors.md#r203")
    where = lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri), pick.range, lsp.CodeActionContext([pick]))
    actions = await client.text_document_code_action_async(where)
    (edit,) = [e for a in actions or () if isinstance(a, lsp.CodeAction) and a.edit for e in (a.edit.changes or {})[uri] if e.range == pick.range]
    assert edit.new_text == "pick"
    assert await lenses(client, uri) == []  # nothing can be verified while there are errors
    changed(client, uri, 3, text.replace(' because "no"', ""))
    assert [x.severity for x in await told(client, uri, ["L101"])] == [lsp.DiagnosticSeverity.Warning]


@pytest.mark.asyncio
async def test_questions_about_places(client: LanguageClient, world: Path, tmp_path: Path) -> None:
    text = SPEC.format(world=world, tolerance=0.5).replace("engine = e", "engine  =  e")
    uri = opened(client, tmp_path / "s.rspec", text)
    document = lsp.TextDocumentIdentifier(uri)
    await told(client, uri, [])
    line = text.split("\n")[5]
    place = lsp.Position(5, line.index("= net") + 3)
    definition = await client.text_document_definition_async(lsp.DefinitionParams(document, place))
    assert isinstance(definition, lsp.Location)
    assert definition.range.start == lsp.Position(1, 8)
    renamed = await client.text_document_rename_async(lsp.RenameParams(document, place, "lstm"))
    assert renamed is not None
    assert [(e.range.start.line, e.new_text) for e in (renamed.changes or {})[uri]] == [(1, "lstm"), (5, "lstm")]
    assert await client.text_document_rename_async(lsp.RenameParams(document, place, "e")) is None  # there is one already
    place = lsp.Position(3, text.split("\n")[3].index("interval") + 2)
    completion = await client.text_document_completion_async(lsp.CompletionParams(document, place))
    assert isinstance(completion, lsp.CompletionList)
    assert [x.label for x in completion.items] == ["interval"]
    hover = await client.text_document_hover_async(lsp.HoverParams(document, place))
    assert hover is not None
    assert "constants" in str(hover.contents)
    symbols = await client.text_document_document_symbol_async(lsp.DocumentSymbolParams(document))
    assert [x.name for x in symbols or ()] == ["net", "data", "e", "q"]
    for name in ("any", "in", "q r", ""):
        assert await client.text_document_rename_async(lsp.RenameParams(document, lsp.Position(5, line.index("= net") + 3), name)) is None
    edits = await client.text_document_formatting_async(lsp.DocumentFormattingParams(document, lsp.FormattingOptions(2, True)))
    assert [(e.range.start.line, "engine = e" in e.new_text) for e in edits or ()] == [(5, True)]


@pytest.mark.asyncio
async def test_a_run_is_shown_beside_its_gates(client: LanguageClient, world: Path, tmp_path: Path) -> None:
    text = SPEC.format(world=world, tolerance=0.5)
    uri = opened(client, tmp_path / "s.rspec", text)  # of which there is no file: what is run is what is seen
    await told(client, uri, [])
    assert await hints(client, uri) == []
    for _ in range(300):  # until this machine is measured
        (verify,) = await lenses(client, uri)
        if verify.title != "verify (2 rows)":
            break
        await asyncio.sleep(0.1)
    assert verify.title == "verify (2 rows, about 1 s)"
    assert await command(client, verify) is True
    assert await hints(client, uri) == ["running ..."] * 2
    for _ in range(600):
        shown = await hints(client, uri)
        if "running ..." not in shown:
            break
        await asyncio.sleep(0.1)
    assert [x.split(": ")[1] for x in shown] == ["proved", "FAILED"]
    assert all(x.startswith("found ") for x in shown), shown
    changed(client, uri, 2, "\n# a comment\n" + text.replace(" norm = 2", "  norm = 2"))
    await told(client, uri, [])
    assert await hints(client, uri) == shown  # it says the same
    changed(client, uri, 3, text.replace("frames = [1]", "frames = [0]"))
    for _ in range(100):
        now = await hints(client, uri)
        if now != shown:
            break
        await asyncio.sleep(0.05)
    assert now == [f"stale ({x})" for x in shown]
    changed(client, uri, 4, text.replace("frames = [1]", "frames = "))
    await told(client, uri, ["R101"])
    assert not any("proved" in x and "stale" not in x for x in await hints(client, uri))


@pytest.mark.asyncio
async def test_a_run_is_stopped_and_leaves_nothing(client: LanguageClient, world: Path, tmp_path: Path) -> None:
    uri = opened(client, tmp_path / "s.rspec", SPEC.format(world=world, tolerance=0.5) + LONG.format())
    await told(client, uri, [])
    _, verify = await lenses(client, uri)
    assert await command(client, verify) is True
    assert await command(client, verify) is False  # one is under way
    (stop,) = await lenses(client, uri)
    (process,) = running()
    assert await command(client, stop) is True
    process.wait(10)
    for _ in range(100):
        if await lenses(client, uri) != [stop]:
            break
        await asyncio.sleep(0.05)
    assert await hints(client, uri) == ["stopped"]
    assert await command(client, verify) is True
    (process,) = running()
    process.send_signal(signal.SIGKILL)  # by whoever wants the machine back
    process.wait(10)
    for _ in range(100):
        if await lenses(client, uri) != [stop]:
            break
        await asyncio.sleep(0.05)
    assert running() == []
    assert await hints(client, uri) == ["stopped"]


def test_a_run_ends_with_its_server(world: Path, tmp_path: Path) -> None:
    """Though the server is killed, which tells nobody."""
    path = tmp_path / "s.rspec"
    path.write_text(SPEC.format(world=world, tolerance=0.5) + LONG.format())
    server = f"""
import time
from pathlib import Path
from vlang.editor.verification import start
from vlang.text.source import Source
run = start(Source({str(path)!r}, Path({str(path)!r}).read_text()), ["a"], lambda *_: None)
print(run.process.pid, flush=True)
time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)
        assert child.is_running()
        parent.kill()
        child.wait(20)


@pytest.mark.asyncio
@pytest.mark.parametrize("odd", ["\f", "\u2028", "\x85", "\x1c", "\v"])
async def test_only_the_protocols_ends_of_lines_are_ends(client: LanguageClient, tmp_path: Path, odd: str) -> None:
    """Python's splitlines knows more of them."""
    text = f'rspec 1\n# a{odd}b\nparam   a: number=1\nparam t: text = "x{odd}y"\nnetwrk   n {{ }}'
    uri = opened(client, tmp_path / "s.rspec", text)
    (wrong,) = await told(client, uri, ["R201"])
    assert wrong.range == lsp.Range(lsp.Position(4, 0), lsp.Position(4, 6))
    edits = await client.text_document_formatting_async(lsp.DocumentFormattingParams(lsp.TextDocumentIdentifier(uri), lsp.FormattingOptions(2, True)))
    lines = [*(x + "\n" for x in text.split("\n")[:-1]), text.split("\n")[-1]]
    for e in sorted(edits or (), key=lambda e: -e.range.start.line):
        assert e.range.start.character == e.range.end.character == 0
        lines[e.range.start.line : e.range.end.line] = [e.new_text]
    assert "".join(lines) == f'rspec 1\n# a{odd}b\nparam a: number = 1\nparam t: text = "x{odd}y"\nnetwrk n {{}}\n'


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["", "rspec 1\n", "# c", "radius q {", "rspec 1\nnetwork net {\n\n\n\n}\n"])
async def test_no_question_about_any_place_fails(client: LanguageClient, tmp_path: Path, text: str) -> None:
    uri = opened(client, tmp_path / "s.rspec", "\n" * 9 + text)
    document = lsp.TextDocumentIdentifier(uri)
    changed(client, uri, 2, text)  # what is asked next is about a shorter text than the one that was looked at
    for line, column in ((0, 0), (0, 3), (7, 0), (99, 99)):
        place = lsp.Position(line, column)
        await client.text_document_hover_async(lsp.HoverParams(document, place))
        await client.text_document_completion_async(lsp.CompletionParams(document, place))
        await client.text_document_definition_async(lsp.DefinitionParams(document, place))
        await client.text_document_document_symbol_async(lsp.DocumentSymbolParams(document))
        await client.text_document_formatting_async(lsp.DocumentFormattingParams(document, lsp.FormattingOptions(2, True)))
        await lenses(client, uri)
        await hints(client, uri)
