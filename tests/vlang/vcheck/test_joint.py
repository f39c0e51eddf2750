"""Joint bounds in the checker: constraints hold of graphs, and what a mutated runtime would have certified is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flint import arb
from safetensors.numpy import save_file

from tests.vlang.vcheck.certificates import Arrays, Claim, certify, check, load, make_network, refused, seal
from tests.vlang.vcheck.test_parabolas import FUNCTIONS, arity_of, box_of
from vlang.lower.spec import compile_spec
from vlang.runtime.bounds import joint as runtime
from vlang.runtime.execute import execute
from vlang.runtime.queries import batches
from vlang.text.source import Source
from vlang.vcheck import certificate, joint
from vlang.vcheck.constraints import CELLS, axes_of, highest
from vlang.vcheck.errors import InvalidError


@pytest.mark.parametrize("op", FUNCTIONS)
def test_no_point_of_a_graph_is_above_its_constraint(op: str) -> None:
    """On points between the corners of cells too, and hardly above them all."""
    rng = np.random.default_rng(3)
    for _ in range(12):
        arity, (lo, hi) = arity_of(op), box_of(op, rng)
        y = np.meshgrid(*(np.linspace(a, b, 3 * CELLS[arity] + 2) for a, b in zip(lo, hi, strict=True)), indexing="ij")
        value = FUNCTIONS[op](*y)
        half = rng.normal(size=(3, 3)) / 2
        matrix, linear = half + half.T, rng.normal(size=3)
        centre = np.array([*(lo + (hi - lo) * rng.random(arity)), *[0.0] * (2 - arity), float(value.flat[rng.integers(value.size)])])
        points = np.stack([*(v.ravel() for v in y), *[np.zeros(value.size)] * (2 - arity), value.ravel()]) - centre[:, None]
        q = linear @ points + (points * (matrix @ points)).sum(0) / 2
        found = float(highest(op, axes_of(op, [(arb(a), arb(b)) for a, b in zip(lo, hi, strict=True)]), centre, linear, matrix))
        assert q.max() <= found + 1e-13 * (1 + np.abs(q).max())
        assert found <= q.max() + 2e-3 * np.ptp(q) + 1e-12


SETS = ("frames = all, norm = 2", "frames = [0, 2], norm = 1", "frames = all, norm = inf", "frames = all, norm = inf, clip = [-1/4, 5/4]")


def proved(folder: Path, cell: str, perturbation: str, **metadata: str) -> tuple[Claim, Arrays]:
    """A certificate for which quadratic bounds do not suffice."""
    for seed in range(6):
        make_network(folder / "net.safetensors", cell, s=3, seed=3 + seed, **metadata)
        assert certify(folder, perturbation, "joint", m=3, seed=seed, tolerance=0.1).certificate
        found = load(folder)
        if found[0]["method"] == "joint" and any(name.endswith(".balls") for name in found[1]):
            return found
    raise AssertionError("quadratic bounds always suffice")


@pytest.mark.parametrize(
    ("cell", "perturbation", "metadata"),
    [
        *(("lstm", p, {}) for p in SETS[:3]),
        ("rnn", SETS[3], {}),
        ("gru", SETS[0], {"layers": "2"}),
        ("rnn", SETS[2], {"layers": "2", "both": "yes"}),
        ("rnn", "frames = any(2), norm = 3/2, weights = [1, 1/2, 2]", {}),
    ],
)
def test_joint_proofs_are_proved_again_and_no_part_is_vacuous(cell: str, perturbation: str, metadata: dict[str, str], tmp_path: Path) -> None:
    claim, arrays = proved(tmp_path, cell, perturbation, **metadata)
    assert check(tmp_path).startswith("class ")
    balls = next(name for name in arrays if name.endswith(".balls"))
    lies: list[Callable[[Arrays], None]] = [
        lambda a: a.__delitem__(balls),
        lambda a: a.update({balls: -a[balls]}),
        lambda a: a.update({balls: a[balls][:, :-1]}),
        lambda a: a.update({balls: 0 * a[balls]}),
        lambda a: a.update({balls: 1e3 * a[balls]}),
        lambda a: a.update({k: -v for k, v in a.items() if k.endswith(".joint")}),
        lambda a: a.update({k: 0 * v for k, v in a.items() if k.endswith(".joint")}),
        lambda a: a.update({k: v[:, :-1] for k, v in a.items() if k.endswith(".joint")}),
        lambda a: a.update({k: np.full_like(v, 1e300) for k, v in a.items() if k.endswith(".joint")}),
    ]
    for lie in lies:
        theirs = dict(arrays)
        lie(theirs)
        seal(tmp_path, claim, theirs)
        assert refused(tmp_path)
    seal(tmp_path, claim | {"eps": str(certificate.rational(claim["eps"]) * 6 / 5)}, arrays)
    assert refused(tmp_path) or "clip" in perturbation  # which may leave nothing that is new


@pytest.mark.parametrize("part", ["graphs", "maximum", "balls", "boxes"])
def test_what_a_mutated_runtime_certifies_is_refused(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of the runtime's proof wrong by itself, at five fourths of the radius: the checker, whose parts are its own, says no."""
    claim, _ = proved(tmp_path, "lstm", SETS[0])
    extra = f", eps = {certificate.rational(claim['eps']) * 5 / 4}"
    with monkeypatch.context() as mutated:
        mutate(part, mutated)
        row = certify(tmp_path, SETS[0], "joint", m=3, seed=seed_of(tmp_path), query="verify", extra=extra)
    assert row.certificate
    assert load(tmp_path)[0]["method"] == "joint"
    with pytest.raises(InvalidError, match="the margin is not proved"):
        check(tmp_path)


