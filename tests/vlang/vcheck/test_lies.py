"""The checker: certificates that lie in one place alone, or are forged from nothing, are refused by the check that is there for it.

What is refused for another reason says nothing of a check: take one out, and a test here has to fail.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.vlang.vcheck.certificates import OFFSET_ROW, ROWS, Arrays, Claim, certify, check, load, make_network, proved_by, refused, seal, unrolled
from vlang.vcheck import certificate, region
from vlang.vcheck.errors import InvalidError, UnreadableError
from vlang.vcheck.statement import Statement


def put(row: int, value: Callable[[np.ndarray[Any, Any]], float]) -> Callable[[np.ndarray[Any, Any]], None]:
    """Of one unit's column of an array: one number, from the others."""

    def change(unit: np.ndarray[Any, Any]) -> None:
        unit[row] = value(unit)

    return change


def in_its_box(unit: np.ndarray[Any, Any]) -> None:
    unit[1:] = 0.0


#: What may be said of one unit that nothing but its own check can tell from the truth, and what that check says.
LIES: dict[str, list[tuple[Callable[[np.ndarray[Any, Any]], None], str]]] = {
    "box": [
        (put(1, lambda u: float(0.8 * u[0] + 0.2 * u[1])), "its upper bound is not proved"),
        (put(0, lambda u: float(0.2 * u[0] + 0.8 * u[1])), "its lower bound is not proved"),
    ],
    "motion": [(put(1, lambda u: 0.0), "its motion is not proved"), (in_its_box, "its motion does not hold its box")],
    "upper": [(put(-1, lambda u: float(u[-1] - 3)), "the upper plane does not hold on its box")],
    "lower": [(put(-1, lambda u: float(u[-1] + 3)), "the lower plane does not hold on its box")],
    "above": [(lambda u: lowered_by(u, 3), "the upper parabola does not hold on its box")],
    "below": [(lambda u: lowered_by(u, -3), "the lower parabola does not hold on its box")],
}


def lowered_by(unit: np.ndarray[Any, Any], step: float) -> None:
    unit[OFFSET_ROW[len(unit)]] -= step


@pytest.mark.parametrize(
    ("cell", "method"), [("rnn", "quadratic"), ("lstm", "quadratic"), ("gru", "quadratic"), ("lstm", "planes"), ("gru", "interval")]
)
def test_every_lie_is_seen_by_the_check_of_its_unit(cell: str, method: str, tmp_path: Path) -> None:
    """At a thirtieth of the radius everything holds with room to spare: no other check can refuse what is false of one unit alone."""
    make_network(tmp_path / "net.safetensors", cell, s=3, seed=3)
    claim, arrays = proved_by(method, tmp_path, "frames = all, norm = 2")
    claim["eps"] = str(certificate.rational(claim["eps"]) / 30)
    arrays = {k: a * 100 if k.endswith((".multipliers", ".rest")) else a for k, a in arrays.items()}
    seal(tmp_path, claim, arrays)
    check(tmp_path, "m.cert")
    nodes = unrolled(certificate.read(str(tmp_path / "net.safetensors"))[0], claim["network"], *arrays["input"].shape)
    rng, told = np.random.default_rng(0), Counter[str]()
    for what, lies in LIES.items():
        names = [name for name in sorted(arrays) if name.split(".")[-1] == what]
        for name, (lie, reason) in itertools.product(rng.permutation(names)[:4], lies):
            theirs = {k: v.copy() for k, v in arrays.items()}
            unit = int(rng.integers(theirs[name].shape[1]))
            lie(theirs[name][:, unit])
            seal(tmp_path, claim, theirs)
            with pytest.raises(InvalidError, match=re.escape(f"{nodes[int(name.split('.')[1])].name}, unit {unit}: {reason}")):
                check(tmp_path, "m.cert")
            told[reason] += 1
    assert len(told) == {"quadratic": 8, "planes": 4, "interval": 2}[method]


@pytest.mark.parametrize("method", ["planes", "quadratic"])
def test_every_class_has_to_be_beaten(method: str, tmp_path: Path) -> None:
    """The same proof for the class in the middle, which one of the others beats: the first of them or the second."""
    make_network(tmp_path / "net.safetensors", "lstm", s=2, seed=3)
    assert certify(tmp_path, "frames = all, norm = 2", method, m=2).certificate
    claim, arrays = load(tmp_path)
    claim["eps"] = str(certificate.rational(claim["eps"]) / 10)
    nodes = unrolled(certificate.read(str(tmp_path / "net.safetensors"))[0], claim["network"], *arrays["input"].shape)
    still = region.Region(arrays["input"], {}, None, 2, None, None, None, 0 * arrays["input"], (0.0, 0.0))
    low, middle, high = np.argsort([float(y) for y, _ in Statement(nodes, still, {}).boxes[-1]]).tolist()
    for against in ([low, high], [high, low], [high]):
        theirs = {k: v[: len(against)] if k.startswith(f"0.{len(nodes) - 1}.") else v for k, v in arrays.items()}
        seal(tmp_path, claim | {"label": middle, "against": against}, theirs)
        with pytest.raises(InvalidError, match="the margin is not proved"):
            check(tmp_path, "m.cert")
    seal(tmp_path, claim | {"label": high, "against": [low, middle]}, arrays)
    check(tmp_path, "m.cert")


