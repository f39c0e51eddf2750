"""Ranges of every channel: as one range where they are the same, and otherwise as numbers that are shifted and scaled into one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.brute import N, rows
from tests.vlang.vcheck.certificates import check, load, make_network, refused, seal
from vlang.plan import DataError
from vlang.results import AttackRow, RadiusRow, Row
from vlang.runtime.evidence.witness_files import RefutedError, UnreadableError, examine
from vlang.text.diagnostics import SpecError

RANGES = [(0.0, 1.0), (-2.0, 6.0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network on two channels in ranges of their own; and in `unit` the same network where both are in [0, 1]."""
    make_network(tmp_path / "net.safetensors", "gru", n=N)
    tensors = load_file(tmp_path / "net.safetensors")
    low, width = torch.tensor([a for a, _ in RANGES]), torch.tensor([b - a for a, b in RANGES])
    w = tensors["rnn.weight_ih_l0"]
    (tmp_path / "unit").mkdir()
    moved = {"rnn.weight_ih_l0": w * width, "rnn.bias_ih_l0": tensors["rnn.bias_ih_l0"] + w @ low}
    save_file({k: v.contiguous() for k, v in (tensors | moved).items()}, tmp_path / "unit" / "net.safetensors")
    x = np.random.default_rng(1).integers(0, 9, size=(3, 4, N)) / 8  # some at the ends of their ranges
    np.save(tmp_path / "unit" / "x.npy", x)
    np.save(tmp_path / "x.npy", x * width.numpy() + low.numpy())
    return tmp_path


def ask(folder: Path, query: str, perturbation: str, saved: dict[str, bytes] | None = None, shown: dict[str, bytes] | None = None) -> list[Row]:
    kind, _, rest = query.partition(" ")
    text = f'dataset d {{ inputs = "x.npy" }}\n{kind} q {{ network = net, input = d, perturbation = {{ {perturbation} }}{rest} }}\n'
    return rows(folder, text, saved, shown)


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
def test_the_same_range_for_each_is_one_range(norm: str, folder: Path) -> None:
    for query in ("radius , engine = { method = quadratic, tolerance = 0.05 }", "attack , restarts = 3, steps = 20", "bounds , eps = 0.2"):
        one = ask(folder / "unit", query, f"frames = all, norm = {norm}, clip = [0, 1]")
        each = ask(folder / "unit", query, f"frames = all, norm = {norm}, clip = [[0, 1], [0, 1]]")
        assert [(r.verdict, r.size) for r in one] == [(r.verdict, r.size) for r in each]


def test_each_range_cuts_its_own_channel(folder: Path) -> None:
    """Ranges that reach nothing change nothing; those that do leave less."""
    free = ask(folder, "bounds , eps = 0.3", "frames = all, norm = inf")
    wide = ask(folder, "bounds , eps = 0.3", "frames = all, norm = inf, clip = [[-99, 99], [-99, 99]]")
    tight = ask(folder, "bounds , eps = 0.3", "frames = all, norm = inf, clip = [[0, 1], [-2, 6]]")
    for a, b, c in zip(free, wide, tight, strict=True):
        assert a.size is not None
        assert b.size is not None
        assert c.size is not None
        assert a.size == pytest.approx(b.size, rel=1e-6)
        assert c.size >= a.size - 1e-9
    assert any((c.size or 0) > (a.size or 0) + 1e-6 for a, c in zip(free, tight, strict=True))


@pytest.mark.parametrize("norm", ["2", "inf"])
def test_certified_sets_hold_no_counterexample_in_their_ranges(norm: str, folder: Path) -> None:
    """Random points of the set and its corners; certificates, and lies about a range."""
    saved: dict[str, bytes] = {}
    shown: dict[str, bytes] = {}
    said = f"frames = all, norm = {norm}, clip = [[0, 1], [-2, 6]]"
    certified = ask(folder, "radius , engine = { method = quadratic, tolerance = 0.01 }", said, saved)
    attacked = ask(folder, "attack , restarts = 3, steps = 40", said, None, shown)
    low, high = (np.array(ends) for ends in zip(*RANGES, strict=True))
    for row, attack in zip(certified, attacked, strict=True):
        assert isinstance(row, RadiusRow)
        assert isinstance(attack, AttackRow)
        assert attack.radius is None or row.radius <= attack.radius
        if attack.witness is not None:
            assert (np.array(attack.witness) >= low).all()
            assert (np.array(attack.witness) <= high).all()
    for content in saved.values():
        (folder / "c.cert").write_bytes(content)
        assert check(folder)
        claim, arrays = load(folder)
        if claim["perturbation"]["clip"] is None:
            continue  # proved without
        assert len(claim["perturbation"]["clip"]) == N
        own = ["-2", "6"]
        for lie in ([["0", "1"]], [["0", "1"], ["3", "2"]], [["1/2", "1/2"], own], [["0", "1"], own, ["0", "1"]], [["0"], own]):
            changed = copy.deepcopy(claim)
            changed["perturbation"]["clip"] = lie
            seal(folder, changed, arrays)
            assert refused(folder), lie
    for content in shown.values():
        (folder / "w.witness").write_bytes(content)
        examine(str(folder / "w.witness"), [str(folder / "net.safetensors")])
        lie = content.replace(b'[\\"-2\\", \\"6\\"]', b'[\\"10\\", \\"6\\"]')  # which nothing is in
        assert lie != content
        (folder / "w.witness").write_bytes(lie)
        with pytest.raises(RefutedError):
            examine(str(folder / "w.witness"), [str(folder / "net.safetensors")])


