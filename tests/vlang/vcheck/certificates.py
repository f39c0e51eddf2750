"""Small networks, certificates of questions about them, and changed certificates, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from vlang.lower.spec import compile_spec
from vlang.results import CertifiableRow
from vlang.runtime.execute import execute
from vlang.text.source import Source
from vlang.vcheck import certificate
from vlang.vcheck.errors import InvalidError, UnreadableError
from vlang.vcheck.layers import plain, unroll
from vlang.vcheck.network import Node

Arrays = dict[str, np.ndarray[Any, Any]]
Claim = dict[str, Any]
Certificate = tuple[Claim, Arrays]
#: Where a parabola's offset is, by how many rows it has: after its slopes, before its curvature.
OFFSET_ROW = {3: 1, 6: 2}
#: Rows of a parabola by how many arguments it has.
ROWS = {1: 3, 2: 6}
KINDS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def make_network(path: Path, cell: str, n: int = 3, s: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0, **metadata: str) -> None:
    """A network with random weights; bidirectional and layers are read from the metadata too."""
    torch.manual_seed(seed)
    layers, both = int(metadata.pop("layers", "1")), metadata.pop("both", "") == "yes"
    model = KINDS[cell](n, s, num_layers=layers, bidirectional=both, batch_first=True)
    state = {f"rnn.{k}": v.detach() for k, v in model.state_dict().items()}
    width = s * (2 if both else 1)
    if "head" in metadata:
        state |= {"head.0.weight": torch.randn(5, width), "head.0.bias": torch.randn(5)}
        state |= {"head.2.weight": torch.randn(3, 5), "head.2.bias": torch.randn(3)}
    else:
        state |= {"out.weight": torch.randn(3, width), "out.bias": torch.randn(3)}
    from safetensors.torch import save_file as save

    said = {"activation": "tanh", "readout": "last"} if both or cell == "rnn" else {}
    save({k: v.to(dtype).contiguous() for k, v in state.items()}, path, metadata={**said, **metadata})


def certify(
    folder: Path,
    perturbation: str,
    method: str,
    n: int = 3,
    m: int = 3,
    query: str = "radius",
    extra: str = "",
    seed: int = 0,
    tolerance: float = 0.2,
    said: str = "",
) -> CertifiableRow:
    """Run one question on net.safetensors; its certificate goes to c.cert."""
    x = np.random.default_rng(seed).random((1, m, n)).astype(np.float32) - (0.0 if "clip" in perturbation else 0.5)
    np.save(folder / "x.npy", x)
    engine = f"{{ method = {method}, tolerance = {tolerance} }}"
    text = f"""rspec 1
network net {{ checkpoint = "net.safetensors"{said} }}
dataset d {{ inputs = "x.npy" }}
{query} q {{ network = net, input = d, perturbation = {{ {perturbation} }}, engine = {engine}{extra} }}
"""
    saved: dict[str, bytes] = {}
    results = execute(compile_spec(Source(str(folder / "q.rspec"), text)), "test", save=saved.__setitem__)
    for content in saved.values():
        (folder / "c.cert").write_bytes(content)
    return results.queries[0].rows[0]


def load(folder: Path) -> Certificate:
    arrays, metadata, _ = certificate.read(str(folder / "c.cert"))
    return json.loads(metadata["certificate"]), arrays


def proved_by(method: str, folder: Path, perturbation: str, n: int = 3) -> Certificate:
    """A certificate for which planes do not suffice."""
    for seed in range(20):
        assert certify(folder, perturbation, method, n=n, m=4, seed=seed, tolerance=0.003 if seed else 0.01).certificate
        found = load(folder)
        if found[0]["method"] == method and (found[0]["pieces"] is not None) == (method == "sliced"):
            return found
    raise AssertionError("planes always suffice")


def unrolled(tensors: Arrays, said: Claim, frames: int, width: int) -> list[Node]:
    return unroll(tensors, said, plain(frames, width), width)


def seal(folder: Path, claim: Claim, arrays: Arrays, name: str = "m.cert") -> None:
    text = json.dumps(claim)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / name, {"certificate": text, "digest": certificate.digest(text, arrays)}
    )


def check(folder: Path, name: str = "c.cert") -> str:
    tensors, metadata, sha256 = certificate.read(str(folder / "net.safetensors"))
    return certificate.check(str(folder / name), {sha256: (tensors, metadata)})


def refused(folder: Path) -> bool:
    try:
        check(folder, "m.cert")
    except (InvalidError, UnreadableError):
        return True
    return False
