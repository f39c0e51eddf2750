"""Reports: rows of several queries joined, tabulated, gated, and written in every format."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vlang import cli
from vlang.expression import written
from vlang.formats import PAGES
from vlang.formats.html import ticks
from vlang.judge.verdict import EXIT_CODES, judge
from vlang.lower.spec import compile_spec
from vlang.plan import DatasetInput, Plan
from vlang.report import Page, Report
from vlang.results import ROWS, EngineInfo, QueryResult, Results, Row, SpectrumResult
from vlang.runtime.execute import execute
from vlang.text.parser import parse_expression
from vlang.text.source import Source
from vlang.typed.conditions import Scope, check_value

SPECS = Path(__file__).parents[3] / "specs"
HEAD = """rspec 1
network a { checkpoint = "lstm.safetensors" }
network b { checkpoint = "gru.safetensors" }
dataset d { source = "data.npz", pick = first(2) }
perturbation p { frames = all, norm = 2 }
radius cert { network = a, input = d, perturbation = p, target = any, sweep network in [a, b] }
attack near { network = a, input = d, perturbation = p, target = any, sweep network in [a, b] }
attack far { network = a, input = d, perturbation = p, target = any, sweep method in [fgsm, cw], sweep network in [a, b] }
estimate guess { network = a, input = d, perturbation = p, target = any, sweep network in [a, b] }
"""
CERTIFIED = {("a", 0): 0.1, ("a", 1): 0.2, ("b", 0): 0.3, ("b", 1): 0.4}


def row(sample: int, swept: dict[str, str], kind: str = "radius", **values: Any) -> Row:
    asked = {"sample": sample, "label": "A", "predicted": "A", "target": "any", "frames": (0, 1, 2, 3), "norm": 2}
    return ROWS[kind](**{**asked, "verdict": "certified" if "radius" in values else "unknown", "swept": tuple(swept.items()), **values})


def answers(name: str) -> list[Row]:
    """What a run of HEAD might have found: attacks at five times the certified radius, estimates at three times."""
    sweeps = [{"network": n} for n in "ab"]
    if name == "far":
        sweeps = [{"method": m, "network": n} for m in ("fgsm", "cw") for n in "ab"]
    found = []
    for swept in sweeps:
        for sample in (0, 1):
            radius = CERTIFIED[swept["network"], sample]
            factor = {"cert": 1.0, "near": 5.0, "far": 7.0 if swept.get("method") == "cw" else 9.0, "guess": 3.0}[name]
            kind = {"cert": "radius", "near": "attack", "far": "attack", "guess": "estimate"}[name]
            value = {"estimate": radius * factor, "verdict": "estimate"} if name == "guess" else {"radius": radius * factor}
            found.append(row(sample, swept, kind, **value))
    return found


def judged(world: Path, report: str, **changed: list[Row]) -> Report:
    plan = compile_spec(Source(str(world / "x.rspec"), HEAD + report))
    rows = {q.name: changed.get(q.name, answers(q.name)) for q in plan.queries}
    results = tuple(QueryResult(q.name, q.kind, 1.0, tuple(rows[q.name])) for q in plan.queries)
    return judge(plan, found(plan, results))


def found(plan: Plan, results: tuple[QueryResult, ...], spectra: tuple[SpectrumResult, ...] = ()) -> Results:
    """What a run might have returned."""
    variants = [v for q in (*plan.queries, *plan.spectra) for v in q.variants]
    files = {v.network.checkpoint for v in variants} | {v.input.inputs.path for v in variants if isinstance(v.input, DatasetInput)}
    return Results(EngineInfo("0", "0", "cpu", "float64"), results, spectra, tuple((path, "0" * 64) for path in files))


def page(world: Path, report: str, **changed: list[Row]) -> Page:
    return judged(world, report, **changed).pages[0]


def test_rows_are_joined_on_what_they_ask(world: Path) -> None:
    found = page(world, "report r { of = [cert, near, guess], rows = [network, sample], cell = [mean(cert.radius), mean(near.radius)] }")
    assert found.table.head == ("network", "sample", "mean(cert.radius)", "mean(near.radius)")
    assert found.table.lines == (("a", "0", "0.1", "0.5"), ("a", "1", "0.2", "1"), ("b", "0", "0.2999", "1.5"), ("b", "1", "0.4", "2"))
    assert len(found.records.lines) == 4
    assert [b.certified for b in found.brackets] == [0.1, 0.2, 0.3, 0.4]


def test_certified_numbers_are_rounded_down_attacks_up(world: Path) -> None:
    third = [row(0, {"network": "a"}, radius=1 / 3)]
    near = [row(0, {"network": "a"}, "attack", radius=2 / 3, verdict="falsified")]
    found = page(world, "report r { of = [cert, near], rows = network }", cert=third, near=near)
    assert found.table.lines == (("a", "0.3333", "0.6667"),)


def test_a_sweep_of_one_query_multiplies_the_records(world: Path) -> None:
    found = page(world, "report r { of = [cert, far], rows = network, cols = method, cell = { ours = max(cert.radius), theirs = min(far.radius) } }")
    assert found.table.head == ("network", "method fgsm ours", "method fgsm theirs", "method cw ours", "method cw theirs")
    assert found.table.lines == (("a", "0.2", "0.9001", "0.2", "0.7001"), ("b", "0.4", "2.7", "0.4", "2.101"))
    assert len(found.records.lines) == 8


def test_a_certificate_above_an_attack_fails_the_report_unasked(world: Path) -> None:
    wrong = answers("near")
    wrong[2] = replace(wrong[2], radius=0.29)
    report = judged(world, "report r { of = [cert, near] }", near=wrong)
    assert report.verdict == "failed"
    assert EXIT_CODES[report.verdict] == 1
    (gate,) = report.pages[0].expectations
    assert (gate.text, gate.verdict) == ("all(cert.radius <= near.radius)", "failed")
    assert judged(world, "report r { of = [cert, near] }").verdict == "passed"
    # Said by the user, it is asked once.
    assert len(page(world, "report r { of = [cert, near], expect all(cert.radius <= near.radius) }").expectations) == 1


def test_an_attack_that_found_nothing_contradicts_nothing(world: Path) -> None:
    nothing = [replace(r, radius=None, verdict="unknown") for r in answers("near")]
    found = page(world, "report r { of = [cert, near], rows = network }", near=nothing)
    assert found.table.lines[0] == ("a", "0.15", "inf")
    assert found.expectations[0].verdict == "passed"


def test_rows_without_a_counterpart_leave_a_gate_undecided(world: Path) -> None:
    report = judged(world, "report r { of = [cert, near], expect all(cert.radius < near.radius) }", near=answers("near")[:3])
    assert [g.verdict for g in report.pages[0].expectations] == ["unknown", "passed"]
    assert "1 of 4 rows" in report.pages[0].expectations[0].actual
    assert report.verdict == "inconclusive"


def test_unfinished_rows_are_ranges(world: Path) -> None:
    late = [replace(r, complete=False) for r in answers("cert")]
    found = page(world, "report r { of = [cert, near], rows = network }", cert=late)
    assert found.table.lines[0][1] == "0.15 or more"
    assert found.expectations[0].verdict == "unknown"


def test_figures_from_elsewhere_stand_beside_ours(world: Path) -> None:
    found = page(world, 'report r { of = [cert, reported("figures.csv")], rows = sample, cell = [mean(cert.radius), mean(reported.found)] }')
    assert found.table.lines == (("0", "0.2", "0.5"), ("1", "0.3", "0.25"))
    assert ("reported", "figures.csv: figures from elsewhere, not computed here") in found.provenance


SOME = 'report r { of = [cert, near, guess], rows = network, expect mean(cert.radius) > 0.2 because "a < b & c | d_e" }'


def test_markdown_and_text(world: Path) -> None:
    found = page(world, SOME)
    text = PAGES["markdown"](found)
    assert "| network | cert.radius | near.radius | guess.estimate |" in text
    assert "| a | 0.15 | 0.75 | 0.45 |" in text
    assert "lstm.safetensors, sha256" in text
    plain = PAGES["text"](found)
    assert re.search(r"^a +0\.15 +0\.75 +0\.45$", plain, re.M)
    assert "passed: expect mean(cert.radius) > 0.2" in plain


def test_csv_holds_every_row_in_full(world: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(PAGES["csv"](page(world, SOME)))))
    assert [float(x["cert.radius"]) for x in lines] == list(CERTIFIED.values())
    assert float(lines[3]["near.radius"]) == 5 * 0.4


def test_latex_escapes(world: Path) -> None:
    text = PAGES["latex"](page(world, "report r { of = cert, rows = network, cell = { a_b = mean(cert.radius) } }"))
    assert r"network & a\_b \\" in text
    assert r"\begin{tabular}{lr}" in text


class Checker(HTMLParser):
    """Collects what a page would fetch, and whether its tags are closed."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v and not v.startswith(("#", "data:"))]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_fetches_nothing_and_escapes_everything(world: Path) -> None:
    evil = [replace(r, reason="<script>alert(1)</script>") for r in answers("cert")]
    text = PAGES["html"](page(world, SOME, cert=evil))
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.fetched == []
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def words(**extra: Any) -> list[Row]:
    tokens = ["What", "is", "$1", "<b>", "dog", "?"]
    return [row(0, {}, frames=(k,), tokens=(t,), radius=0.1 * (k + 1), **extra) for k, t in enumerate(tokens)]


