"""Real values enclosed in ball arithmetic, and what rests on them: frames that do not move, however long the sequence."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from tests.helpers import DTYPE, random_network, walked
from vlang import cli
from vlang.lower.spec import compile_spec
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.sharpen import sharpened
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.graph.enclosure import FUNCTIONS, enclosed
from vlang.runtime.graph.nodes import Affine, GraphBuilder
from vlang.runtime.network import load
from vlang.runtime.queries.batches import prepare
from vlang.runtime.queries.samples import Samples
from vlang.runtime.relaxations import RELAXATIONS
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source
from vlang.vcheck.cli import main as vcheck

SPECS = Path(__file__).parents[3] / "specs"


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
@pytest.mark.parametrize("readout", ["last", "max"])
def test_enclosures_are_narrow_and_hold_the_computed_values_nearly(cell: str, readout: str) -> None:
    graph = random_network(cell, layers=2, bidirectional=True, readout=readout, head=("sigmoid",), initial=True, scale=0.5).unroll(4)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    for values, computed in zip(enclosed(graph, x), trajectory(graph, x[None]), strict=True):
        for value, number in zip(values, computed[0].tolist(), strict=True):
            assert float(value.rad()) < 1e-30 * (1 + abs(number))
            assert float(value.mid()) == pytest.approx(number, rel=1e-11, abs=1e-11)


def test_every_nonlinearity_has_its_exact_form() -> None:
    assert FUNCTIONS.keys() == RELAXATIONS.keys()


LONG = f"""rspec 1
network net {{ checkpoint = "{SPECS}/checkpoints/strokes_lstm.safetensors" }}
dataset pen {{ source = "{SPECS}/data/strokes_test.npz" }}
engine quick {{ method = planes, tolerance = 1e-2 }}
radius r {{ network = net, input = pen[10], target = any, perturbation = {{ frames = [50], norm = 2 }}, engine = quick }}
"""


def test_values_that_do_not_move_stay_sharp_over_long_sequences() -> None:
    """53 moves of a pen: intervals in float64 are wider than the values; enclosures are not, and hold the real ones."""
    variant = compile_spec(Source(str(SPECS / "x.rspec"), LONG)).queries[0].variants[0]
    samples = Samples.load(variant, load.network(variant.network, DTYPE, torch.device("cpu")))
    sharp = prepare(variant, samples).centre(prepare(variant, samples).cases)
    plain = Nominal.at(sharp.graph, sharp.inputs)
    radii = torch.zeros(1, sharp.inputs.shape[1], dtype=DTYPE)
    radii[:, 50] = 1e-3
    wide, narrow = (walked(n, Ball(radii, Fraction(2)), "constant") for n in (plain, sharp))
    fixed = [i for i, alive in enumerate(narrow.live) if not alive]
    assert max(float((wide.boxes[i][1] - wide.boxes[i][0]).max()) for i in fixed) > 10
    assert max(float((narrow.boxes[i][1] - narrow.boxes[i][0]).max()) for i in fixed) < 1e-11
    exact = enclosed(sharp.graph, sharp.inputs[0])
    for i in fixed:
        low, high = (end[0].tolist() for end in narrow.boxes[i])
        assert all(v >= lo and v <= hi for v, lo, hi in zip(exact[i], low, high, strict=True))


def test_late_frames_of_long_sequences_have_radii_and_certificates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "long.rspec"
    spec.write_text(LONG)
    assert cli.main([str(spec), "--certificates", str(tmp_path), "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["queries"][0]["rows"][0]["radius"] > 0.3
    (proof,) = tmp_path.glob("r-*.cert")
    assert vcheck([str(proof), "--network", str(SPECS / "checkpoints/strokes_lstm.safetensors")]) == 0, capsys.readouterr().out


def test_short_sequences_are_left_to_intervals() -> None:
    graph = random_network("gru", scale=0.5).unroll(3)
    nominal = Nominal.at(graph, torch.zeros(1, 3, 3, dtype=DTYPE))
    for frame in (2, 0):
        assert not sharpened(nominal, torch.arange(3)[None] == frame).blur


def test_values_computed_again_elsewhere_may_have_other_roundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of a ball evaluates frames that do not move in another batch: where that rounds otherwise, what is known of them is widened."""
    variant = compile_spec(Source(str(SPECS / "x.rspec"), LONG)).queries[0].variants[0]
    loaded = prepare(variant, Samples.load(variant, load.network(variant.network, DTYPE, torch.device("cpu"))))
    sharp = loaded.centre(loaded.cases)
    assert sharp.blur
    monkeypatch.setattr("vlang.runtime.bounds.nominal.trajectory", lambda graph, inputs, **_: [v + 1e-9 for v in trajectory(graph, inputs)])
    there = sharp.moved(torch.zeros_like(sharp.inputs))
    exact = enclosed(sharp.graph, sharp.inputs[0])
    for i, blur in there.blur.items():
        for value, number, distance in zip(exact[i], there.values[i][0].tolist(), blur[0].tolist(), strict=True):
            assert abs(value - number) <= distance


def test_a_mean_is_divided_and_not_multiplied_by_a_rounded_share() -> None:
    """Three times fl(1/3) is less than 1: the mean of three ones is 1, in ball arithmetic, and every bound knows what its weights lack."""
    graph = GraphBuilder()
    frames = tuple(graph.input(t, 1) for t in range(3))
    out = graph.mean(frames)
    found = enclosed(graph.build(out), torch.ones(3, 1, dtype=torch.float64))[out.node][0]
    assert found.contains(1)
    assert float(found.rad()) < 1e-18
    assert 3 * Fraction(1 / 3) < 1
    (node,) = (n for n in graph.nodes if isinstance(n, Affine))
    assert node.roundings == 1
