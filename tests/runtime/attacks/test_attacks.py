"""Attacks find what is there, and nothing counts that was not replayed."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tests.helpers import DTYPE, random_network
from vlang import cli
from vlang.lower.spec import compile_spec
from vlang.results import QueryResult
from vlang.runtime.attacks import ATTACKS
from vlang.runtime.attacks.base import Question, project, steepest
from vlang.runtime.attacks.witness import Limits, contains, distance, misclassifies
from vlang.runtime.attacks.words import substitute
from vlang.runtime.evidence.witness_files import RefutedError, UnreadableError, examine
from vlang.runtime.execute import execute
from vlang.runtime.graph.concrete import logits
from vlang.runtime.graph.nodes import Graph, GraphBuilder
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source

NORMS = [Fraction(1), Fraction(3, 2), Fraction(2), Fraction(5), None]
SPECS = Path(__file__).parents[3] / "specs"


def affine_graph(rows: Tensor, bias: Tensor, frames: int, n: int) -> Graph:
    """Logits that are affine in all frames together."""
    graph = GraphBuilder(DTYPE)
    inputs = [graph.input(k, n) for k in range(frames)]
    return graph.build(graph.affine(*((x, rows[:, k * n : (k + 1) * n]) for k, x in enumerate(inputs)), bias=bias))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["pgd", "cw", "fgsm"])
def test_the_distance_of_a_hyperplane(norm: Fraction | None, method: str) -> None:
    """Two classes, an affine margin: the nearest counterexample is at margin / sum_k w_k ||row_k||_q."""
    g = torch.Generator().manual_seed(0)
    frames, n, batch = 3, 4, 6
    rows = torch.randn(2, frames * n, generator=g, dtype=DTYPE)
    graph = affine_graph(rows, torch.zeros(2, dtype=DTYPE), frames, n)
    x = torch.randn(batch, frames, n, generator=g, dtype=DTYPE)
    label = logits(graph, x).argmax(1)
    eye = torch.eye(2, dtype=DTYPE)
    radii = torch.tensor([1.0, 0.0, 0.5], dtype=DTYPE).repeat(batch, 1)
    question = Question(graph, x, Ball(radii, norm), (eye[1 - label] - eye[label])[:, None], 1e6)
    margin, gradient = question.slope(torch.zeros_like(x))
    q = 1.0 if norm is None else float("inf") if norm == 1 else float(norm / (norm - 1))
    exact = margin / (torch.linalg.vector_norm(gradient, ord=q, dim=2) * radii).sum(1)
    delta, far = ATTACKS[method](question, 150, 3, [torch.Generator().manual_seed(k) for k in range(batch)])
    assert bool((question.margins(delta) < 0).all())
    assert bool((far >= exact * (1 - 1e-9)).all())
    worst = float((far / exact).max())
    assert worst < (1.6 if method == "cw" else 1.001 if norm not in (Fraction(1), Fraction(3, 2), Fraction(5)) or method == "fgsm" else 1.02), worst


@pytest.mark.parametrize("norm", NORMS)
def test_projection_is_into_the_set_and_nearest(norm: Fraction | None) -> None:
    g = torch.Generator().manual_seed(1)
    radii = torch.tensor([[1.0, 0.3, 0.0]], dtype=DTYPE).repeat(40, 1)
    ball = Ball(radii, norm)
    far = 3 * torch.randn(40, 3, 5, generator=g, dtype=DTYPE)
    near = project(far, ball)
    limits = Limits((Fraction(1), Fraction(3, 10), Fraction(0)), norm, None, None)
    assert all(contains(limits, torch.zeros(3, 5, dtype=DTYPE), p, Fraction(1 + 1e-9)) for p in near)
    if norm not in (Fraction(1), Fraction(2), None):
        return
    # The nearest point of a convex set: no point of it lies further along far - near.
    beyond = torch.where(radii[:, :, None] > 0, far - near, 0.0)
    assert bool(((beyond * (steepest(beyond, ball) - near)).sum((1, 2)) < 1e-9 * beyond.square().sum((1, 2)).sqrt()).all())


def answered(text: str, path: Path = SPECS / "x.rspec") -> dict[str, QueryResult]:
    return {q.name: q for q in execute(compile_spec(Source(str(path), text)), "test").queries}


FRAMES, EXTRA = ("all", "[1, 2]", "any(1)", "any(2)"), ("", ", clip = [0, 1]", ", weights = [1, 0, 0.5, 2]")
#: Every norm beside every kind of frames and of sets.
SETS = [(frames, extra, ("1", "2", "inf")[(i + j) % 3]) for i, frames in enumerate(FRAMES) for j, extra in enumerate(EXTRA)]


@pytest.mark.parametrize(("frames", "extra", "norm"), SETS)
def test_no_attack_is_nearer_than_a_certificate(frames: str, extra: str, norm: str) -> None:
    ask = f"network = net, input = d, target = any, perturbation = {{ frames = {frames}, norm = 2{extra} }}"
    norms = f"sweep perturbation.norm in [{norm}]"
    found = answered(f"""rspec 1