def seed_of(folder: Path) -> int:
    """Of the input that `certify` made last: `proved` took it for the network's too."""
    x = np.load(folder / "x.npy")
    return next(s for s in range(6) if np.array_equal(np.random.default_rng(s).random(x.shape).astype(np.float32) - 0.5, x))


def mutate(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    highest, proved_ = runtime.highest, runtime.proved
    if part == "graphs":
        monkeypatch.setattr(runtime, "highest", lambda f, lo, hi, q: highest(f, lo, hi, q) - 10)
    elif part == "maximum":
        monkeypatch.setattr(runtime, "proved", lambda *asked: proved_(*asked) - 1)
    elif part == "balls":
        monkeypatch.setattr(runtime, "proved", lambda form, error, room, *rest: proved_(form, error, replace(room, radii=room.radii / 9), *rest))
    else:
        narrowed = runtime.Trace._operations

        def narrower(self: runtime.Trace, i: int, node: Any, first: int) -> Any:
            wide = self.walk.boxes
            self.walk.boxes = [((lo + hi) / 2 + 0.1 * (lo - hi) / 2, (lo + hi) / 2 + 0.1 * (hi - lo) / 2) for lo, hi in wide]
            found = narrowed(self, i, node, first)
            self.walk.boxes = wide
            return found

        monkeypatch.setattr(runtime.Trace, "_operations", narrower)


def test_joint_bounds_of_too_many_unknowns_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files would otherwise ask for much memory."""
    proved(tmp_path, "rnn", SETS[0])
    check(tmp_path)
    monkeypatch.setattr(joint, "MOST_UNKNOWNS", 8)
    with pytest.raises(InvalidError, match="too many unknowns"):
        check(tmp_path)


def test_where_forms_are_dear_the_boxes_are_those_of_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row says it, goes beyond planes, and is proved again without a parabola."""
    monkeypatch.setattr(batches, "AFFORDED", 0)
    make_network(tmp_path / "net.safetensors", "lstm", s=3, seed=3)
    planes = certify(tmp_path, SETS[0], "planes", tolerance=0.01)
    row = certify(tmp_path, SETS[0], "joint", tolerance=0.01)
    assert row.reason == "on the boxes of planes: quadratic forms would cost more than joint bounds"
    assert row.size > 1.1 * planes.size
    assert check(tmp_path).startswith("class ")
    assert not [name for name in load(tmp_path)[1] if name.endswith((".above", ".motion"))]


@pytest.mark.parametrize("norm", ["3", "inf"])
def test_balls_about_a_middle_are_about_it(norm: str, tmp_path: Path) -> None:
    """A clip cuts the set to [0, 1/10], seen from 1/20: what holds within 1/20 of x is no proof of it."""
    wide = norm == "inf"  # where a chart makes one ball of a frame
    n = 1 + wide
    save_file(
        {
            "rnn.weight_ih_l0": np.eye(1, n),
            "rnn.weight_hh_l0": np.zeros((1, 1)),
            "rnn.bias_ih_l0": np.zeros(1),
            "rnn.bias_hh_l0": np.zeros(1),
            "out.weight": np.array([[0.0], [1.0]]),
            "out.bias": np.array([0.075, 0.0]),
        },
        tmp_path / "net.safetensors",
        {"activation": "tanh"},
    )
    x = np.zeros((1, 1, n))
    np.save(tmp_path / "x.npy", x)
    text = f"""rspec 1
network net {{ checkpoint = "net.safetensors" }}
dataset d {{ inputs = "x.npy" }}
radius q {{ network = net, input = d, perturbation = {{ frames = all, norm = {norm}, clip = [0, 10] }}, engine = {{ method = planes }} }}
"""
    saved: dict[str, bytes] = {}
    execute(compile_spec(Source(str(tmp_path / "q.rspec"), text)), "test", save=saved.__setitem__)
    (content,) = saved.values()
    (tmp_path / "c.cert").write_bytes(content)
    claim, arrays = load(tmp_path)
    check(tmp_path)
    constraint = np.zeros((1, 9, 1))
    constraint[0, :, 0] = [-1, 0, 1, 0, 0, 0, 0, 0, 1e-3]
    offset = np.zeros((1, n))
    offset[0, 0] = 0.05
    forged = {"input": arrays["input"], "0.offset": offset, "0.2.box": np.array([[-1e-9], [0.1 + 1e-9]])}
    forged |= {"0.3.joint": constraint, "0.4.balls": np.array([[20.0]])}
    forged |= {"chart.basis": np.array([[1.0], [0.0]]), "chart.scale": np.array([1.0, 1e-6])} if wide else {}
    seal(tmp_path, claim | {"eps": "1/10", "method": "joint"}, forged)
    assert refused(tmp_path)