STACK = {"layer": "rnn_tanh", "of": [-1], "prefix": "", "layers": 1, "directions": 1, "initial": []}
HEAD = {"layer": "linear", "of": [-1], "prefix": "out."}


@pytest.mark.parametrize(
    ("lies", "why"),
    [
        *([STACK | {"layers": n}, "layers is"] for n in (0, -1, True, 1.0)),  # without any, a head would read frames, its weights without a role
        (STACK | {"directions": 3}, "directions"),
        (STACK | {"initial": ["out.weight"]}, "initial"),
        (STACK | {"of": [0]}, "not known"),
        (STACK | {"of": []}, "not known"),
        (STACK | {"of": [-2]}, "not known"),
        (STACK | {"layer": "rnn"}, "not known"),
        (STACK | {"eps": 1.0}, "nothing else"),
        ({k: v for k, v in STACK.items() if k != "initial"}, "nothing else"),
        (HEAD, "twice"),
    ],
)
def test_a_layer_is_what_it_says(lies: Claim, why: str) -> None:
    weights = {"weight_ih_l0": np.eye(2), "weight_hh_l0": np.eye(2), "out.weight": np.eye(2)}
    whole = [STACK, {"layer": "mean", "of": [0]}, HEAD | {"of": [1]}]
    assert len(unrolled(dict(weights), {"embedding": None, "layers": whole}, 3, 2)) == 3 + 1 + 3 * 2 + 1 + 1
    with pytest.raises(InvalidError, match=why):
        unrolled(dict(weights), {"embedding": None, "layers": [lies, *whole[1:]]}, 3, 2)


def test_the_margin_is_one_of_the_output() -> None:
    """Not of whatever node happens to be the last."""
    weights = {"weight_ih_l0": np.eye(2), "weight_hh_l0": np.eye(2), "out.weight": np.eye(2)}
    layers = [STACK, {"layer": "last", "of": [0]}, HEAD | {"of": [1]}, {"layer": "none", "of": [1]}]
    nodes = unrolled(weights, {"embedding": None, "layers": layers}, 3, 2)
    assert [term[0][0] for term in nodes[-1].terms] == [len(nodes) - 3]


def test_a_tie_is_no_victory(tmp_path: Path) -> None:
    """Two classes with the same weights: neither is ever ahead of the other, and nothing is lost to rounding."""
    make_network(tmp_path / "net.safetensors", "rnn", s=2)
    tensors = certificate.read(str(tmp_path / "net.safetensors"))[0]
    tensors["out.weight"][1], tensors["out.bias"][:] = tensors["out.weight"][0], [0.25, 0.25, 9]
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, tmp_path / "net.safetensors", {"activation": "tanh"})
    assert certify(tmp_path, "frames = all, norm = 2", "planes", m=2).certificate
    claim, arrays = load(tmp_path)
    seal(tmp_path, claim | {"label": 0, "against": [1]}, arrays)
    with pytest.raises(InvalidError, match="the margin is not proved"):
        check(tmp_path, "m.cert")


