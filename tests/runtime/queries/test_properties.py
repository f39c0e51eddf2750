"""Properties of outputs: no point of a certified set breaks one, counterexamples do, and certificates and witnesses say which was asked."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.vlang.vcheck.certificates import check, load, refused, seal
from vlang.cli import main
from vlang.lower.spec import compile_spec
from vlang.property import Inequality
from vlang.results import AttackRow, RadiusRow, Row, VerifyRow
from vlang.runtime.evidence.witness_files import RefutedError, UnreadableError, examine
from vlang.runtime.execute import execute
from vlang.text import syntax as s
from vlang.text.diagnostics import SpecError
from vlang.text.parser import parse_expression
from vlang.text.source import Source
from vlang.typed.properties import PropertyType

PROPERTIES = [
    "within(0.3)",
    "within(40%)",
    "same_side(-3/2)",
    "threshold(0.3)",
    "output[0] <= nominal[0] + 0.2 and output[1] - output[0] > nominal[1] - nominal[0] - 1/3",
    "abs(3 * output[0] - output[1]) < 1",
    "nominal[0] + abs(nominal[0]) / 2 - output[0] >= 0",
]


class Forecaster(nn.Module):
    """Two numbers of a few frames."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rnn = nn.GRU(2, 4, batch_first=True)
        self.out = nn.Linear(4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.out(self.rnn(x)[0][:, -1])
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = Forecaster()
    save_file({k: 2 * v for k, v in model.state_dict().items()}, tmp_path / "net.safetensors")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32))
    return tmp_path


def ask(folder: Path, query: str, frames: str = "frames = all, norm = inf", network: str = "net", **saved: Any) -> list[Row]:
    kind, rest = query.split(maxsplit=1)
    text = f"""rspec 1
network net {{ checkpoint = "{network}.safetensors" }}
dataset d {{ inputs = "x.npy" }}
{kind} q {{ network = net, input = d, perturbation = {{ {frames} }}, {rest} }}
"""
    plan = compile_spec(Source(str(folder / "q.rspec"), text))
    return list(execute(plan, "test", **saved).queries[0].rows)


def model_of(folder: Path) -> nn.Module:
    model = Forecaster().double()
    model.load_state_dict({k: v.double() for k, v in load_file(folder / "net.safetensors").items()})
    return model.eval()


def broken_by(wanted: str, outputs: Tensor, nominal: Tensor) -> Tensor:
    """By how much the worst inequality is broken, at points. shape: outputs [N, 2], nominal [2]."""
    prop = PropertyType().convert("property", parse_expression(wanted), {})
    worst = []
    for x in prop.of(nominal.tolist()):
        total = torch.full_like(outputs[:, 0], float(x.constant))
        for terms, of in ((x.outputs, outputs.T), (x.nominal, nominal[:, None]), (x.absolute, nominal.abs()[:, None])):
            for i, c in terms:
                total = total + float(c) * of[i]
        worst.append(total)
    return torch.stack(worst).amax(0)


@pytest.mark.parametrize("wanted", PROPERTIES)
def test_certified_sets_keep_it_and_counterexamples_do_not(wanted: str, folder: Path) -> None:
    model, inputs = model_of(folder), torch.from_numpy(np.load(folder / "x.npy")).double()
    radii = ask(folder, f"radius property = {wanted}, engine = {{ method = quadratic, tolerance = 0.01 }}")
    attacks = ask(folder, f"attack property = {wanted}, restarts = 5, steps = 40")
    g = torch.Generator().manual_seed(0)
    for x, cert, attack in zip(inputs, radii, attacks, strict=True):
        assert isinstance(cert, RadiusRow)
        assert isinstance(attack, AttackRow)
        nominal = model(x[None])[0].detach()
        if not cert.correct:
            assert float(broken_by(wanted, nominal[None], nominal)) >= 0
            continue
        ends = torch.randint(0, 2, (3000, *x.shape), generator=g).double() * 2 - 1
        points = x + cert.radius * ends * torch.rand(3000, 1, 1, generator=g, dtype=torch.float64) ** 0.2
        assert float(broken_by(wanted, model(points).detach(), nominal).max()) <= 1e-9
        if attack.radius is not None:
            assert cert.radius <= attack.radius
            assert cert.radius > 0.3 * min(attack.radius, 1)
            witness = torch.tensor(attack.witness, dtype=torch.float64)
            assert float(broken_by(wanted, model(witness[None]).detach(), nominal)) > 0
    assert any(isinstance(a, AttackRow) and a.radius for a in attacks)