def test_ranges_that_do_not_fit_are_refused(folder: Path) -> None:
    for said in ("[[0, 1], [0, 1], [0, 1]]", "[[0, 1], [1, 0]]", "[[0, 1], 2]", "[[0], [1]]", "[]"):
        with pytest.raises(SpecError):
            ask(folder / "unit", "bounds , eps = 0.1", f"frames = all, norm = 2, clip = {said}")
    with pytest.raises(DataError):
        ask(folder, "bounds , eps = 0.1", "frames = all, norm = 2, clip = [[0, 1], [-2, 5]]")


@pytest.mark.parametrize("norm", ["1", "2", "3", "inf"])
def test_a_range_in_units_is_the_range_of_a_network_in_those_units(norm: str, folder: Path) -> None:
    """Units that are the channels' widths: as the same network on both in [0, 1]."""
    for query in (
        f"radius , engine = {{ method = {method}, tolerance = 0.02 }}" for method in (["quadratic", "planes"] if norm == "2" else ["planes"])
    ):
        one = ask(folder / "unit", query, f"frames = [1:4], norm = {norm}, clip = [0, 1]")
        each = ask(folder, query, f"frames = [1:4], norm = {norm}, clip = [[0, 1], [-2, 6]], scale = [1, 8]")
        free = ask(folder, query, f"frames = [1:4], norm = {norm}, scale = [1, 8]")
        for a, b, c in zip(one, each, free, strict=True):
            assert a.verdict == b.verdict
            assert b.size == pytest.approx(a.size, rel=0.05)  # a graph of another shape: other forms, and steps of the search
            assert (b.size or 0) >= (c.size or 0) * (1 - 0.02)
    attacked = ask(folder, "attack , restarts = 3, steps = 40", f"frames = [1:4], norm = {norm}, clip = [[0, 1], [-2, 6]], scale = [1, 8]")
    low, high = (np.array(ends) for ends in zip(*RANGES, strict=True))
    for attack, b in zip(attacked, each, strict=True):
        assert isinstance(attack, AttackRow)
        if attack.witness is not None:
            assert (np.array(attack.witness) >= low).all()
            assert (np.array(attack.witness) <= high).all()
            assert (b.size or 0) <= (attack.radius or 0)


@pytest.mark.parametrize("norm", ["2", "inf"])
def test_certificates_of_ranges_in_units(norm: str, folder: Path) -> None:
    """Valid; refused with larger units, a wider range, and one that the input is outside of."""
    said, saved = f"frames = all, norm = {norm}, clip = [[0, 1], [-2, 6]], scale = [1, 8]", dict[str, bytes]()
    ask(folder, "radius , engine = { method = quadratic, tolerance = 0.01 }", said, saved)
    bound = 0
    for content in saved.values():
        (folder / "c.cert").write_bytes(content)
        assert "in units of" in check(folder)
        claim, arrays = load(folder)
        lies: list[dict[str, Any]] = [{"scale": [["4", "32"]] * 4}, {"scale": [["1", "8"]] * 3}, {"scale": [["1", "-8"]] * 4}]
        if claim["perturbation"]["clip"] is not None:
            bound += 1
            lies += [{"clip": x} for x in ([["-9", "9"], ["-99", "99"]], [["1/2", "1/2"], ["-2", "6"]], [["0", "1"]], [["0", "1"], ["3", "2"]])]
        for lie in lies:
            changed = copy.deepcopy(claim)
            changed["perturbation"].update(lie)
            seal(folder, changed, arrays)
            assert refused(folder), lie
    assert bound


@pytest.mark.parametrize("method", ["quadratic", "joint"])
def test_certificates_where_no_unit_is_linear(method: str, tmp_path: Path) -> None:
    """Balls that are much larger than their range: motions are boxes, of forms that have coordinates all the same."""
    made = 0
    for seed in range(4):
        make_network(tmp_path / "net.safetensors", "rnn", n=1, seed=seed)
        np.save(tmp_path / "x.npy", np.random.default_rng(seed).integers(6, 11, size=(1, 4, 1)) / 8)
        saved: dict[str, bytes] = {}
        ask(
            tmp_path,
            f"radius , engine = {{ method = {method}, tolerance = 0.05 }}",
            "frames = all, norm = 2, clip = [3/4, 5/4], weights = [8, 7/10, 1, 1/3]",
            saved,
        )
        for content in saved.values():
            (tmp_path / "c.cert").write_bytes(content)
            assert check(tmp_path)
            made += 1
    assert made


def test_a_witness_whose_input_is_outside_its_range_is_refuted(folder: Path) -> None:
    """Also where that number has not moved."""
    shown: dict[str, bytes] = {}
    ask(folder, "attack , restarts = 3, steps = 40", "frames = [1], norm = 2, clip = [[0, 1], [-2, 6]]", None, shown)
    (folder / "w.witness").write_bytes(next(iter(shown.values())))
    assert "all numbers in its range" in examine(str(folder / "w.witness"), [str(folder / "net.safetensors")])
    for old, new in ((b'[\\"-2\\", \\"6\\"]', b'[\\"-2\\", \\"-2\\"]'), (b'\\"at_most\\": null', b'\\"of_what\\": null')):
        content = next(iter(shown.values()))
        size = int.from_bytes(content[:8], "little")
        head = content[8 : 8 + size].replace(old, new)
        assert head != content[8 : 8 + size]
        (folder / "w.witness").write_bytes(len(head).to_bytes(8, "little") + head + content[8 + size :])
        with pytest.raises((RefutedError, UnreadableError)):
            examine(str(folder / "w.witness"), [str(folder / "net.safetensors")])
