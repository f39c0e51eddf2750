"""Radii of methods beside published tools' on their networks: the share of the attack, and CPU seconds a sample.

python tests/benchmarks/peers.py PEERS [--models lstm_digits_4f_32h ...] [--norms 1 2 inf] [--methods quadratic joint] [--samples 3]

Targeted, all frames moved. Of each model and norm the medians over the samples that CROWN and the attack have radii of.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from vlang.lower.spec import compile_spec
from vlang.results import RadiusRow
from vlang.runtime.execute import execute
from vlang.text.source import Source

MODELS = ("vrnn_digits_4f_32h", "lstm_digits_4f_32h", "gru_digits_4f_32h", "vrnn_mnist_4f_32h", "vrnn_mnist_7f_32h")
ATTACK, CROWN = "PGD multi-restart", "CROWN"


def published(peers: Path, model: str, norm: str, method: str) -> dict[int, float]:
    """Radii by sample."""
    records = map(json.loads, (peers / "radii.jsonl").read_text().splitlines())
    asked = {"model": model, "norm": norm, "method": method, "frames": "all", "query": "targeted"}
    return {r["pos"]: r["radius"] for r in records if r["radius"] and all(str(r[k]) == v for k, v in asked.items())}


def radius(folder: Path, peers: Path, model: str, norm: str, method: str, sample: int, target: int, tolerance: float) -> tuple[float, float]:
    """And its CPU seconds."""
    said = ", activation = tanh" if model.startswith("vrnn") else ""
    text = f"""rspec 1
network net {{ checkpoint = "{peers.resolve()}/{model}.safetensors"{said} }}
dataset d {{ inputs = "inputs.npy", labels = "labels.npy" }}
radius q {{ network = net, input = d[{sample}], perturbation = {{ frames = all, norm = {norm} }}, target = {target}
  engine = {{ method = {method}, tolerance = {tolerance} }} }}
"""
    plan = compile_spec(Source(str(folder / "peers.rspec"), text))
    begun = time.process_time()
    (row,) = execute(plan, "benchmark").queries[0].rows
    assert isinstance(row, RadiusRow)
    return row.radius, time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--norms", nargs="+", default=["1", "2", "inf"])
    parser.add_argument("--methods", nargs="+", default=["quadratic", "joint"])
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=1e-2)
    args = parser.parse_args()
    for model in args.models:
        with np.load(args.peers / f"{model}.npz") as data, tempfile.TemporaryDirectory() as name:
            folder, targets = Path(name), data["targets"].tolist()
            np.save(folder / "inputs.npy", data["inputs"])
            np.save(folder / "labels.npy", data["labels"])
            for norm in args.norms:
                attack, crown = (published(args.peers, model, norm, method) for method in (ATTACK, CROWN))
                samples = sorted(attack.keys() & crown.keys())[: args.samples]
                for method in args.methods:
                    found = {i: radius(folder, args.peers, model, norm, method, i, targets[i], args.tolerance) for i in samples}
                    assert all(r <= attack[i] * (1 + 1e-4) for i, (r, _) in found.items())
                    summary = {
                        "model": model,
                        "norm": norm,
                        "method": method,
                        "samples": len(samples),
                        "of the attack": statistics.median(r / attack[i] for i, (r, _) in found.items()),
                        "over CROWN": statistics.median(r / crown[i] for i, (r, _) in found.items()),
                        "CPU seconds": statistics.median(s for _, s in found.values()),
                    }
                    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in summary.items()}), flush=True)


if __name__ == "__main__":
    main()
