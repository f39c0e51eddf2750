"""The documentation's pages are made, and no link in them leads nowhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site() -> Any:
    pytest.importorskip("markdown_it")
    spec = importlib.util.spec_from_file_location("site_of_docs", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["site_of_docs"] = module
    spec.loader.exec_module(module)
    return module


def test_every_link_leads_somewhere(site: Any, tmp_path: Path) -> None:
    assert site.build(tmp_path) == []
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.html")} >= {"index.html", "grammar/index.html", "docs/errors.html"}
    text = (tmp_path / "docs" / "errors.html").read_text()
    assert '<h2 id="r213">' in text  # what SARIF and editors link to
    assert (tmp_path / "specs" / "pictures" / "spectra.svg").is_file()
    assert 'href="../vlang' not in (tmp_path / "grammar" / "index.html").read_text()


def test_a_link_that_leads_nowhere_is_told(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in site.PAGES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# A\n")
    (tmp_path / "README.md").write_text(
        "# A b\n\n[x](docs/ci.md#a) [y](gone.md) [z](docs/ci.md#gone) [here](#a-b) ![p](no.png) [w](https://example.org/x)\n"
    )
    monkeypatch.setattr(site, "ROOT", tmp_path)
    assert site.build(tmp_path / "out") == [f"README.md: {x} leads nowhere" for x in ("gone.md", "docs/ci.md#gone", "no.png")]