network net {{ checkpoint = "checkpoints/digits_gru.safetensors" }}
dataset d {{ source = "data/digits_test.npz", pick = first(1) }}
radius cert {{ {ask}, engine = {{ method = planes, tolerance = 1e-2 }}, {norms} }}
attack pgd {{ {ask}, restarts = 3, steps = 40, {norms} }}
attack fgsm {{ {ask}, method = fgsm, {norms} }}
""")
    for proved, near, step in zip(found["cert"].rows, found["pgd"].rows, found["fgsm"].rows, strict=True):
        assert proved.radius is not None
        assert proved.radius <= (near.radius or float("inf")) <= (step.radius or float("inf")) * 1.01


def test_max_radius_ends_the_search() -> None:
    ask = "network = net, input = d[0], target = any, perturbation = { frames = all, norm = inf }"
    head = 'rspec 1\nnetwork net { checkpoint = "checkpoints/digits_rnn.safetensors" }\ndataset d { source = "data/digits_test.npz" }\n'
    (row,) = answered(head + f"attack a {{ {ask}, engine = {{ max_radius = 1e-3 }} }}")["a"].rows
    assert (row.verdict, row.radius) == ("unknown", None)
    assert row.reason == "pgd found no counterexample up to 0.001; there may be one"


def test_one_word_is_searched_exhaustively() -> None:
    """The nearest of all single substitutions that change the class, by trying each."""
    network = replace(
        random_network("lstm", n=3, s=4, classes=3, seed=4), embedding=torch.randn(40, 3, generator=torch.Generator().manual_seed(5), dtype=DTYPE)
    )
    table = network.embedding
    assert table is not None
    tokens, frame = [3, 1, 4, 1], 2
    graph, x = network.unroll(4), table[tokens][None]
    label = int(logits(graph, x).argmax())
    rows = torch.stack([torch.eye(3, dtype=DTYPE)[j] - torch.eye(3, dtype=DTYPE)[label] for j in range(3) if j != label])[None]
    radii = torch.tensor([[0.0, 0, 1, 0]], dtype=DTYPE)
    allowed = torch.ones(40, dtype=torch.bool)
    allowed[7] = False
    words, far = substitute(Question(graph, x, Ball(radii, Fraction(2)), rows, 1e4), table, allowed, 4, [torch.Generator()])
    every = x.repeat(40, 1, 1)
    every[:, frame] = table
    hits = (logits(graph, every).argmax(1) != label) & allowed
    by_hand = torch.where(hits, (table - x[0, frame]).norm(dim=1), torch.inf)
    assert bool(hits.any())
    assert int(words[0, frame]) == int(by_hand.argmin())
    assert float(far[0]) == pytest.approx(float(by_hand.min()))
    assert words[0].tolist().count(-1) == 3


def test_several_words_are_real_words_within_the_distance() -> None:
    ask = "network = q, input = t, target = any"
    found = answered(f"""rspec 1
network q {{ checkpoint = "checkpoints/questions_lstm.safetensors" }}
input t {{ text = "What is the name of Roy Roger 's dog ?", label = ENTY }}
attack two {{ {ask}, method = words, perturbation = {{ frames = any(2), norm = 2 }} }}
attack one {{ {ask}, method = words, perturbation = {{ frames = any(1), norm = 2 }} }}
""")
    (two,), (one,) = found["two"].rows, found["one"].rows
    assert one.radius is not None
    assert two.radius is not None
    assert two.radius <= one.radius
    assert two.replaced is not None
    assert sum(bool(w) for w in two.replaced) <= 2
    assert "<unk>" not in two.replaced


def saved(tmp_path: Path) -> Path:
    spec = tmp_path / "x.rspec"
    spec.write_text(f"""rspec 1
