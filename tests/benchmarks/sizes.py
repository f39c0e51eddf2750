"""What sizes cost: shipped MNIST networks by frames and units, l2, every frame moved; share of the attack, CPU seconds a sample, GiB at the most.

    OMP_NUM_THREADS=1 python tests/benchmarks/sizes.py [mnist_lstm_4f_32h ...] [--methods planes quadratic] [--samples 2] [--limit 600] [--norm 2]

    OMP_NUM_THREADS=1 python tests/benchmarks/sizes.py --pass random_rnn_250f_64h random_lstm_100f_64h random_lstm_4f_512h ...

Each network and method is a process of its own, ended after so many seconds. Prints the rows of a table in Markdown. --pass: of networks with torch's
first weights (a cell, frames of 8 numbers, units), one pass of a `verify`: its CPU seconds, what was predicted of them, GiB. Times do not depend on
what the weights are.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from vlang.cost import seconds as predict
from vlang.lower.spec import compile_spec
from vlang.results import AttackRow, RadiusRow, Row
from vlang.runtime.execute import execute
from vlang.runtime.pace import measured
from vlang.text.source import Source

SPECS = Path(__file__).parents[2] / "specs"
NETWORKS = [f"mnist_{cell}_{m}f_{s}h" for cell in ("rnn", "lstm") for m in (4, 7, 14) for s in (32, 64, 128)]


def rows(network: str, norm: str, samples: int, question: str, engine: str) -> list[Row]:
    found = re.search(r"_(\d+)f_", network)
    frames = 4 if found is None else int(found[1])
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/{network}.safetensors" }}
dataset d {{ source = "data/mnist_test.npz", frames = {frames}, pick = first({samples}), where = correct }}
{question} q {{
  network = net, input = d, perturbation = {{ frames = all, norm = {norm} }}, target = random(seed=0)
  {engine}
}}
"""
    return execute(compile_spec(Source(str(SPECS / "sizes.rspec"), text)), "benchmark").queries[0].rows


def one(network: str, norm: str, method: str, samples: int) -> dict[str, float]:
    torch.set_num_threads(1)
    begun = time.process_time()
    certified = rows(network, norm, samples, "radius", f"engine = {{ method = {method}, tolerance = 1e-2 }}")
    seconds, most = (time.process_time() - begun) / len(certified), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    attacked = rows(network, norm, samples, "attack", "iterations = 100, restarts = 4")
    shares = [
        r.radius / a.radius for r, a in zip(certified, attacked, strict=True) if isinstance(a, AttackRow) and isinstance(r, RadiusRow) and a.radius
    ]
    return {"share": statistics.median(shares), "seconds": seconds, "GiB": most}


def one_pass(network: str, method: str) -> dict[str, float]:
    torch.set_num_threads(1)
    found = re.fullmatch(r"random_(rnn|lstm|gru)_(\d+)f_(\d+)h", network)
    if found is None:
        raise SystemExit(f"{network}: write random_CELL_FRAMESf_UNITSh")
    cell, frames, units = found[1], int(found[2]), int(found[3])
    torch.manual_seed(0)
    net = torch.nn.ModuleDict({"rnn": getattr(torch.nn, cell.upper())(8, units, batch_first=True), "out": torch.nn.Linear(units, 4)})
    with tempfile.TemporaryDirectory() as folder:
        save_file(net.state_dict(), f"{folder}/net.safetensors")
        np.savez(f"{folder}/data.npz", inputs=torch.randn(1, frames, 8).numpy(), labels=np.zeros(1, np.int64))
        said = '{ checkpoint = "net.safetensors"' + (", cell = rnn_tanh }" if cell == "rnn" else " }")
        text = f"""rspec 1
network net {said}
dataset d {{ source = "data.npz" }}
bounds q {{ network = net, input = d, perturbation = {{ frames = all, norm = inf }}, eps = 1e-4, engine = {{ method = {method} }} }}
"""
        plan = compile_spec(Source(f"{folder}/x.rspec", text))
        predicted = predict(plan.queries[0], measured())
        begun = time.process_time()
        execute(plan, "benchmark")
    taken, most = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"predicted": predicted, "seconds": taken, "GiB": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="*", default=NETWORKS)
    parser.add_argument("--methods", nargs="+", default=["planes", "quadratic"])
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--limit", type=float, default=600)
    parser.add_argument("--norm", default="2")
    parser.add_argument("--pass", dest="once", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one and args.once:
        print(json.dumps(one_pass(args.network[0], args.methods[0])))
        return
    if args.one:
        print(json.dumps(one(args.network[0], args.norm, args.methods[0], args.samples)))
        return
    print("| network | " + " | ".join(args.methods) + " |\n| --- |" + " --- |" * len(args.methods), flush=True)
    for network in args.network:
        cells = []
        for method in args.methods:
            command = [sys.executable, __file__, network, "--methods", method, "--samples", str(args.samples), "--norm", args.norm, "--one"]
            command += ["--pass"] if args.once else []
            try:
                said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=args.limit)
                found = json.loads(said.stdout.splitlines()[-1])
                first = f"predicted {found['predicted']:.1f} s" if args.once else f"{found['share']:.2f}"
                cells.append(f"{first}, {found['seconds']:.1f} s, {found['GiB']:.1f} GiB")
            except subprocess.TimeoutExpired:
                cells.append(f"over {args.limit / args.samples:.0f} s")
        print(f"| {network} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
