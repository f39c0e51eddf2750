"""What an editor is told of a text, the server aside: pieces, names, places, completion, hover, cures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.vlang.text.test_layout import NEAT
from vlang.editor import names
from vlang.editor.complete import complete
from vlang.editor.context import context
from vlang.editor.fixes import fixes
from vlang.editor.hover import hover
from vlang.editor.pieces import Pieces
from vlang.editor.verification import Gates
from vlang.lower.spec import compile_spec
from vlang.plan import Plan
from vlang.text.diagnostics import SpecError
from vlang.text.parser import parse
from vlang.text.source import Source

ROOT = Path(__file__).parents[3]
SPEC = """rspec 1

param floor: number = 0.1
network net { checkpoint = "text.safetensors" }
network other { from = net, normalize = spectral_radius(1.0) }
input question { text = "what is the name", label = A }
dataset data { source = "data.npz", pick = first(3) }
baseline released { file = "v1.jsonl" }
radius q {
  network = net, input = question
  perturbation = { frames = each, norm = 2, space = embedding }
  sweep network in [net, other]
  expect min(radius) >= floor * 2 because "net"
  expect all(radius >= released.radius)
}
attack net_attack { network = net, input = question, perturbation = { frames = each, norm = 2, space = embedding } }
spectrum s { of = sensor.jacobian(data[0], 1) }
network sensor { checkpoint = "lstm.safetensors" }
report table { of = { certified = q, tried = net_attack }, cell = min(certified.radius), rows = network }
report other { of = [q, net_attack], cell = { a = min(q.radius) } }
"""


def tree(text: str) -> names.s.File:
    found, errors = parse(Source("x.rspec", text))
    assert not errors
    return found


def compiled(folder: Path) -> Plan:
    """The plan of the spec without its baseline, whose file there is not."""
    text = SPEC.replace('baseline released { file = "v1.jsonl" }', "").replace("expect all(radius >= released.radius)", "")
    return compile_spec(Source(str(folder / "x.rspec"), text))


# -- pieces -------------------------------------------------------------------------------------------------------------------


def test_pieces_give_the_same_tree() -> None:
    for path in [*(ROOT / "specs").glob("?*.rspec"), *(ROOT / "examples").rglob("*.rspec")]:
        source = Source(str(path), path.read_text())
        assert Pieces().parse(source) == parse(source)
    pieces = Pieces()
    for text in (SPEC, NEAT, "\n\n" + SPEC, SPEC.replace("floor:", "\n# more\n\nfloor2:"), SPEC):
        assert pieces.parse(Source("x", text)) == parse(Source("x", text))


def test_a_bracket_left_open_says_nothing_of_the_next_declaration() -> None:
    text = SPEC.replace('"v1.jsonl" }', '"v1.jsonl"')
    tree, errors = Pieces().parse(Source("x", text))
    assert [(x.code, x.span and x.span.line) for x in errors] == [("R102", 8)]
    assert [x.name for x in names.declarations(tree)][-5:] == ["net_attack", "s", "sensor", "table", "other"]


# -- names --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "column", "places"),
    [
        (4, 9, [(4, 9), (5, 24), (10, 13), (12, 21), (16, 31)]),  # net; not the word in a text, nor net_attack
        (5, 9, [(5, 9), (12, 26)]),  # the network, not the report of that name
        (3, 7, [(3, 7), (13, 25)]),
        (8, 10, [(8, 10), (14, 24)]),
        (9, 8, [(9, 8), (19, 35), (20, 22), (20, 55)]),  # a name that a report gives its source is none of the spec's
        (7, 9, [(7, 9), (17, 35)]),
        (18, 9, [(17, 19), (18, 9)]),
    ],
)
def test_a_name_is_found_wherever_it_is_meant(line: int, column: int, places: list[tuple[int, int]]) -> None:
    found = names.mentions(tree(SPEC))
    one = names.at(found, line, column)
    assert one is not None
    assert sorted((m.span.line, m.span.column) for m in names.same(found, one)) == places
    for m in found:  # every mention stands on its own text
        assert SPEC.split("\n")[m.span.line - 1][m.span.column - 1 : m.span.column - 1 + m.span.length] == m.name


# -- completion -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begun", "offered", "not_offered"),
    [
        ("", ["radius", "network", "param", "rspec"], ["norm"]),
        ("rad", ["radius"], ["network"]),
        ("radius q {\n  ", ["network", "target", "expect", "sweep"], ["eps", "checkpoint"]),
        ("radius q {\n  network = net, ", ["input"], ["network"]),
        ("verify q { e", ["engine", "eps", "expect"], ["network"]),
        ("radius q { perturbation = { ", ["frames", "norm"], ["network", "expect"]),
        ("radius q { perturbation = { frames = ", ["all", "each", "any(2)", "floor"], ["net"]),
        ("radius q { perturbation = { norm = ", ["1", "2", "inf"], []),
        ("radius q { network = ", ["net", "other", "floor"], ["question", "q"]),
        ("radius q { input = ", ["question", "data"], ["net"]),
        ("radius q { engine = { method = ", ["planes", "auto", "quadratic"], ["pgd"]),
        ("attack q { method = ", ["pgd", "words"], ["planes"]),
        ("radius q { target = ", ["any", "runner_up", "A", "B"], []),
        ('input i { label = "', ["A", "B"], []),
        ("network n { layers = [", ["linear", "lstm", "attention"], []),
        ("network n { layers = [linear, re", ["relu"], ["linear"]),
        ("radius q {\n expect ", ["radius", "min", "coverage", "released", "proved_better", "floor"], ["found"]),
        ("radius q {\n expect min(", ["radius"], []),
        ("attack q { expect released.", ["radius", "attack", "proved_worse"], ["proved_better", "min"]),
        ("report r { expect q.", ["radius", "correct"], ["found"]),
        ("report r { of = [", ["q", "net_attack"], ["net"]),
        ("report r { of = q, format = ", ["html", "latex"], ["junit"]),
        ("radius q { sweep ", ["network", "perturbation"], []),
        ("radius q { sweep perturbation.", ["norm", "frames"], ["network"]),
        ("radius q { sweep perturbation.norm in [", ["inf"], ["net"]),
        ("radius q { sweep network in [", ["net"], ["inf"]),
        ("param x: ", ["number", "text"], []),
        ('network n { checkpoint = "', ["lstm.safetensors", "gru.pt", "folder/"], ["data.npz"]),
        ('network n { checkpoint = "ls', ["lstm.safetensors"], ["gru.safetensors"]),
        ('dataset n { source = "', ["data.npz"], ["lstm.safetensors"]),
        ('input i { text = "what is do', ["dog"], ["name"]),
        ("radius q { # ", [], ["network"]),
        ("radius q { whatever = { ", [], ["network", "frames"]),
    ],
)
def test_completion(begun: str, offered: list[str], not_offered: list[str], world: Path) -> None:
    plan = compiled(world)
    found = [x.text for x in complete(context(begun), tree(SPEC), plan, world, ["what", "dog", "name"])]
    assert set(offered) <= set(found), found
    assert not set(not_offered) & set(found), found
    assert len(found) == len(set(found))


def test_hover_says_what_the_tables_say(world: Path) -> None:
    source, found = Source("x.rspec", SPEC), tree(SPEC)

    def at(word: str, begun: str) -> str | None:
        return hover(word, context(begun), None, source, found, None)

    assert "which frames move (needed)" in str(at("frames", "perturbation p { "))
    assert "without it: auto" in str(at("method", "engine e { "))
    assert "minimum-volume planes" in str(at("planes", "engine e { method = "))
    assert "certified radius" in str(at("radius", "radius q { expect min("))
    assert "quantile(radius, 5%)" in str(at("quantile", "radius q { expect "))
    assert "certified radius" in str(at("radius", ""))
    assert at("nothing", "engine e { ") is None
    mention = names.at(names.mentions(found), 10, 13)
    said = hover("net", context(""), mention, source, found, compiled(world))
    assert 'network net { checkpoint = "text.safetensors" }' in str(said)
    assert "read as: " in str(said)


# -- cures ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('network net { checkpont = "lstm.safetensors" }', 'network net { checkpoint = "lstm.safetensors" }'),
        ('network net { checkpoint = "lstn.safetensors" }', 'network net { checkpoint = "lstm.safetensors" }'),
        ('netwrk net { checkpoint = "lstm.safetensors" }', 'network net { checkpoint = "lstm.safetensors" }'),
        ("perturbation p { frames = al, norm = 2 }", "perturbation p { frames = all, norm = 2 }"),
        ("perturbation p { frames = all, norm = l2 }", "perturbation p { frames = all, norm = 2 }"),
        ("pram x: number = 1", "param x: number = 1"),
        ('network net { checkpoint = "lstm.safetensors", cell = gru }', 'network net { checkpoint = "lstm.safetensors", cell = lstm }'),
        (
            'network net { checkpoint = "text.safetensors" }\ninput i { text = "what is dogg" }\n'
            "radius q { network = net, input = i, perturbation = { frames = all, norm = 2 } }",
            'network net { checkpoint = "text.safetensors" }\ninput i { text = "what is dog" }\n'
            "radius q { network = net, input = i, perturbation = { frames = all, norm = 2 } }",
        ),
    ],
)
def test_a_cure_is_applied_where_it_stands(wrong: str, right: str, world: Path) -> None:
    def problems(text: str) -> tuple[Source, list[names.s.File] | tuple[object, ...]]:
        source = Source(str(world / "x.rspec"), text)
        try:
            compile_spec(source)
        except SpecError as e:
            return source, e.diagnostics
        return source, ()

    source, found = problems("rspec 1\n" + wrong + "\n")
    cures = [fix for x in found for fix in fixes(x, source)]  # type: ignore[arg-type]
    assert len(cures) == 1, found
    lines = source.text.split("\n")
    span = cures[0].span
    line = lines[span.line - 1]
    lines[span.line - 1] = line[: span.column - 1] + cures[0].text + line[span.column - 1 + span.length :]
    assert "\n".join(lines) == "rspec 1\n" + right + "\n"
    assert problems("\n".join(lines))[1] == ()


def test_the_version_is_put_first() -> None:
    source = Source("x.rspec", "param a: number = 1\n")
    with pytest.raises(SpecError) as e:
        compile_spec(source)
    assert [(f.text, f.span.length) for x in e.value.diagnostics for f in fixes(x, source)] == [("rspec 1\n\n", 0)]


@pytest.mark.parametrize(
    ("kind", "gate", "shown"),
    [
        ("radius", "min(radius) >= 0.1", "proved"),
        ("radius", "0.1 < min(radius) and all(radius > 0.01)", "proved"),
        ("radius", "quantile(radius, 5%) / 2 - 0.1 > -1", "proved"),
        ("radius", "not (max(radius) < 0.1)", "proved"),
        ("verify", "rate(certified) >= 90%", "proved"),
        ("radius", "max(radius) <= 5", "holds"),
        ("radius", "5 > max(radius)", "holds"),
        ("radius", "-max(radius) > -5", "holds"),
        ("radius", "10 - max(radius) > 5", "holds"),
        ("radius", "all(5 >= radius)", "holds"),
        ("radius", "1 / max(radius) > 0.1", "holds"),
        ("radius", "not (min(radius) > 100)", "holds"),
        ("radius", "min(radius) * -1 > -9", "holds"),
        ("radius", "min(radius) > 0.1 or max(radius) < 5", "holds"),
        ("radius", "max(radius) - min(radius) > 0", "holds"),
        ("radius", "count(radius == 0) >= 0", "holds"),
        ("radius", "min(radius) > 0 and coverage > 10%", "holds"),
        ("radius", "rate(correct) > 1%", "holds"),
        ("verify", "count(falsified) >= 0", "holds"),
        ("attack", "min(radius) >= 0.1", "holds"),
        ("estimate", "min(estimate) >= 0.1", "holds"),
    ],
)
def test_only_what_certificates_stand_behind_is_called_proved(kind: str, gate: str, shown: str, world: Path) -> None:
    eps = ", eps = 0.1" if kind == "verify" else ""
    text = f"""rspec 1