TEXT = """rspec 1
network n { checkpoint = "text.safetensors" }
input i { text = "what is the name of dog" }
radius q { network = n, input = i, perturbation = { frames = each, norm = 2 } }
report r { of = q, rows = frames }
"""
MOVES = """rspec 1
network n { checkpoint = "lstm.safetensors" }
input i { values = [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]] }
radius q { network = n, input = i, perturbation = { frames = each, norm = 2 } }
report r { of = q, rows = frames, picture = strokes }
"""


def pictured(world: Path, spec: str, rows: list[Row]) -> Page:
    plan = compile_spec(Source(str(world / "x.rspec"), spec))
    return judge(plan, found(plan, (QueryResult("q", "radius", 1.0, tuple(rows)),))).pages[0]


def test_words_are_drawn_over_their_radii(world: Path) -> None:
    found = pictured(world, TEXT, words())
    assert [h.kind for h in found.heats] == ["words"]
    svg = PAGES["svg"](found)
    drawn = "".join(ET.fromstring(svg.split("?>", 1)[1]).itertext())
    assert all(t in drawn for t in ("What", "$1", "<b>", "0.1", "0.6"))
    assert PAGES["svg"](found) == svg  # the same picture from the same numbers
    text = PAGES["html"](found)
    assert text.count('class="word marked"') == 3
    assert "&lt;b&gt;" in text


