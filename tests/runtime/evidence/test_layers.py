"""Certificates of graphs of layers: the checker reads the network its own way and proves the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers import DTYPE, points
from tests.layers import saved_at_random, saved_cell
from tests.runtime.network.test_layers import MODELS, M, N, saved
from tests.vlang.vcheck.certificates import Claim, check, load, refused, seal
from vlang.convert.described import architecture
from vlang.lower.spec import compile_spec
from vlang.results import RadiusRow
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.execute import execute
from vlang.runtime.graph.concrete import logits
from vlang.runtime.network.assemble import assemble
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source
from vlang.words.cells import CELLS


def certified(folder: Path, layers: str, method: str, frames: str = "all", frames_: int = M, n: int = N, eps: float | None = None) -> float:
    """The radius of one question, or the eps that holds, whose certificate goes to c.cert."""
    np.save(folder / "x.npy", np.random.default_rng(0).standard_normal((1, frames_, n)))
    said = f", layers = {layers}" if layers else ""
    text = f"""rspec 1
network net {{ checkpoint = "net.safetensors"{said} }}
dataset d {{ inputs = "x.npy" }}
{"radius" if eps is None else "verify"} q {{ network = net, input = d, perturbation = {{ frames = {frames}, norm = 2 }}
  {"engine" if eps is None else f"eps = {eps}, engine"} = {{ method = {method}{", tolerance = 0.2" if eps is None else ""} }} }}
"""
    saved_: dict[str, bytes] = {}
    results = execute(compile_spec(Source(str(folder / "q.rspec"), text)), "test", save=saved_.__setitem__)
    (row,) = results.queries[0].rows
    assert row.certificate is not None, row.reason
    for content in saved_.values():
        (folder / "c.cert").write_bytes(content)
    found = row.radius if isinstance(row, RadiusRow) else eps
    assert found is not None
    return found


@pytest.mark.parametrize("name", MODELS)
def test_every_graph_of_layers_is_proved_again(name: str, tmp_path: Path) -> None:
    saved(name, tmp_path)
    certified(tmp_path, MODELS[name][1], "planes", "[3, 8]", eps=0.2)
    check(tmp_path)


@pytest.mark.parametrize("method", ["planes", "quadratic"])
@pytest.mark.parametrize("cell", [word for word, cell in CELLS.items() if cell.foreign or word == "mgu"])
def test_cells_that_torch_has_not_are_proved_again(cell: str, method: str, tmp_path: Path) -> None:
    saved_cell(cell, tmp_path / "net.safetensors", 2, 3, 3)
    certified(tmp_path, "", method, frames_=3, n=2, eps=0.02)
    check(tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_are_proved_again(seed: int, tmp_path: Path) -> None:
    saved_at_random(seed, tmp_path / "net.safetensors", 2, 3, 3, 0.6)
    certified(tmp_path, "", "quadratic" if seed % 2 else "planes", frames_=3, n=2)
    check(tmp_path)


LIED_ABOUT = ["pictures", "pictures of all kinds", "normalized by channel", "strided groups", "pooled", "flattened by channel", "residual"]


@pytest.mark.parametrize("name", LIED_ABOUT)
def test_what_is_said_of_another_graph_of_layers_is_refused_or_true(name: str, tmp_path: Path) -> None:
    """Every setting changed, every layer another or read elsewhere, one at a time: few of those networks are robust by the same proof."""
    saved(name, tmp_path)
    certified(tmp_path, MODELS[name][1], "planes")
    claim, arrays = load(tmp_path)
    layers, kept, tried = claim["network"]["layers"], 0, 0
    for k, layer in enumerate(layers):
        others = [layer | {key: other(value)} for key, value in layer.items() if key not in ("layer", "of", "prefix", "initial")]
        others += [layer | {"of": [i - 1 for i in layer["of"]]}] if min(layer["of"]) >= 0 else []
        others += [layer | {"layer": word} for word in ("relu", "tanh", "none", "last_frame", "max", "mean", "concat", "lstm", "conv1d")]
        for lie in (x for x in others if x != layer):
            network = claim["network"] | {"layers": [*layers[:k], lie, *layers[k + 1 :]]}
            seal(tmp_path, claim | {"network": network}, arrays)
            tried += 1
            if not refused(tmp_path):
                kept += 1
                assert holds(network, claim, arrays["input"], tmp_path), (k, layer, lie)
    assert kept < tried / 4


def holds(network: Claim, claim: Claim, centre: np.ndarray[Any, Any], folder: Path) -> bool:
    """Whether no point that is tried in the set is given another class."""
    tensors = load_file(folder / "net.safetensors")
    shapes = {k: tuple(v.shape) for k, v in tensors.items()}
    read = assemble(tensors, architecture(network, shapes, centre.shape[1]), DTYPE, torch.device("cpu"))
    nominal = Nominal.at(read.unroll(len(centre)), torch.tensor(centre)[None])
    ball = Ball(torch.full((1, len(centre)), float(Fraction(claim["eps"])), dtype=DTYPE), Fraction(2))
    found = torch.cat([logits(nominal.graph, x) for x in points(nominal, ball, 200)])
    return bool((found.argmax(1) == claim["label"]).all())


def other(value: float | str | list[float]) -> float | str | list[float]:
    """Another value of a setting, of the same kind."""
    match value:
        case "frames" | "channels":
            return "channels" if value == "frames" else "frames"
        case list():
            return [value[0] * 1.1 + 0.1, *value[1:]]
        case int():
            return value + 1
        case float():
            return value * 1.1
    raise TypeError(value)