network net {{ checkpoint = "{SPECS}/checkpoints/digits_lstm.safetensors" }}
dataset d {{ source = "{SPECS}/data/digits_test.npz", pick = first(1) }}
attack a {{ network = net, input = d, target = random(seed=0), perturbation = {{ frames = all, norm = 2, clip = [0, 1] }}, steps = 30, restarts = 2 }}
""")
    assert cli.main([str(spec), "--witnesses", str(tmp_path / "w"), "--json", str(tmp_path / "r.json")]) == 0
    row = json.loads((tmp_path / "r.json").read_text())["queries"][0]["rows"][0]
    return tmp_path / "w" / row["witness_file"]


def test_a_witness_is_replayed_and_an_altered_one_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path)
    assert cli.main(["replay", str(path)]) == 0
    assert "holds" in capsys.readouterr().out
    with safe_open(path, "pt") as f:
        arrays, claim = {k: f.get_tensor(k) for k in ("input", "witness")}, json.loads(f.metadata()["witness"])

    def altered(arrays_: dict[str, Tensor] | None = None, **claims: object) -> str:
        save_file({**arrays, **(arrays_ or {})}, tmp_path / "x.witness", metadata={"witness": json.dumps({**claim, **claims})})
        return str(tmp_path / "x.witness")

    assert examine(altered())
    eps = Fraction(claim["eps"])
    for refuted in (
        altered(eps=str(eps * Fraction(999, 1000))),
        altered({"witness": arrays["input"].clone()}),
        altered({"witness": arrays["witness"] * (1 + 1e-6)}),
        altered(perturbation={**claim["perturbation"], "at_most": 1}),
        altered(perturbation={**claim["perturbation"], "clip": ["0", "1/100"]}),
        altered(perturbation={**claim["perturbation"], "weights": ["1", "0", "1", "1"]}),
        altered(against=[c for c in range(10) if c not in (claim["label"], *claim["against"])][:1]),
    ):
        with pytest.raises(RefutedError):
            examine(refuted)
    assert cli.main(["replay", altered(eps="0"), str(path)]) == 1
    for broken in (
        altered({"input": arrays["input"] + 1}),
        altered({"witness": arrays["witness"][:2]}),
        altered({"witness": arrays["witness"] * torch.nan}),
        altered(eps="nan"),
        altered(eps="1/0"),
        altered(perturbation={**claim["perturbation"], "norm": "9" * 400}),
        altered(network={**claim["network"], "readout": "bogus"}),
        altered(format="rspec-witness/9"),
        altered(against=[]),
        altered(against=[99]),
        altered(network={**claim["network"], "sha256": "0" * 64}),
        altered(network={**claim["network"], "cell": "gru"}),
        altered(network={}),
        altered(checkpoint="/nowhere/x.safetensors"),
        str(tmp_path / "missing.witness"),
        str(SPECS / "checkpoints" / "digits_rnn.safetensors"),
    ):
        with pytest.raises(UnreadableError):
            examine(broken)
    assert cli.main(["replay", altered(checkpoint="/nowhere/x"), "--network", str(SPECS / "checkpoints/digits_lstm.safetensors")]) == 0
    networks = [x for cell in ("lstm", "gru") for x in ("--network", str(SPECS / f"checkpoints/digits_{cell}.safetensors"))]
    assert cli.main(["replay", altered(checkpoint="/nowhere/x"), *networks]) == 0
    capsys.readouterr()
    for what, word in (
        (tmp_path / "missing.witness", "no such file"),
        (tmp_path, "a folder"),
        (SPECS / "checkpoints/digits_gru.safetensors", "no witness"),
    ):
        assert cli.main(["replay", str(what)]) == 2
        assert word in capsys.readouterr().out


def test_a_tie_is_no_witness() -> None:
    """Two classes with one logit: neither is surely ahead."""
    graph = affine_graph(torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=DTYPE), torch.zeros(2, dtype=DTYPE), 1, 2)
    point = torch.tensor([[0.3, 0.4]], dtype=DTYPE)
    assert not misclassifies(graph, point, torch.tensor([[-1.0, 1.0]], dtype=DTYPE))
    # A margin of one unit in the last place of 0.3 counts: it is enclosed, not estimated.
    by_an_ulp = affine_graph(torch.tensor([[1.0, 0.0], [1.0 + 2**-52, 0.0]], dtype=DTYPE), torch.zeros(2, dtype=DTYPE), 1, 2)
    assert misclassifies(by_an_ulp, point, torch.tensor([[-1.0, 1.0]], dtype=DTYPE))
    assert not misclassifies(by_an_ulp, point, torch.tensor([[1.0, -1.0]], dtype=DTYPE))


@pytest.mark.parametrize("norm", NORMS)
def test_a_distance_is_rounded_up(norm: Fraction | None) -> None:
    g = torch.Generator().manual_seed(3)
    limits = Limits((Fraction(1, 3), Fraction(2)), norm, None, None)
    for _ in range(50):
        centre, delta = (torch.randn(2, 3, generator=g, dtype=DTYPE) for _ in range(2))
        point = centre + delta
        p = float("inf") if norm is None else float(norm)
        about = float((torch.linalg.vector_norm(point - centre, ord=p, dim=1) / torch.tensor([1 / 3, 2.0], dtype=DTYPE)).amax())
        eps = distance(limits, centre, point, about)
        assert eps is not None
        assert contains(limits, centre, point, Fraction(eps))
        assert not contains(limits, centre, point, Fraction(eps) * (1 - Fraction(1, 10**9)))


def test_rows_say_what_was_found(tmp_path: Path) -> None:
    row = answered(f"""rspec 1
network net {{ checkpoint = "{SPECS}/checkpoints/digits_rnn.safetensors" }}
dataset d {{ source = "{SPECS}/data/digits_test.npz", pick = first(40) }}
attack a {{ network = net, input = d, target = any, perturbation = {{ frames = all, norm = inf }}, steps = 10, restarts = 1 }}
""")["a"].rows[0]
    assert row.verdict == "falsified"
    assert row.witness is not None
    assert row.complete
