"""Sets in units of their own: the same as those of a network that reads other units, and exact where powers of two allow it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.vlang.vcheck.certificates import check, load, make_network, refused, seal
from vlang.lower.spec import compile_spec
from vlang.results import Row
from vlang.runtime.evidence.witness_files import RefutedError, examine
from vlang.runtime.execute import execute
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source

SCALE = [0.5, 2.0, 0.25]


def ask(folder: Path, query: str, perturbation: str, network: str = "net", inputs: str = "x", **saved: dict[str, bytes]) -> list[Row]:
    kind, _, rest = query.partition(" ")
    text = f"""rspec 1
network net {{ checkpoint = "{network}.safetensors" }}
dataset d {{ inputs = "{inputs}.npy" }}
{kind} q {{ network = net, input = d, perturbation = {{ {perturbation} }}{rest} }}
"""
    plan = compile_spec(Source(str(folder / "q.rspec"), text))
    return list(execute(plan, "test", **{k: v.__setitem__ for k, v in saved.items()}).queries[0].rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network, and the same on inputs in other units."""
    make_network(tmp_path / "net.safetensors", "gru")
    tensors = load_file(tmp_path / "net.safetensors")
    tensors["rnn.weight_ih_l0"] = tensors["rnn.weight_ih_l0"] * torch.tensor(SCALE)
    save_file(tensors, tmp_path / "scaled.safetensors")
    x = np.random.default_rng(0).normal(size=(3, 3, 3))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "scaled.npy", x / SCALE)
    return tmp_path


@pytest.mark.parametrize("norm", ["1", "2", "3", "inf"])
@pytest.mark.parametrize("frames", ["all", "[1, 2], weights = [1, 1/2, 2]", "any(2)"])
def test_radii_are_those_in_other_units(norm: str, frames: str, folder: Path) -> None:
    for query in ("radius, engine = { method = quadratic, tolerance = 1e-4 }", "attack, restarts = 3, steps = 40"):
        ours = ask(folder, query.replace(",", " ,", 1), f"frames = {frames}, norm = {norm}, scale = {SCALE}")
        theirs = ask(folder, query.replace(",", " ,", 1), f"frames = {frames}, norm = {norm}", "scaled", "scaled")
        sizes = [(a.size, b.size) for a, b in zip(ours, theirs, strict=True)]
        for a, b in sizes:
            assert (a is None) == (b is None)
            assert a is None or b is None or a == pytest.approx(b, rel=2e-2 if query.startswith("attack") else 1e-3)


def test_frames_without_units_have_no_rows(folder: Path) -> None:
    rows = ask(folder, "radius , engine = { method = planes }", "frames = each, norm = 2, scale = [[1, 1, 1], [0, 0, 0], [1, 1, 2]]")
    assert {r.frames for r in rows} == {(0,), (2,)}


@pytest.mark.parametrize("scale", [SCALE, [SCALE, [0.0, 1.0, 1.0], SCALE]])
def test_units_may_stand_in_a_file(scale: list[float], folder: Path) -> None:
    np.save(folder / "s.npy", np.array(scale, dtype=np.float32))
    for said in ("frames = all, norm = 2", "frames = each, norm = inf"):
        assert ask(folder, "bounds , eps = 0.1", f'{said}, scale = "s.npy"') == ask(folder, "bounds , eps = 0.1", f"{said}, scale = {scale}")
    for wrong in (
        np.zeros(3),
        np.array([1.0, -1.0, 1.0]),
        np.array([np.nan, 1.0, 1.0]),
        np.ones((2, 3)),
        np.ones((1, 1, 3)),
        np.ones(3, int),
        np.ones(()),
    ):
        np.save(folder / "s.npy", wrong)
        with pytest.raises(SpecError):
            ask(folder, "bounds , eps = 0.1", 'frames = all, norm = 2, scale = "s.npy"')


def test_what_has_no_unit_does_not_move(folder: Path) -> None:
    (row, *_) = ask(folder, "attack", "frames = all, norm = 2, scale = [1, 0, 1]")
    assert row.size is not None
    x = np.load(folder / "x.npy")
    (found, *_) = (r for r in [row])
    witness = np.array(getattr(found, "witness"))  # noqa: B009
    assert (witness[:, 1] == x[0][:, 1]).all()
    assert (witness != x[0]).any()


@pytest.mark.parametrize("norm", ["2", "inf"])
def test_certificates_and_witnesses_state_it(norm: str, folder: Path) -> None:
    certs: dict[str, bytes] = {}
    witnesses: dict[str, bytes] = {}
    perturbation = f"frames = all, norm = {norm}, scale = [[0.1, 1, 0.3], [0.1, 2, 0.3], [0, 1, 0.7]]"
    ask(folder, "radius , engine = { method = quadratic, tolerance = 0.01 }", perturbation, save=certs)
    ask(folder, "attack , restarts = 3", perturbation, save_witness=witnesses)
    assert certs
    for content in certs.values():
        (folder / "c.cert").write_bytes(content)
        assert "in units of" in check(folder)
        claim, arrays = load(folder)
        p = claim["perturbation"]
        larger = [[str(Fraction(unit) * 2) for unit in row] for row in p["scale"]]
        freed = [[str(Fraction(unit) or Fraction(1, 2)) for unit in row] for row in p["scale"]]
        for lie in (p | {"scale": larger}, p | {"scale": freed, "weights": ["5"] * 3}, p | {"scale": p["scale"][:2]}):
            seal(folder, claim | {"perturbation": lie}, arrays)
            assert refused(folder)
        seal(folder, claim | {"perturbation": {k: v for k, v in p.items() if k != "scale"}}, arrays)
        assert refused(folder)
    for name, held in witnesses.items():
        (folder / name).write_bytes(held)
        assert "is ahead of" in examine(str(folder / name), [str(folder / "net.safetensors")])
        (folder / name).write_bytes(held.replace(b'[\\"1/10\\"', b'[\\"1/90\\"'))
        with pytest.raises(RefutedError):
            examine(str(folder / name), [str(folder / "net.safetensors")])


@pytest.mark.parametrize(
    ("perturbation", "why"),
    [
        ("scale = [1, 2]", "scale has the shape"),
        ("scale = [[1, 2, 3], [1, 2, 3]]", "scale has the shape"),
        ("scale = [[1, 2, 3], [1, 2], [1, 2, 3]]", "this frame has"),
        ("scale = [0, 0, 0]", "no frame"),
        ("scale = [1, -2, 3]", "scale"),
        ("scale = 3", "scale"),
    ],
)
def test_scales_that_do_not_fit_are_refused(perturbation: str, why: str, folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        ask(folder, "radius", f"frames = all, norm = 2, {perturbation}")
    assert any(why in x.message for x in caught.value.diagnostics), caught.value.diagnostics
