"""How good attacks and estimates are: the default attack beside the best of many starts, CLEVER between certificate and attack.

    python tests/benchmarks/attacks.py [--samples 10] [--restarts 50] [--norms 1 2 inf] [--json FILE]

Networks and data are those that ship; targets are random, every frame moves. Prints, per network and norm, the share of rows whose attack is within
2 % of the best of all starts (another seed, and every attack), and the share whose estimate lies between the certificate and 1.5 times the attack.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from vlang.lower.spec import compile_spec
from vlang.runtime.execute import execute
from vlang.text.source import Source

SPECS = Path(__file__).parents[2] / "specs"
NETWORKS = {
    "digits_rnn": 'source = "data/digits_test.npz"',
    "digits_lstm": 'source = "data/digits_test.npz"',
    "digits_gru": 'source = "data/digits_test.npz"',
    "mnist_rnn_4f_32h": 'source = "data/mnist_test.npz", frames = 4',
    "mnist_lstm_4f_32h": 'source = "data/mnist_test.npz", frames = 4',
}


def compared(network: str, data: str, norm: str, samples: int, restarts: int) -> dict[str, Any]:
    ask = f"network = net, input = d, target = random(seed=0), perturbation = {{ frames = all, norm = {norm} }}"
    text = f"""rspec 1
network net {{ checkpoint = "checkpoints/{network}.safetensors" }}
dataset d {{ {data}, pick = first({samples}), where = correct }}
radius cert {{ {ask}, engine = {{ method = planes }} }}
attack usual {{ {ask} }}
attack many {{ {ask}, restarts = {restarts}, engine = {{ seed = 1 }} }}
attack cw {{ {ask}, method = cw, steps = 300, restarts = 1 }}
estimate clever {{ {ask} }}
"""
    start = time.perf_counter()
    found = {q.name: q for q in execute(compile_spec(Source(str(SPECS / "x.rspec"), text)), "benchmark").queries}

    def radii(name: str) -> list[float]:
        return [r.radius if r.radius is not None else float("inf") for r in found[name].rows]

    cert, usual, many, cw = (radii(name) for name in ("cert", "usual", "many", "cw"))
    best = [min(x) for x in zip(usual, many, cw, strict=True)]
    clever = [r.estimate or 0.0 for r in found["clever"].rows]
    rows = len(cert)
    return {
        "network": network,
        "norm": norm,
        "rows": rows,
        "within_2_percent": sum(u <= 1.02 * b for u, b in zip(usual, best, strict=True)) / rows,
        "worst": max(u / b for u, b in zip(usual, best, strict=True)),
        "estimate_between": sum(c <= e <= 1.5 * u for c, e, u in zip(cert, clever, usual, strict=True)) / rows,
        "share_certified": sorted(c / u for c, u in zip(cert, usual, strict=True))[rows // 2],
        "attack_seconds_a_row": round(found["usual"].seconds / rows, 3),
        "estimate_seconds_a_row": round(found["clever"].seconds / rows, 3),
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--norms", nargs="+", default=["1", "2", "inf"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = []
    for norm in args.norms:
        for network, data in NETWORKS.items():
            results.append(compared(network, data, norm, args.samples, args.restarts))
            print(json.dumps(results[-1]), flush=True)
        here = [r for r in results if r["norm"] == norm]
        rows = sum(r["rows"] for r in here)
        for key in ("within_2_percent", "estimate_between"):
            print(f"norm {norm}, {rows} rows: {key} {sum(r[key] * r['rows'] for r in here) / rows:.1%}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
