"""Coverage-guided fuzzing of everything that reads files: python tests/fuzz/fuzz.py TARGET [libFuzzer options, e.g. -max_total_time=300].

TARGET: `spec` (any text as a spec), `tokens` (a spec's own words, shuffled), `checkpoint` (any bytes as a checkpoint), `certificate` (a true
certificate with parts of its claim and arrays replaced, sealed again). A crash is any exception but the ones that users are told about.
Needs `pip install atheris`; not part of the timed suite.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["vlang"]):
    import numpy as np
    import torch
    from safetensors.numpy import save
    from torch import nn

    from vlang.lower.spec import compile_spec
    from vlang.plan import DataError
    from vlang.runtime.execute import execute
    from vlang.runtime.network import load
    from vlang.text.diagnostics import SpecError
    from vlang.text.source import Source
    from vlang.vcheck.certificate import check, digest, read
    from vlang.vcheck.errors import InvalidError, UnreadableError

FOLDER = Path(tempfile.mkdtemp())
SPEC = """rspec 1
network net { checkpoint = "net.safetensors" }
dataset d { inputs = "x.npy" }
radius q { network = net, input = d, perturbation = { frames = all, norm = 2 }, engine = { method = METHOD, tolerance = 0.2 } }
"""


def make(method: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A small network, and a certificate of it."""
    torch.manual_seed(0)
    model = nn.GRU(2, 2, batch_first=True)
    state = {f"rnn.{k}": v.detach().numpy() for k, v in model.state_dict().items()}
    state |= {"out.weight": np.float32([[1, 2], [-1, 0.5]]), "out.bias": np.float32([0.1, 0.2])}
    (FOLDER / "net.safetensors").write_bytes(save(state))
    np.save(FOLDER / "x.npy", np.float32([[[0.1, 0.2], [0.3, -0.2]]]))
    saved: dict[str, bytes] = {}
    execute(compile_spec(Source(str(FOLDER / "q.rspec"), SPEC.replace("METHOD", method))), "fuzz", save=saved.__setitem__)
    (FOLDER / "c.cert").write_bytes(saved["q-0.cert"])
    arrays, metadata, _ = read(str(FOLDER / "c.cert"))
    return json.loads(metadata["certificate"]), arrays


CLAIM, ARRAYS = make("quadratic")
TENSORS, METADATA, SHA256 = read(str(FOLDER / "net.safetensors"))
NETWORK = {SHA256: (TENSORS, METADATA)}
WORDS = [
    *re.findall(r"\w+|\S|\n", SPEC),
    "param",
    "sweep",
    "expect",
    "warn",
    "each",
    "any(2)",
    "clip",
    "weights",
    "[0, 1]",
    "1/0",
    "-1",
    "1e999",
    '"',
    "é",
]


def spec(data: bytes) -> None:
    with contextlib.suppress(SpecError):
        compile_spec(Source(str(FOLDER / "f.rspec"), data.decode("utf-8", "replace")))


def tokens(data: bytes) -> None:
    spec(" ".join(WORDS[b % len(WORDS)] for b in data).encode())


def checkpoint(data: bytes) -> None:
    (FOLDER / "f.safetensors").write_bytes(data)
    text = SPEC.replace("net.safetensors", "f.safetensors").replace("METHOD", "planes")
    with contextlib.suppress(SpecError, DataError):
        plan = compile_spec(Source(str(FOLDER / "f.rspec"), text))
        load.network(plan.queries[0].variants[0].network, torch.float64, torch.device("cpu"))


VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "0",
    "1",
    "1/2",
    "inf",
    "-1",
    "lstm",
    "rnn.",
    [],
    [0],
    [1],
    {},
    [[0, 1]],
]


def certificate(data: bytes) -> None:
    source = atheris.FuzzedDataProvider(data)
    claim, arrays = copy.deepcopy(CLAIM), dict(ARRAYS)
    for _ in range(source.ConsumeIntInRange(1, 3)):
        if source.ConsumeBool():
            at, key = claim, source.PickValueInList(sorted(claim))
            while isinstance(at[key], dict) and at[key] and source.ConsumeBool():
                at, key = at[key], source.PickValueInList(sorted(at[key]))
            at[key] = source.PickValueInList(VALUES)
        else:
            name = source.PickValueInList(sorted(arrays))
            change = source.ConsumeIntInRange(0, 5)
            if change == 0:
                del arrays[name]
            elif change == 1:
                arrays[name] = arrays[name].ravel()
            elif change == 2:
                arrays[name] = arrays[source.PickValueInList(sorted(arrays))]
            elif change == 3:
                arrays[source.PickValueInList(["chart.basis", "chart.scale", "direction", "0.offset", "0.99.box", "0.5.lifts"])] = arrays.pop(name)
            else:
                values = arrays[name].copy()
                values.flat[source.ConsumeIntInRange(0, max(0, values.size - 1))] = struct.unpack("<d", source.ConsumeBytes(8).ljust(8, b"\0"))[0]
                arrays[name] = values
    text = json.dumps(claim)
    (FOLDER / "f.cert").write_bytes(
        save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, {"certificate": text, "digest": digest(text, arrays)})
    )
    with contextlib.suppress(InvalidError, UnreadableError):
        check(str(FOLDER / "f.cert"), NETWORK)


TARGETS: dict[str, Callable[[bytes], None]] = {"spec": spec, "tokens": tokens, "checkpoint": checkpoint, "certificate": certificate}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    (corpus / "spec").write_text(SPEC)
    (corpus / "net").write_bytes((FOLDER / "net.safetensors").read_bytes())
    atheris.Setup([*sys.argv, str(corpus)], target)
    atheris.Fuzz()
