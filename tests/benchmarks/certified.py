"""How many samples are certified at given eps: shipped MNIST LSTMs, every frame moved, untargeted, the infinity norm within the pixels' range.

OMP_NUM_THREADS=1 python tests/benchmarks/certified.py [mnist_lstm_4f_32h ...] [--eps 0.014 0.020] [--samples 100] [--methods planes quadratic]
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from vlang.lower.spec import compile_spec
from vlang.runtime.execute import execute
from vlang.text.source import Source

SPECS = Path(__file__).parents[2] / "specs"


def certified(network: str, eps: str, method: str, samples: int) -> tuple[int, int, float]:
    """How many are certified, of how many that are classified right, and the CPU seconds a sample."""
    found = re.search(r"_(\d+)f_", network)
    frames = 4 if found is None else int(found[1])
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/{network}.safetensors" }}
dataset d {{ source = "data/mnist_test.npz", frames = {frames}, pick = first({samples}), where = correct }}
verify q {{
  network = net, input = d, perturbation = {{ frames = all, norm = inf, clip = [0, 1] }}, target = any, eps = {eps}, engine = {{ method = {method} }}
}}
"""
    plan = compile_spec(Source(str(SPECS / "certified.rspec"), text))
    begun = time.process_time()
    rows = execute(plan, "benchmark").queries[0].rows
    return sum(r.verdict == "certified" for r in rows), len(rows), (time.process_time() - begun) / len(rows)


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("network", nargs="*", default=["mnist_lstm_4f_32h", "mnist_lstm_4f_64h"])
    top.add_argument("--eps", nargs="+", default=["0.014", "0.020"])
    top.add_argument("--samples", type=int, default=100)
    top.add_argument("--methods", nargs="+", default=["planes", "quadratic"])
    args = top.parse_args()
    for network in args.network:
        for eps in args.eps:
            for method in args.methods:
                count, of, seconds = certified(network, eps, method, args.samples)
                print(f"{network} eps {eps} {method}: {count} of {of} certified; {seconds:.1f} CPU s a sample", flush=True)


if __name__ == "__main__":
    main()
