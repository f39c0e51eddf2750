"""A fixed set of questions, and how a pass grows: radius, share of the attack, seconds, GFLOP/s beside a matrix product's.

    python tests/benchmarks/grid.py [--methods planes ...] [--samples N] [--growth] [--json FILE]

The set: the shipped digits networks x all frames or one x three norms x targeted or not. Floating-point operations are those of matrix products,
counted by torch in a second run. `--growth` times one pass of planes over untrained LSTMs of m frames and s units beside the model of
runtime/README.md, section 7 (scaled to the table's median), and names the largest factor between them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.helpers import classifier
from vlang.cost import pass_flop
from vlang.lower.spec import compile_spec
from vlang.plan import Architecture, LayerPlan
from vlang.runtime.attacks.gradient import pgd
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.execute import DTYPE, execute
from vlang.runtime.methods.table import PLANES
from vlang.runtime.network import load
from vlang.runtime.network.cells import CellWeights
from vlang.runtime.network.layers import Linear
from vlang.runtime.network.unroll import Network
from vlang.runtime.queries.batches import Loaded, prepare
from vlang.runtime.queries.samples import Samples
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source

SPECS = Path(__file__).parents[2] / "specs"
CELLS, FRAMES, NORMS, TARGETS = ("rnn", "lstm", "gru"), ("all", "[1]"), ("1", "2", "inf"), ("random(seed=0)", "any")


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of one run, and matrix GFLOP/s."""
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    with FlopCounterMode(display=False) as counter:
        work()
    return seconds, counter.get_total_flops() / seconds / 1e9


def product_speed(size: int = 1024, repeat: int = 5) -> float:
    """GFLOP/s of one matrix product in the engine's precision."""
    a = torch.randn(size, size, dtype=DTYPE)
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        torch.matmul(a, a)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def attacked(loaded: Loaded) -> torch.Tensor:
    """The distances of the nearest counterexamples that the attack finds. shape: [B]."""
    cases = tuple(c for c in loaded.cases if c.correct)
    return pgd(loaded.question(cases, float(loaded.variant.engine.max_radius)), 100, 20, [torch.Generator().manual_seed(0) for _ in cases])[1]


def question(cell: str, frames: str, norm: str, target: str, method: str, samples: int) -> dict[str, Any]:
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/digits_{cell}.safetensors" }}
dataset d {{ source = "data/digits_test.npz", pick = first({samples}), where = correct }}
radius r {{ network = net, input = d, target = {target}, perturbation = {{ frames = {frames}, norm = {norm} }}, engine = {{ method = {method} }} }}
"""
    plan = compile_spec(Source(str(SPECS / "grid.rspec"), text))
    rows = execute(plan, "benchmark").queries[0].rows
    seconds, speed = measured(lambda: execute(plan, "benchmark"))
    variant = plan.queries[0].variants[0]
    network = load.network(variant.network, DTYPE, torch.device("cpu"))
    radii = torch.tensor([r.radius or 0.0 for r in rows], dtype=DTYPE)
    with torch.no_grad():
        share = radii / attacked(prepare(variant, Samples.load(variant, network)), radii)
    return {
        "cell": cell,
        "frames": frames,
        "norm": norm,
        "target": target,
        "method": method,
        "samples": len(rows),
        "median_radius": float(radii.median()),
        "median_share_of_attack": round(float(share.median()), 3),
        "seconds": round(seconds, 2),
        "gflops": round(speed, 2),
    }


def untrained_lstm(n: int, s: int) -> Network:
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=DTYPE) / s**0.5

    zero = torch.zeros(s, dtype=DTYPE)
    weights = CellWeights(normal(4 * s, n), normal(4 * s, s), normal(4 * s), normal(4 * s))
    return classifier("lstm", ((weights,),), (((zero, zero),),), (Linear(normal(10, s), normal(10)),))


def one_pass(nominal: Nominal, ball: Ball, rows: torch.Tensor) -> torch.Tensor:
    return PLANES(nominal, ball).upper(nominal.graph.output, rows)


def growth(n: int = 28, batch: int = 8) -> list[dict[str, Any]]:
    """One pass over LSTMs of random weights, l2, all frames."""
    found = []
    for m in (4, 8, 16, 28):
        for s in (16, 32, 64):
            nominal = Nominal.at(untrained_lstm(n, s).unroll(m), torch.randn(batch, m, n, dtype=DTYPE))
            rows = torch.eye(10, dtype=DTYPE)[:1] - torch.eye(10, dtype=DTYPE)[1:2]
            ball = Ball(torch.full((batch, m), 1e-3, dtype=DTYPE), Fraction(2))
            with torch.no_grad():
                seconds, speed = measured(partial(one_pass, nominal, ball, rows))
            stack = LayerPlan("lstm", (-1,), s, settings=(("layers", 1), ("directions", 1), ("initial", ())))
            model = batch * pass_flop(Architecture((stack,), n), m)
            found.append({"m": m, "s": s, "seconds": round(seconds, 3), "gflops": round(speed, 2), "model_gflop": round(model / 1e9, 2)})
    rate = statistics.median(r["seconds"] / r["model_gflop"] for r in found)
    for r in found:
        r["over_model"] = round(r["seconds"] / r["model_gflop"] / rate, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["planes"])
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict[str, Any] = {"matmul_gflops": round(product_speed(), 1), "grid": [], "growth": []}
    print(json.dumps({"matmul_gflops": result["matmul_gflops"]}), flush=True)
    if args.growth:
        result["growth"] = growth()
        print("\n".join(json.dumps(r) for r in result["growth"]), flush=True)
    else:
        for key in ((c, f, p, t, m) for m in args.methods for c in CELLS for f in FRAMES for p in NORMS for t in TARGETS):
            result["grid"].append(question(*key, args.samples))
            print(json.dumps(result["grid"][-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
