"""verify's three answers: what is claimed is true, and a witness is one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vlang.lower.spec import compile_spec
from vlang.results import VerifyRow
from vlang.runtime.attacks.witness import _within
from vlang.runtime.execute import execute
from vlang.text.source import Source

SPECS = Path(__file__).parents[3] / "specs"


def tiny(tmp_path: Path, bias: float = 0.0) -> None:
    """Two classes, logits (tanh(x1), bias): class 0 while tanh(x1) > bias."""
    weights = {
        "rnn.weight_ih_l0": torch.tensor([[1.0, 0.0]]),
        "rnn.weight_hh_l0": torch.zeros(1, 1),
        "rnn.bias_ih_l0": torch.zeros(1),
        "rnn.bias_hh_l0": torch.zeros(1),
        "out.weight": torch.tensor([[1.0], [0.0]]),
        "out.bias": torch.tensor([0.0, bias]),
    }
    save_file(weights, tmp_path / "tiny.safetensors", {"activation": "tanh"})


def verify(tmp_path: Path, x: float, eps: str, norm: str, label: int = 0, extra: str = "", method: str = "interval") -> VerifyRow:
    text = f"""rspec 1
network net {{ checkpoint = "tiny.safetensors" }}
input one {{ values = [[{x!r}, 0]], label = {label} }}
verify v {{ network = net, input = one, eps = {eps}, engine = {{ method = {method} }}, perturbation = {{ frames = all, norm = {norm}{extra} }} }}
"""
    return execute(compile_spec(Source(str(tmp_path / "v.rspec"), text)), "test").queries[0].rows[0]


@pytest.mark.parametrize(
    ("norm", "eps", "x"),
    [("1000000", "0.3", 0.4), ("100", "1e-4", 1.5e-4), ("50", "1e-7", 1.5e-7), ("10", "1e-33", 1.5e-33), ("3", "1e-120", 1.5e-120)],
)
def test_powers_that_underflow_make_no_witness(norm: str, eps: str, x: float, tmp_path: Path) -> None:
    """x1 stays positive on the ball, so there is no counterexample, however small the powers get."""
    tiny(tmp_path)
    assert verify(tmp_path, x, eps, norm).verdict == "certified"


@pytest.mark.parametrize("norm", ["1", "1.5", "2", "7", "1000", "inf"])
@pytest.mark.parametrize("method", ["interval", "planes", "sliced"])
def test_either_side_of_the_boundary(norm: str, method: str, tmp_path: Path) -> None:
    tiny(tmp_path)
    assert verify(tmp_path, 0.5, "0.4999", norm, method=method).verdict == "certified"
    row = verify(tmp_path, 0.5, "0.51", norm, method=method)
    assert row.verdict == "falsified"
    assert row.witness is not None
    ((first, second),) = row.witness
    assert first < 0
    assert _within([abs(Fraction(first) - Fraction(1, 2)), abs(Fraction(second))], Fraction(51, 100), None)


def test_witnesses_on_the_border_of_a_clip_count(tmp_path: Path) -> None:
    """0.1 is no float: the clip's ends are rounded inward for the attack, and data may lie on them."""
    tiny(tmp_path, bias=float(np.tanh(0.05)))
    row = verify(tmp_path, 0.1, "1", "inf", extra=", clip = [-0.1, 0.1]")
    assert row.verdict == "falsified"
    assert row.witness is not None
    assert Fraction(-1, 10) <= Fraction(row.witness[0][0]) <= Fraction(1, 10)


def test_a_misclassified_input_is_a_witness_only_against_the_classes_asked_about(tmp_path: Path) -> None:
    tiny(tmp_path)
    row = verify(tmp_path, 0.5, "0.1", "2", label=1)
    assert (row.verdict, row.margin) == ("falsified", None)
    assert row.witness == ((0.5, 0.0),)
    tie = verify(tmp_path, 0.0, "0.1", "2", label=1)
    assert tie.verdict == "unknown"


def test_eps_zero_is_the_input_itself(tmp_path: Path) -> None:
    tiny(tmp_path)
    assert verify(tmp_path, 0.5, "0", "2").verdict == "certified"


def test_witnesses_of_digits_are_misclassified_inside_the_ball() -> None:
    text = """rspec 1
network net { checkpoint = "checkpoints/digits_gru.safetensors" }
dataset test { source = "data/digits_test.npz", pick = first(10), where = correct }
verify v { network = net, input = test, eps = 0.2, perturbation = { frames = any(2), norm = inf, clip = [0, 1], weights = [1, 1, 1/2, 1] } }
"""
    plan = compile_spec(Source(str(SPECS / "x.rspec"), text))
    rows = execute(plan, "test").queries[0].rows
    falsified = [r for r in rows if r.verdict == "falsified"]
    assert falsified
    with np.load(SPECS / "data/digits_test.npz") as data:
        inputs = data["inputs"]
    for row in falsified:
        assert row.witness is not None
        delta = np.abs(np.array(row.witness) - inputs[row.sample].astype(np.float64)).max(1)
        assert (delta <= np.array([0.2, 0.2, 0.1, 0.2]) * (1 + 1e-12)).all()
        assert (delta > 0).sum() <= 2
        assert np.array(row.witness).min() >= 0
        assert np.array(row.witness).max() <= 1