def test_what_does_not_hold_at_the_centre_is_said(folder: Path) -> None:
    rows = ask(folder, "verify property = output[0] >= 100, eps = 0.1")
    for row in rows:
        assert isinstance(row, VerifyRow)
        assert (row.verdict, row.correct, row.reason) == ("falsified", False, "the property does not hold of the input itself")
        assert row.witness is not None
    assert all(r.verdict == "unknown" and not r.correct for r in ask(folder, "radius property = output[0] >= 100"))


def test_other_queries_take_properties_too(folder: Path) -> None:
    (row, *_) = ask(folder, "bounds property = within(0.3), eps = 0.01")
    assert row.verdict == "certified"
    (row, *_) = ask(folder, "estimate property = within(0.3), samples = 20, batches = 10")
    assert row.size is not None
    assert row.size > 0
    (row, *_) = ask(folder, "radius property = within(0.3), engine = { method = planes, semantics = deployed32 }")
    (real, *_) = ask(folder, "radius property = within(0.3), engine = { method = planes }")
    assert row.size is not None
    assert real.size is not None
    assert 0.99 * real.size < row.size < real.size


def test_one_output_has_no_classes_and_keeps_its_sign(tmp_path: Path) -> None:
    save_file(Forecaster(1).state_dict(), tmp_path / "net.safetensors")
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    rows = ask(tmp_path, "radius property = same_sign, engine = { tolerance = 0.1 }")
    assert all(isinstance(r, RadiusRow) and r.radius > 0 for r in rows)


@pytest.mark.parametrize("wanted", ["within(0.3)", "within(20%)", "output[0] - 2 * nominal[0] - abs(nominal[1]) <= 1/3"])
def test_certificates_say_what_has_to_hold(wanted: str, folder: Path) -> None:
    saved: dict[str, bytes] = {}
    ask(folder, f"radius property = {wanted}, engine = {{ method = quadratic, tolerance = 0.01 }}", save=saved.__setitem__)
    assert len(saved) >= 2
    lies = 0
    for content in saved.values():
        (folder / "c.cert").write_bytes(content)
        assert "nominal" in check(folder)
        claim, arrays = load(folder)
        said = claim["property"]
        for lie in (
            [{**p, "constant": str(Fraction(p["constant"]) + Fraction(1, 5))} for p in said],
            [{**p, "output": [[i, str(-5 * Fraction(c))] for i, c in p["output"]]} for p in said],
            [{**p, "nominal": []} for p in said] if "within" in wanted else [],
            [{**said[0], "output": [[2, "1"]]}],
            [{**said[0], "output": []}],
            [{**said[0], "output": [[0, "1"], [0, "-1"]]}],
            [{**said[0], "output": [[0, "1/3"]]}],
            [],
        ):
            seal(folder, claim | {"property": lie}, arrays)
            assert refused(folder), lie
            lies += 1
    assert lies


def test_witnesses_say_what_does_not_hold(folder: Path) -> None:
    saved: dict[str, bytes] = {}
    ask(folder, "attack property = within(0.3), restarts = 3, steps = 30", save_witness=saved.__setitem__)
    assert saved
    for name, content in saved.items():
        (folder / name).write_bytes(content)
        checkpoint = [str(folder / "net.safetensors")]
        assert "does not" in examine(str(folder / name), checkpoint)
        with safe_open(str(folder / name), "pt") as f:
            claim = json.loads((f.metadata() or {})["witness"])
            arrays = {k: f.get_tensor(k) for k in ("input", "witness")}
        for lie in ([{**p, "constant": "-1"} for p in claim["property"]], [], [{**claim["property"][0], "output": [[5, "1"]]}]):
            save_file(arrays, folder / "lie.witness", {"witness": json.dumps(claim | {"property": lie})})
            with pytest.raises((RefutedError, UnreadableError)):
                examine(str(folder / "lie.witness"), checkpoint)