def test_an_offset_moves_no_frame_that_does_not_move(tmp_path: Path) -> None:
    """A piece's middle on a fixed frame would be another input: one with the wrong label, certified from one with the right one."""
    make_network(tmp_path / "net.safetensors", "rnn", s=5, seed=3)
    claim, arrays = proved_by("sliced", tmp_path, "frames = [0, 1, 2], norm = 2")
    for name in [k for k in arrays if k.endswith(".offset")]:
        theirs = {k: v.copy() for k, v in arrays.items()}
        theirs[name][3] += 1e-9
        seal(tmp_path, claim, theirs)
        with pytest.raises(InvalidError, match="moves a frame that does not move"):
            check(tmp_path, "m.cert")


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_forged_proof_by_constants_is_refused(cell: str, tmp_path: Path) -> None:
    """Every state said to be what it is at the centre, whatever moves: by planes, by parabolas, or by both, on boxes as wide as one likes."""
    make_network(tmp_path / "net.safetensors", cell, seed=1)
    assert certify(tmp_path, "frames = all, norm = 2", "quadratic").certificate
    claim, arrays = load(tmp_path)
    tensors = certificate.read(str(tmp_path / "net.safetensors"))[0]
    nodes = unrolled(tensors, claim["network"], *arrays["input"].shape)
    still = region.Region(arrays["input"], {}, None, 3, None, None, None, 0 * arrays["input"], (0.0, 0.0))
    values = [np.array([float(lo.mid()) for lo, _ in box]) for box in Statement(nodes, still, {}).boxes]
    asked = {r[0] for node in nodes for r in node.args}
    for sides in (("upper", "lower"), ("above", "below"), ("upper", "lower", "above", "below")):
        forged: Arrays = {"input": arrays["input"]}
        for i, node in enumerate(nodes):
            for side in sides if node.op else ():
                k = len(node.args)
                rows = k + 1 if side in ("upper", "lower") else ROWS[k]
                forged[f"0.{i}.{side}"] = np.zeros((rows, node.width))
                forged[f"0.{i}.{side}"][k] = values[i]
            if i in asked:
                forged[f"0.{i}.box"] = np.stack([values[i] - 1e6, values[i] + 1e6])
                forged[f"0.{i}.motion"] = np.stack([values[i], 2e6 + 0 * values[i], 0 * values[i]])
        seal(tmp_path, claim | {"eps": "100", "method": "quadratic"}, forged)
        with pytest.raises((InvalidError, UnreadableError), match=r"does not hold on its box|missing"):
            check(tmp_path, "m.cert")


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_forged_motion_is_refused(cell: str, tmp_path: Path) -> None:
    """Every unit said to be far away, exactly, and parabolas that hold on its box and say anything there."""
    make_network(tmp_path / "net.safetensors", cell, seed=3)
    assert certify(tmp_path, "frames = all, norm = 2", "planes", m=1).certificate
    claim, arrays = load(tmp_path)
    nodes = unrolled(certificate.read(str(tmp_path / "net.safetensors"))[0], claim["network"], *arrays["input"].shape)
    asked, far, curvature = {r[0] for node in nodes for r in node.args}, 1e10, 2e-8
    forged: Arrays = {"input": arrays["input"], f"0.{len(nodes) - 1}.multipliers": np.full((2, 1), 1e-5)}
    for i, node in enumerate(nodes):
        one = np.ones(node.width)
        if i in asked:
            forged[f"0.{i}.box"] = np.stack([-1e6 * one, 1e6 * one])
            forged[f"0.{i}.motion"] = np.stack([far * one, 0 * one, one])
            forged[f"0.{i}.rest"] = forged[f"0.{i}.multipliers"] = np.zeros((2 * node.width, 1))
        for side, sign in (("above", 1), ("below", -1)) if node.op else ():
            k = len(node.args)
            forged[f"0.{i}.{side}"] = np.zeros((ROWS[k], node.width))
            forged[f"0.{i}.{side}"][k] = -0.45 * sign * curvature * far**2
            forged[f"0.{i}.{side}"][k + 1 :: 2] = sign * curvature
    seal(tmp_path, claim | {"eps": "1000", "method": "quadratic"}, forged)
    with pytest.raises((InvalidError, UnreadableError), match=r"its motion is not proved|missing"):
        check(tmp_path, "m.cert")


def test_forms_of_too_many_coordinates_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files would otherwise ask for much memory."""
    make_network(tmp_path / "net.safetensors", "rnn", s=5, seed=3)
    claim, arrays = proved_by("quadratic", tmp_path, "frames = all, norm = 2")
    seal(tmp_path, claim, arrays)
    check(tmp_path, "m.cert")
    monkeypatch.setattr(region, "MOST_COORDINATES", 2)
    assert refused(tmp_path)


def test_no_weight_is_hidden_as_an_embedding(tmp_path: Path) -> None:
    """A tensor without a role is refused, whatever it is called, unless it has an embedding's shape: then what is checked says so."""
    for name, shape in (("member.weight", (2, 2)), ("embed_norm.weight", (3,)), ("embed.weight", (7, 3))):
        make_network(tmp_path / "net.safetensors", "rnn")
        assert certify(tmp_path, "frames = all, norm = 2", "planes").certificate
        claim, arrays = load(tmp_path)
        tensors, metadata, _ = certificate.read(str(tmp_path / "net.safetensors"))
        save_file({k: v.astype(np.float32) for k, v in tensors.items()} | {name: np.ones(shape, np.float32)}, tmp_path / "net.safetensors", metadata)
        claim["network"]["sha256"] = hashlib.sha256((tmp_path / "net.safetensors").read_bytes()).hexdigest()
        seal(tmp_path, claim, arrays)
        assert refused(tmp_path)
        claim["network"]["embedding"] = name
        seal(tmp_path, claim, arrays)
        if shape == (7, 3):
            assert "embedding embed.weight" in check(tmp_path, "m.cert")
        else:
            assert refused(tmp_path)


def test_no_layer_of_the_head_is_there_twice(tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "rnn")
    assert certify(tmp_path, "frames = all, norm = 2", "planes").certificate
    claim, arrays = load(tmp_path)
    *below, head = claim["network"]["layers"]
    claim["network"]["layers"] = [*below, head, head | {"of": [len(below)]}]
    seal(tmp_path, claim, arrays)
    with pytest.raises(InvalidError, match="twice"):
        check(tmp_path, "m.cert")
