"""Planes beside CROWN in one run: radii and CPU seconds a sample, both in batches, on the shipped digits LSTM.

OMP_NUM_THREADS=1 python tests/benchmarks/crown.py CHECKOUT [--samples 100]

CHECKOUT: of github.com/Verified-Intelligence/auto_LiRPA, which is run from there and is no dependency. Targeted, every frame moved, the infinity
norm. CROWN's search: all samples at once, eps doubled from 1/64 of a scale until it fails, then halved to 1/1000, as many calls as that takes.
Import is left out on both sides; one call of each is made before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlang.lower.spec import compile_spec
from vlang.results import RadiusRow
from vlang.runtime.execute import execute
from vlang.runtime.network import load
from vlang.runtime.queries.samples import Samples
from vlang.text.source import Source

SPECS = Path(__file__).parents[2] / "specs"


def asked(samples: int) -> str:
    return f"""rspec 1
network net {{ checkpoint = "checkpoints/digits_lstm.safetensors" }}
dataset d {{ source = "data/digits_test.npz", pick = first({samples}), where = correct }}
radius all {{ network = net, input = d, perturbation = {{ frames = all, norm = inf }}, target = random(seed=0), engine = {{ method = planes }} }}
"""


class Unrolled(torch.nn.Module):
    """The same LSTM in torch's own operations, its gates i, f, g, o."""

    def __init__(self, tensors: dict[str, Tensor], size: int) -> None:
        super().__init__()
        self.size = size
        for name, value in tensors.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        own = dict(self.named_buffers())
        w, u = own["w"], own["u"]
        h = c = torch.zeros(1, self.size)
        for k in range(x.shape[1]):
            y = torch.nn.functional.linear(x[:, k], w, own["b"]) + torch.nn.functional.linear(h, u)
            i, f, g, o = (y[:, q * self.size : (q + 1) * self.size] for q in range(4))
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return torch.nn.functional.linear(h, own["v"], own["a"])


def crown(checkout: Path, x: Tensor, rows: Tensor) -> tuple[Tensor, float, float]:
    """Radii, CPU seconds a sample of the whole search, and of one call. shape: x [B, m, n], rows [B, 1, classes] -> [B]."""
    sys.path.insert(0, str(checkout))
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
    from safetensors.torch import load_file

    stored = load_file(SPECS / "checkpoints" / "digits_lstm.safetensors")
    tensors = {"w": "rnn.weight_ih_l0", "u": "rnn.weight_hh_l0", "v": "out.weight", "a": "out.bias"}
    own = {name: stored[key] for name, key in tensors.items()} | {"b": stored["rnn.bias_ih_l0"] + stored["rnn.bias_hh_l0"]}
    model = Unrolled(own, own["u"].shape[1])
    single = x.float()
    bounded: Any = BoundedModule(model, single, device="cpu")

    def margins(eps: Tensor) -> Tensor:
        low, high = single - eps[:, None, None], single + eps[:, None, None]
        point = BoundedTensor(single, PerturbationLpNorm(norm=float("inf"), x_L=low, x_U=high))
        found: Tensor = bounded.compute_bounds(x=(point,), C=rows.float(), method="CROWN", bound_upper=False)[0][:, 0]
        return found

    with torch.no_grad():
        margins(torch.full((len(x),), 0.01))
        begun = time.process_time()
        margins(torch.full((len(x),), 0.01))
        once = (time.process_time() - begun) / len(x)
        begun, eps, steps = time.process_time(), torch.full((len(x),), 1 / 64), 0
        good, bad = torch.zeros(len(x)), torch.full((len(x),), torch.inf)
        while bool(bad.isinf().any()) or bool(((bad - good) > 1e-3 * good).any()):
            held = margins(eps) > 0
            good, bad = torch.where(held, torch.maximum(good, eps), good), torch.where(held, bad, torch.minimum(bad, eps))
            eps = torch.where(bad.isinf(), 2 * eps, (good + bad) / 2)
            steps += 1
        print(f"CROWN: {steps} calls", flush=True)
    return good, (time.process_time() - begun) / len(x), once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--samples", type=int, default=100)
    args = parser.parse_args()
    plan = compile_spec(Source(str(SPECS / "crown.rspec"), asked(args.samples)))
    variant = plan.queries[0].variants[0]
    execute(plan, "benchmark")
    begun = time.process_time()
    found = [r for r in execute(plan, "benchmark").queries[0].rows if isinstance(r, RadiusRow) and r.radius]
    ours = (time.process_time() - begun) / len(found)
    network = load.network(variant.network, torch.float64, torch.device("cpu"))
    samples = Samples.load(variant, network)
    kept = [samples.numbers.index(r.sample) for r in found]
    eye = torch.eye(network.classes)
    rows = torch.stack([eye[r.label] - eye[r.target] for r in found])[:, None]
    theirs, seconds, once = crown(args.checkout, samples.inputs[kept], rows)
    ratios = [r.radius / float(t) for r, t in zip(found, theirs, strict=True)]
    summary = {
        "samples": len(found),
        "planes, CPU s a sample": round(ours, 4),
        "CROWN, CPU s a sample": round(seconds, 4),
        "of which one call": round(once, 4),
        "times": round(seconds / ours, 2),
        "radius over CROWN's, median": round(statistics.median(ratios), 4),
        "least": round(min(ratios), 4),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