def test_a_pen_is_drawn_move_by_move(world: Path) -> None:
    moves = ((1.0, 1.0, 0.0, 0.0), (5.0, 0.0, 0.0, 0.0), (0.0, 5.0, 1.0, 0.0), (2.0, 2.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 1.0))
    rows = [replace(r, tokens=None, values=moves) for r in words()]
    found = pictured(world, MOVES, rows)
    assert [h.kind for h in found.heats] == ["strokes"]
    assert "certified radius" in "".join(ET.fromstring(PAGES["svg"](found).split("?>", 1)[1]).itertext())
    # Values that are no pen's moves have no such picture.
    assert pictured(world, MOVES, [replace(r, values=((1.0, 2.0),) * 6) for r in rows]).heats == ()


def test_without_a_heat_map_the_picture_is_of_brackets(world: Path) -> None:
    drawn = "".join(ET.fromstring(PAGES["svg"](page(world, SOME)).split("?>", 1)[1]).itertext())
    assert "certified" in drawn
    assert "network a, sample 0" in drawn


CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (420, False), (1100, True)])
def test_a_browser_shows_the_page(world: Path, tmp_path: Path, width: int, dark: bool) -> None:
    """No console error; pictures have sizes; on a phone nothing but tables is wider than the screen. A probe writes what it sees into the title."""
    assert CHROMIUM is not None
    moves = tuple((float(k % 3), 1.0, float(k == 5), float(k == 5)) for k in range(6))
    html = PAGES["html"](pictured(world, MOVES, [replace(r, tokens=None, values=moves) for r in words()]))
    probe = """<script>
window.errors = []; window.addEventListener('error', e => window.errors.push(e.message));
window.addEventListener('load', () => { const seen = {
  errors: window.errors, wide: document.documentElement.scrollWidth - window.innerWidth,
  pictures: [...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect()).map(r => [r.width, r.height]),
  bars: [...document.querySelectorAll('.proved')].map(s => s.getBoundingClientRect().width),
  ink: getComputedStyle(document.body).color, paper: getComputedStyle(document.body).backgroundColor };
  document.title = JSON.stringify(seen); });
</script>"""
    (tmp_path / "page.html").write_text(html.replace("<head>", "<head>" + probe))
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={max(width, 500)},900", "--dump-dom"]
    if width < 500:  # Chromium's window is no narrower than 500: the page is framed
        (tmp_path / "frame.html").write_text(f'<iframe src="page.html" style="width:{width}px;height:800px"></iframe>')
        (tmp_path / "page.html").write_text((tmp_path / "page.html").read_text().replace("document.title =", "parent.document.title ="))
        command.append("--allow-file-access-from-files")
    if dark:
        command.append("--blink-settings=preferredColorScheme=0")
    target = tmp_path / ("frame.html" if width < 500 else "page.html")
    done = subprocess.run(
        [*command, "--enable-logging=stderr", f"--user-data-dir={tmp_path}/profile", target.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title, done.stderr[-2000:]
    seen = json.loads(title[1].replace("&quot;", '"'))
    assert "CONSOLE" not in done.stderr
    assert seen["errors"] == []
    assert seen["wide"] <= 0
    assert seen["pictures"]
    assert all(w > 100 and h > 100 for w, h in seen["pictures"])
    assert len(seen["bars"]) == 6
    assert seen["bars"] == sorted(seen["bars"])
    ink, paper = (brightness(seen[k]) for k in ("ink", "paper"))
    assert (ink > 0.8 and paper < 0.1) if dark else (ink < 0.2 and paper > 0.9)


def brightness(colour: str) -> float:
    """Of rgb(r, g, b), between 0 and 1."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / (3 * 255)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_page_can_be_printed(world: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    (tmp_path / "page.html").write_text(PAGES["html"](pictured(world, TEXT, words())))
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--no-pdf-header-footer"]
    subprocess.run([*command, f"--print-to-pdf={tmp_path}/page.pdf", (tmp_path / "page.html").as_uri()], capture_output=True, timeout=120, check=True)
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") in (1, 2)


def test_a_run_writes_its_pages_and_json(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "x.rspec"
    spec.write_text(f"""rspec 1
network n {{ checkpoint = "{world}/rnn.safetensors" }}
dataset d {{ source = "{world}/data.npz", pick = first(2) }}
perturbation p {{ frames = all, norm = 2 }}
radius cert {{ network = n, input = d, perturbation = p, engine = {{ method = planes }} }}
attack pgd {{ network = n, input = d, perturbation = p, steps = 10, restarts = 2 }}
radius unrelated {{ network = n, input = d, perturbation = p, engine = {{ method = interval }} }}
report both {{ of = [cert, pgd], path = "out/both.html", format = [html, csv, svg, markdown, latex, text] }}
report shown {{ of = cert, format = csv }}
""")
    assert cli.main([str(spec), "--json", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    assert "report both" in out
    assert "network,sample,label" in out
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".html", ".csv", ".svg", ".md", ".tex", ".txt"}
    report = json.loads((tmp_path / "r.json").read_text())
    assert [p["name"] for p in report["reports"]] == ["both", "shown"]
    assert report["reports"][0]["expectations"][0]["verdict"] == "passed"
    # -q of a report answers its queries alone.
    assert cli.main([str(spec), "-q", "both", "--json", str(tmp_path / "q.json")]) == 0
    assert [q["name"] for q in json.loads((tmp_path / "q.json").read_text())["queries"]] == ["cert", "pgd"]


def test_an_unwritable_page_is_said_before_anything_is_computed(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    spec = tmp_path / "x.rspec"
    spec.write_text(f"""rspec 1
network n {{ checkpoint = "{world}/rnn.safetensors" }}
dataset d {{ source = "{world}/data.npz", pick = first(2) }}
radius cert {{ network = n, input = d, perturbation = {{ frames = all, norm = 2 }} }}
report both {{ of = cert, path = "file/both.html" }}
""")
    assert cli.main([str(spec)]) == 2
    assert re.search(r"x\.rspec:5:\d+: error\[R308\]: cannot write", capsys.readouterr().err)


def test_swept_samples_are_told_apart(world: Path) -> None:
    """`sweep input in [d[0], d[1]]`: shown as written, and joined with their own."""
    spec = """rspec 1
network a { checkpoint = "lstm.safetensors" }
dataset d { source = "data.npz" }
dataset e { inputs = "unit.npy" }
perturbation p { frames = all, norm = 2 }
radius cert { network = a, input = d[1], perturbation = p, sweep input in [e[1], d[1]] }
attack near { network = a, input = d[1], perturbation = p, sweep input in [d[1], e[1]] }
report r { of = [cert, near], rows = input }
"""
    plan = compile_spec(Source(str(world / "x.rspec"), spec))
    sizes = {"cert": (("e[1]", 0.5), ("d[1]", 0.1)), "near": (("d[1]", 0.2), ("e[1]", 0.9))}
    rows = {q.name: tuple(row(1, {"input": name}, q.kind, radius=size) for name, size in sizes[q.name]) for q in plan.queries}
    report = judge(plan, found(plan, tuple(QueryResult(q.name, q.kind, 1.0, rows[q.name]) for q in plan.queries)))
    assert report.pages[0].table.lines == (("e[1]", "0.5", "0.9001"), ("d[1]", "0.1", "0.2001"))
    assert report.verdict == "passed"


def test_rows_of_several_questions_stand_under_one_name(world: Path) -> None:
    """Each beside its own counterpart; a member that has none leaves its line's cell empty; gates see all of them."""
    spec = """rspec 1
network a { checkpoint = "lstm.safetensors" }
network b { checkpoint = "gru.safetensors" }
dataset d { source = "data.npz" }
dataset e { inputs = "unit.npy" }
perturbation p { frames = all, norm = 2 }
radius one { network = a, input = d[1], perturbation = p }
radius two { network = b, input = e[1], perturbation = p }
attack near { network = a, input = d[1], perturbation = p }
attack far { network = b, input = d[1], perturbation = p }
spectrum of_a { of = a.gate(f).weight_hh }
spectrum of_b { of = b.gate(z).weight_hh }
report r {
  of = { certified = [one, two], attacked = [near, far], matrix = [of_a, of_b] }, rows = network
  cell = { c = median(certified.radius), a = median(attacked.radius), s = max(matrix.henrici) }
  expect min(certified.radius) > 0.4
}
"""
    plan = compile_spec(Source(str(world / "x.rspec"), spec))
    assert plan.reports[0].queries == ("one", "two", "near", "far", "of_a", "of_b")
    sizes = {"one": 0.5, "two": 0.25, "near": 0.75, "far": 1.0}
    results = tuple(QueryResult(q.name, q.kind, 1.0, (row(1, {}, q.kind, radius=sizes[q.name]),)) for q in plan.queries)
    spectra = execute(replace(plan, queries=(), reports=()), "test").spectra
    report = judge(plan, found(plan, results, spectra))
    lines = report.pages[0].table.lines
    assert [line[:3] for line in lines] == [("a", "0.5", "0.75"), ("b", "0.25", "1")]
    assert all(float(line[3]) > 0 for line in lines)
    assert [g.verdict for g in report.pages[0].expectations] == ["unknown", "passed"]  # the attack on b has no certificate beside it


def test_infinities_that_meet_decide_nothing(world: Path) -> None:
    nothing = [replace(r, radius=None, verdict="unknown") for r in answers("near")]
    gates = "expect mean(near.radius) - max(near.radius) != 0, expect not (mean(near.radius) - max(near.radius) > 0), expect mean(near.radius) > 1"
    found = page(world, f"report r {{ of = near, cell = mean(near.radius) - max(near.radius), {gates} }}", near=nothing)
    assert [g.verdict for g in found.expectations] == ["unknown", "unknown", "passed"]
    assert found.table.lines[0][-1] == "undecided"


def test_numbers_beyond_float64_are_compared_exactly(world: Path) -> None:
    found = page(world, "report r { of = cert, cell = mean(cert.radius) * 1e300 * 1e300, expect mean(cert.radius) * 1e300 * 1e300 > 1e300 }")
    assert found.expectations[0].verdict == "passed"
    assert found.table.lines[0][-1] == "inf"


def test_an_aggregate_counts_each_row_once(world: Path) -> None:
    gates = "expect count(cert.radius > 0) == 4, expect count(far.radius > 0) == 8, expect count(far.radius > cert.radius) == 8"
    assert [g.verdict for g in page(world, f"report r {{ of = [cert, far], {gates} }}").expectations[:3]] == ["passed"] * 3


@pytest.mark.parametrize(
    "text", ["(a + b) * 2", "a - (b - 1)", "a - b - 1", "a / (b / c)", "-(a + b)", "not (a > b and b > c)", "a > b or b > c and c > a", "(1/3) * a"]
)
def test_expressions_are_written_as_they_are_meant(text: str) -> None:
    scope = Scope({"a": "number", "b": "number", "c": "number"}, "this test")
    first = check_value(parse_expression(text), scope, {})
    assert check_value(parse_expression(written(first)), scope, {}) == first
    assert ("(" in written(first)) == ("(" in text and "1/3" not in text) or "1/3" in text


FRAMES = """rspec 1
network n { checkpoint = "lstm.safetensors" }
dataset d { source = "data.npz", pick = first(2) }
radius q { network = n, input = d, perturbation = { frames = each, norm = 2 }
  expect min(radius) >= 0.25 because "a sensor may be off by that much"
  expect max(radius) < 100 }
report r { of = q, rows = frames, cell = median(q.radius) }
"""


def test_the_page_begins_with_what_does_not_hold(world: Path) -> None:
    rows = [row(sample, {}, frames=(k,), radius=0.1 * (k + 2) + sample, tokens=None) for sample in range(2) for k in range(4)]
    found = pictured(world, FRAMES, rows)
    assert (found.verdict, found.spec, found.floors) == ("failed", "x.rspec", ((0.25, "min(radius) from 0.25"),))
    text = PAGES["html"](found)
    begin = text[text.index("<header") : text.index("</header>")]
    assert begin.startswith('<header class="failed">')
    assert "An expectation does not hold." in begin
    assert begin.index("min(radius) &gt;= 0.25") < begin.index("max(radius) &lt; 100")
    assert "Because: a sensor may be off by that much" in begin
    assert "1 of 8 rows do not hold it: sample 0 frames 0 (0.2)" in begin
    assert text.count('class="floor"') == 8  # the gate is drawn on every row's axis
    assert "certified radius</th>" in text  # not q.radius
    assert ">0.5</td>" in text


def test_frames_that_are_but_numbers_are_a_table_of_colours(world: Path) -> None:
    rows = [row(sample, {}, frames=(k,), radius=0.1 * (k + 2) + sample, tokens=None) for sample in range(2) for k in range(4)]
    (heat,) = pictured(world, FRAMES, rows).heats
    assert (heat.kind, len(heat.marks), [len(x) for x in heat.values]) == ("frames", 2, [4, 4])
    assert heat.sizes == tuple(x for line in heat.values for x in line)
    html = PAGES["html"](pictured(world, FRAMES, rows))
    assert html.count('class="word') == 8 + 2  # and the two lines that hold them
    drawn = "".join(ET.fromstring(PAGES["svg"](pictured(world, FRAMES, rows)).split("?>", 1)[1]).itertext())
    assert "sample 1" in drawn


@pytest.mark.parametrize("most", [1e-9, 0.003, 0.99, 1.0, 1.7, 2.4, 7.6, 9.99, 1e6])
def test_ticks_are_round_and_few(most: float) -> None:
    found = ticks(most)
    assert found[0] == 0
    assert 4 <= len(found) <= 9
    assert most * 0.7 < found[-1] <= most
    assert all(len(f"{x:.6g}".rstrip("0")) <= 7 for x in found)


def test_a_page_of_which_nothing_is_expected_does_not_say_that_it_holds(world: Path) -> None:
    text = PAGES["html"](pictured(world, TEXT, words()))
    assert "Nothing was expected." in text
    assert "Every expectation holds" not in text
    assert '<header class="open">' in text
