"""Relations that certified radii must obey, on the shipped networks through whole specs."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from vlang.lower.spec import compile_spec
from vlang.results import Results
from vlang.runtime.execute import execute
from vlang.runtime.methods import questions
from vlang.text.source import Source

SPECS = Path(__file__).parents[3] / "specs"
#: Relative: two searches may each stop this far below their method's radius.
TOLERANCE = 1.001e-3


def answer(body: str, cell: str = "lstm", count: int = 2) -> dict[str, list[float]]:
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/digits_{cell}.safetensors" }}
dataset test {{ source = "data/digits_test.npz", pick = first({count}), where = correct }}
{body}"""
    results: Results = execute(compile_spec(Source(str(SPECS / "x.rspec"), text)), "test")
    return {q.name: [r.radius for r in q.rows if r.radius is not None] for q in results.queries}


def query(name: str, frames: str = "all", norm: str = "2", target: str = "any", method: str = "planes", extra: str = "") -> str:
    p = f"{{ frames = {frames}, norm = {norm}{extra} }}"
    return f"radius {name} {{ network = net, input = test, target = {target}, perturbation = {p}, engine = {{ method = {method} }} }}\n"


def never_below(larger: list[float], smaller: list[float]) -> bool:
    return all(a >= b * (1 - TOLERANCE) for a, b in zip(larger, smaller, strict=True))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_methods_are_ordered(cell: str) -> None:
    r = answer("".join(query(m, method=m) for m in ("interval", "lines", "planes")), cell)
    medians = [statistics.median(r[m]) for m in ("interval", "lines", "planes")]
    assert medians == sorted(medians)
    assert medians[2] > 1.5 * medians[0]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_more_frames_never_enlarge_a_radius(cell: str) -> None:
    r = answer(query("a", "[3]") + query("b", "[2:4]") + query("c", "[1:4]") + query("d", "all"), cell)
    for larger, smaller in (("a", "b"), ("b", "c"), ("c", "d")):
        assert never_below(r[larger], r[smaller])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_any_k(cell: str) -> None:
    r = answer("".join(query(f"any{k}", f"any({k})") for k in (1, 2, 3, 4)) + query("every"), cell)
    for k in (1, 2, 3):
        assert never_below(r[f"any{k}"], r[f"any{k + 1}"])
    assert r["any4"] == r["every"]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_weights_scale(cell: str) -> None:
    r = answer(query("one") + query("two", extra=", weights = [2, 2, 2, 2]") + query("half", extra=", weights = [1/2, 1/2, 1/2, 1/2]"), cell)
    for factor, name in ((2, "two"), (0.5, "half")):
        assert all(abs(b * factor / a - 1) <= 2 * TOLERANCE for a, b in zip(r["one"], r[name], strict=True))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_targeted_is_never_below_untargeted(cell: str) -> None:
    r = answer(query("any") + query("one", target="random(seed=1)") + query("near", target="runner_up") + query("each", target="each"), cell)
    assert never_below(r["one"], r["any"])
    assert never_below(r["near"], r["any"])
    least = [min(r["each"][9 * i : 9 * i + 9]) for i in range(len(r["any"]))]
    assert all(abs(a / b - 1) <= 2 * TOLERANCE for a, b in zip(least, r["any"], strict=True))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_norms_are_ordered(cell: str) -> None:
    r = answer("".join(query(n, norm=p) for n, p in (("one", "1"), ("mid", "1.5"), ("two", "2"), ("five", "5"), ("inf_", "inf"))), cell)
    for larger, smaller in (("one", "mid"), ("mid", "two"), ("two", "five"), ("five", "inf_")):
        assert never_below(r[larger], r[smaller])


def test_clipping_never_shrinks_a_radius() -> None:
    for norm in ("1", "2", "inf"):
        r = answer(query("free", norm=norm) + query("clipped", norm=norm, extra=", clip = [0, 1]"))
        assert never_below(r["clipped"], r["free"])


def test_a_misclassified_sample_has_radius_zero_and_says_so() -> None:
    text = """rspec 1
network net { checkpoint = "checkpoints/digits_rnn.safetensors" }
dataset test { source = "data/digits_test.npz" }
radius r { network = net, input = test, perturbation = { frames = all, norm = inf }, engine = { method = interval, tolerance = 10% } }
verify v { network = net, input = test, perturbation = { frames = all, norm = inf }, engine = { method = interval }, eps = 1e-6 }
"""
    radius, verify = execute(compile_spec(Source(str(SPECS / "x.rspec"), text)), "test").queries
    wrong = [r for r in radius.rows if r.label != r.predicted]
    assert wrong
    assert all(r.radius == 0 and r.reason is not None and "misclassified" in r.reason for r in wrong)
    assert all(r.verdict == "falsified" and r.witness for r in verify.rows if r.label != r.predicted)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_auto_climbs_from_planes_to_quadratic_bounds(cell: str) -> None:
    """At least the planes' radius, and each row names the method that certified it; other methods name none."""
    body = "".join(query(m, "[2:4]", method=m) for m in ("planes", "quadratic", "auto"))
    body += "verify near { network = net, input = test, perturbation = { frames = [3], norm = 2 }, eps = 1e-3 }"
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/digits_{cell}.safetensors" }}
dataset test {{ source = "data/digits_test.npz", pick = first(3), where = correct }}
{body}"""
    results = execute(compile_spec(Source(str(SPECS / "x.rspec"), text)), "test")
    rows = {q.name: q.rows for q in results.queries}
    for planes, quadratic, auto in zip(rows["planes"], rows["quadratic"], rows["auto"], strict=True):
        assert planes.radius
        assert quadratic.radius
        assert auto.radius
        assert auto.radius >= planes.radius * (1 - TOLERANCE)
        assert abs(auto.radius / quadratic.radius - 1) <= 2 * TOLERANCE
        assert (planes.method, quadratic.method, auto.method) == (None, None, "quadratic")
    assert statistics.median(q.radius / p.radius for p, q in zip(rows["planes"], rows["auto"], strict=True) if p.radius and q.radius) > 1.05
    assert {r.method for r in rows["near"] if r.verdict == "certified"} == {"planes"}


@pytest.mark.parametrize("method", ["joint", "sliced"])
def test_auto_spends_a_budget_on_what_it_pays(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a budget a row goes on after its quadratic bounds, never to a smaller radius, and is complete."""
    if method == "sliced":
        monkeypatch.setattr(questions, "LARGEST_JOINT", 100)
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/digits_rnn.safetensors" }}
dataset test {{ source = "data/digits_test.npz", pick = first(1) }}
{query("plain", "[2:4]", method="auto")}
{query("more", "[2:4]", method="auto").replace("method = auto", "method = auto, tolerance = 0.02, budget = 100 s")}"""
    plain, more = (q.rows[0] for q in execute(compile_spec(Source(str(SPECS / "x.rspec"), text)), "test").queries)
    assert plain.method == "quadratic"
    assert more.method == method
    assert more.complete
    assert more.radius is not None
    assert plain.radius is not None
    assert more.radius > plain.radius