network net {{ checkpoint = "lstm.safetensors" }}
{kind} q {{ network = net, input = {{ values = [[0, 0, 0], [1, 1, 1]] }}, perturbation = {{ frames = each, norm = 2 }}{eps}
  expect {gate} }}
"""
    source = Source(str(world / "x.rspec"), text)
    gates = Gates()
    gates.begin(tree(text), compile_spec(source), source.words_sha256, [])
    assert gates.shown("q", 0, gate, source.words_sha256) == "running ..."
    said = {"name": "q", "expectations": [{"text": gate, "verdict": "passed", "actual": "1"}]}
    gates.finish({"queries": [said]})
    assert gates.shown("q", 0, gate, source.words_sha256) == f"found 1: {shown}"
    assert gates.shown("q", 0, gate, "other") == f"stale (found 1: {shown})"
    assert gates.shown("q", 0, gate + " ", source.words_sha256) is None


def test_what_another_run_reads_makes_no_gate_fresh(world: Path, tmp_path: Path) -> None:
    """A gate is as old as its own run: the files that a later run of another query has read are not its."""
    shutil.copy(world / "lstm.safetensors", tmp_path / "x.safetensors")
    ask = "input = { values = [[0, 0, 0], [1, 1, 1]] }, perturbation = { frames = each, norm = 2 }"
    text = f"""rspec 1
network net {{ checkpoint = "x.safetensors" }}
radius q {{ network = net, {ask}
  expect min(radius) > 0 }}
radius other {{ network = net, {ask}
  expect min(radius) > 0 }}
"""
    source = Source(str(tmp_path / "x.rspec"), text)
    gates = Gates()

    def run(*only: str) -> list[str | None]:
        gates.begin(tree(text), compile_spec(source), source.words_sha256, only)
        said = [{"name": name, "expectations": [{"text": "min(radius) > 0", "verdict": "passed", "actual": "1"}]} for name in only or ("q", "other")]
        gates.finish({"queries": said})
        return shown()

    def shown() -> list[str | None]:
        return [gates.shown(name, 0, "min(radius) > 0", source.words_sha256) for name in ("q", "other")]

    assert run() == ["found 1: proved"] * 2
    shutil.copy(world / "gru.safetensors", tmp_path / "x.safetensors")
    os.utime(tmp_path / "x.safetensors", (1, 1))
    assert shown() == ["stale (found 1: proved)"] * 2
    assert run("q") == ["found 1: proved", "stale (found 1: proved)"]
