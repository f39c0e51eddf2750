"""How much of the nearest attack a complete search certifies along directions of 1, 2, 3 and 5 dimensions.

    OMP_NUM_THREADS=1 python tests/benchmarks/directions.py [mnist strokes load] [--dimensions 1 2 3 5] [--samples 5] [--norm inf]

Shipped networks: an MNIST LSTM of 4 frames, strokes of the picked samples' own lengths (an LSTM), and a forecaster (a GRU on 24 hours, every output
within 5 %). A row's attack is the nearest counterexample that was replayed, of pgd and of the search.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from vlang.lower.spec import compile_spec
from vlang.results import RadiusRow
from vlang.runtime.execute import execute
from vlang.text.source import Source

SPECS = Path(__file__).parents[2] / "specs"
DIRECTIONS = {1: "[gain]", 2: "[gain, drift]", 3: "[gain, drift, offset]", 5: "[gain, drift, offset, shift, noise_floor]"}
#: Network, data, and what is asked of it.
ASKED = {
    "mnist": ("mnist_lstm_4f_32h", 'source = "data/mnist_test.npz", frames = 4', "target = any"),
    "strokes": ("strokes_lstm", 'source = "data/strokes_test.npz"', "target = any"),
    "load": ("load_gru", 'source = "data/load_test.npz"', "property = within(5%)"),
}


def rows(name: str, dimensions: int, sample: int, norm: str) -> tuple[list[RadiusRow], float]:
    """The rows of a sample, and their CPU seconds."""
    network, data, asked = ASKED[name]
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/{network}.safetensors" }}
dataset d {{ {data} }}
radius q {{ network = net, input = d[{sample}], perturbation = {{ directions = {DIRECTIONS[dimensions]}, norm = {norm} }}, {asked} }}
"""
    plan = compile_spec(Source(str(SPECS / "directions.rspec"), text))
    begun = time.process_time()
    found = [row for row in execute(plan, "benchmark").queries[0].rows if isinstance(row, RadiusRow) and row.correct]
    return found, time.process_time() - begun


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("network", nargs="*", default=list(ASKED))
    top.add_argument("--dimensions", type=int, nargs="+", choices=sorted(DIRECTIONS), default=sorted(DIRECTIONS))
    top.add_argument("--samples", type=int, default=5)
    top.add_argument("--norm", default="inf")
    args = top.parse_args()
    for name in args.network:
        for dimensions in args.dimensions:
            found = [(row, seconds) for k in range(args.samples) for of, seconds in [rows(name, dimensions, k, args.norm)] for row in of]
            shares = [row.radius / row.attacked for row, _ in found if row.attacked is not None]
            pieces = statistics.median(row.pieces or 0 for row, _ in found)
            seconds = [s for _, s in found]
            share = f"{statistics.median(shares):.4f} (least {min(shares):.4f})" if shares else "no counterexample"
            took = f"{statistics.median(seconds):.1f} (most {max(seconds):.1f}) CPU s"
            print(f"{name}, {dimensions}: {share} of the attack on {len(shares)} of {len(found)} rows; {pieces:g} boxes, {took}", flush=True)


if __name__ == "__main__":
    main()
