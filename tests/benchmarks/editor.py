"""Diagnostics of a spec of 3,000 lines after a keystroke, through the language server: seconds until they are there.

python tests/benchmarks/editor.py
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

SPECS = Path(__file__).parents[2] / "specs"
HEAD = """rspec 1
network net { checkpoint = "checkpoints/digits_lstm.safetensors" }
dataset digits { source = "data/digits_test.npz", pick = first(20), where = correct }
"""
QUERY = """
# query number {i}
radius q{i} {{
  network = net
  input = digits
  perturbation = {{ frames = all, norm = 2 }}
  engine = {{ method = planes, tolerance = 1e-3 }}
  sweep perturbation.norm in [1, 2, inf]
  expect rate(radius > 0) >= 95% because "most of them hold"
  expect min(radius) >= 0.01 because "none below"
}}
"""
QUERIES, KEYSTROKES = 273, 24


async def main() -> None:
    text = HEAD + "".join(QUERY.format(i=i) for i in range(QUERIES))
    client, told = LanguageClient("benchmark", "1"), asyncio.Event()
    client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(lambda _: told.set())
    await client.start_io(sys.executable, "-m", "vlang.cli", "lsp")
    await client.initialize_async(lsp.InitializeParams(capabilities=lsp.ClientCapabilities()))
    uri = (SPECS / "benchmark.rspec").as_uri()
    begun = time.perf_counter()
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "rspec", 1, text)))
    await told.wait()
    print(f"{len(text.splitlines())} lines opened in {time.perf_counter() - begun:.2f} s")
    took = []
    for k in range(KEYSTROKES):
        told.clear()
        place = lsp.Position(6 + 11 * 11 * k, 0)
        begun = time.perf_counter()
        change = lsp.TextDocumentContentChangePartial(lsp.Range(place, place), ("\n", "x", " ")[k % 3])
        client.text_document_did_change(lsp.DidChangeTextDocumentParams(lsp.VersionedTextDocumentIdentifier(k + 2, uri), [change]))
        await told.wait()
        took.append(time.perf_counter() - begun)
    print(f"{KEYSTROKES} keystrokes (a line, a letter, a blank, in turn): median {statistics.median(took):.3f} s, largest {max(took):.3f} s")
    await client.shutdown_async(None)
    client.exit(None)


if __name__ == "__main__":
    asyncio.run(main())
