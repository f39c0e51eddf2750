"""Quadratic bounds of wide networks beside planes: shipped MNIST networks, every frame moved, radii and CPU seconds a sample.

OMP_NUM_THREADS=1 python tests/benchmarks/wide.py mnist_rnn_7f_64h [--norm 2] [--samples 2] [--tolerance 1e-3]
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from pathlib import Path

from vlang.lower.spec import compile_spec
from vlang.results import RadiusRow
from vlang.runtime.execute import execute
from vlang.text.source import Source

SPECS = Path(__file__).parents[2] / "specs"


def radii(network: str, norm: str, method: str, samples: int, tolerance: float) -> tuple[list[float], float]:
    """And the CPU seconds a sample."""
    found = re.search(r"_(\d+)f_", network)
    frames = 4 if found is None else int(found[1])
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/{network}.safetensors" }}
dataset d {{ source = "data/mnist_test.npz", frames = {frames}, pick = first({samples}), where = correct }}
radius q {{
  network = net, input = d, perturbation = {{ frames = all, norm = {norm} }}, target = random(seed=0)
  engine = {{ method = {method}, tolerance = {tolerance} }}
}}
"""
    plan = compile_spec(Source(str(SPECS / "wide.rspec"), text))
    begun = time.process_time()
    rows = [r for r in execute(plan, "benchmark").queries[0].rows if isinstance(r, RadiusRow)]
    return [r.radius for r in rows], (time.process_time() - begun) / len(rows)


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("network", nargs="+")
    top.add_argument("--norm", nargs="+", default=["1", "2", "inf"])
    top.add_argument("--samples", type=int, default=2)
    top.add_argument("--tolerance", type=float, default=1e-3)
    args = top.parse_args()
    for network in args.network:
        for norm in args.norm:
            (low, quick), (high, slow) = (radii(network, norm, m, args.samples, args.tolerance) for m in ("planes", "quadratic"))
            ratio = statistics.median(b / a for a, b in zip(low, high, strict=True))
            print(f"{network} l{norm}: quadratic / planes {ratio:.2f}; CPU seconds a sample {quick:.2f} and {slow:.1f}", flush=True)


if __name__ == "__main__":
    main()