def test_conditions_are_taken_apart() -> None:
    def of(text: str) -> tuple[Inequality, ...]:
        return PropertyType().convert("property", parse_expression(text), {"k": s.Number(s_span, Fraction(2))}).inequalities

    s_span = parse_expression("1").span
    one = Fraction(1)
    assert of("output[0] <= 3.2") == (Inequality(((0, one),), constant=Fraction(-16, 5)),)
    assert of("output[0] >= k") == (Inequality(((0, -one),), constant=Fraction(2)),)
    assert of("1 < (output[1] - output[0]) / k") == (Inequality(((0, one / 2), (1, -one / 2)), constant=one),)
    assert of("0.1 >= abs(output[0] - nominal[0])") == of("abs(output[0] - nominal[0]) <= 0.1")
    assert of("abs(output[0] - nominal[0]) <= 0.1") == (
        Inequality(((0, one),), ((0, -one),), constant=Fraction(-1, 10)),
        Inequality(((0, -one),), ((0, one),), constant=Fraction(-1, 10)),
    )
    assert of("output[1] <= k * abs(-3 * nominal[0])") == (Inequality(((1, one),), (), ((0, Fraction(-6)),)),)
    assert of("output[0] / 3 <= 1")[0].scaled() == Inequality(((0, one),), constant=Fraction(-3))
    text = "-(output[0] - 2) * 3 <= 1 and output[1] <= nominal[1] - (2 - output[0])"
    assert PropertyType().convert("property", parse_expression(text), {}).text == text


@pytest.mark.parametrize("labels", [np.zeros((4, 1)), np.zeros(4), np.arange(4)])
def test_what_a_network_forecasts_is_told_and_not_looked_at(labels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels beside a property, real numbers or of one output; about classes they are an error."""
    torch.manual_seed(0)
    state = {f"rnn.{k}": v for k, v in nn.GRU(2, 3).state_dict().items()} | {"out.weight": torch.randn(1, 3)}
    save_file(state, tmp_path / "net.safetensors")
    np.savez(tmp_path / "d.npz", inputs=np.zeros((4, 3, 2), "f4"), labels=labels)
    head = 'rspec 1\nnetwork net { checkpoint = "net.safetensors" }\ndataset d { source = "d.npz", pick = first(1) }\n'
    asked = "network = net, input = d, perturbation = { frames = all, norm = 2 }, engine = { method = interval }"
    (tmp_path / "q.rspec").write_text(f"{head}radius r {{ {asked}, property = within(1) }}\n")
    assert main(["run", str(tmp_path / "q.rspec")]) == 0
    assert "the labels beside d.npz are not looked at" in capsys.readouterr().err
    (tmp_path / "q.rspec").write_text(f"{head}radius r {{ {asked} }}\n")
    assert main(["run", str(tmp_path / "q.rspec")]) == 2


@pytest.mark.parametrize("share", ["1/2", "0.999", "3/10", "1e-9"])
def test_a_threshold_is_the_side_of_its_logit(share: str) -> None:
    """To more digits than float64 has; of a half it is the sign."""
    found = PropertyType().convert("property", parse_expression(f"threshold({share})"), {})
    assert found.side is not None
    p = Fraction(share)
    wanted = sympy.log(sympy.Rational(p.numerator, p.denominator - p.numerator)).evalf(60)
    assert abs(sympy.Rational(found.side.numerator, found.side.denominator) - wanted) < sympy.Rational(1, 10**38)
    for output in (float(found.side) - 1e-3, float(found.side) + 1e-3):
        (inequality,) = found.of([output])
        assert (output < float(found.side)) == (1 / (1 + np.exp(-output)) < float(p)) == (inequality.outputs[0][1] > 0)


def test_sigmoids_have_no_threshold_of_their_logits(folder: Path) -> None:
    tensors = load_file(folder / "net.safetensors")
    for layers in ("hardsigmoid", "sigmoid, dropout", "sigmoid, none", "sigmoid"):
        save_file(tensors, folder / "behind.safetensors", {"layers": f"[gru, last, linear, {layers}]"})
        for wanted in ("threshold(0.3)", "same_sign"):
            with pytest.raises(SpecError, match="sigmoids already"):
                ask(folder, f"radius property = {wanted}", network="behind")
    assert ask(folder, "radius property = same_side(0.3)", network="behind")
