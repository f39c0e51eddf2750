"""The figures in the README: seconds of whole commands, and radii beside those of published tools.

    python tests/benchmarks/speed.py [--repeat 3] [--peers DIR [--methods M ...] [--models WORD ...] [--samples N]] [--json FILE]
    python tests/benchmarks/speed.py --compare OLD.json NEW.json

Commands run in a fresh process each, import of torch included; the median of the repeats is printed. `--peers` takes the folder of reference
radii (networks, samples, radii.jsonl) and prints the median ratio of our certified radius to each published one (to the attack's: our share).
`--compare` names every figure of two result files that got worse, and exits 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "specs"
HUNDRED = f"""rspec 1
network net {{ checkpoint = "{SPECS}/checkpoints/digits_lstm.safetensors" }}
dataset d {{ source = "{SPECS}/data/digits_test.npz", pick = first(100) }}
radius all {{ network = net, input = d, perturbation = {{ frames = all, norm = 2 }}, target = random(seed=0), engine = {{ method = planes }} }}
"""


def timed(spec: Path, repeat: int) -> dict[str, Any]:
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "vlang.cli", str(spec), "--json", "/dev/null"], cwd=ROOT, check=False, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return {"spec": spec.name, "median_seconds": round(statistics.median(seconds), 2), "all": [round(s, 2) for s in seconds]}


def ratios(peers: Path, method: str, models: list[str], samples: int | None) -> list[dict[str, Any]]:
    """Median of our radius over theirs, per network, norm, frames, query and published method."""
    import numpy as np

    from vlang.lower.spec import compile_spec
    from vlang.runtime.execute import execute
    from vlang.text.source import Source

    published: dict[tuple[str, str, str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for line in (peers / "radii.jsonl").read_text().splitlines():
        r = json.loads(line)
        if r["radius"]:
            published[r["model"], str(r["norm"]), str(r["frames"]), r["query"]][r["method"]][r["pos"]] = r["radius"]
    results = []
    for (model, norm, frames, query), columns in sorted(published.items()):
        if models and not any(word in model for word in models):
            continue
        positions = sorted({i for column in columns.values() for i in column})[:samples]
        with np.load(peers / f"{model}.npz") as data, tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", data["inputs"])
            targets = data["targets"].tolist()
            np.save(f"{folder}/y.npy", data["labels"])
            said = ", activation = tanh" if model.startswith("vrnn") else ""
            text = f'rspec 1\nnetwork net {{ checkpoint = "{peers}/{model}.safetensors"{said} }}\n'
            text += 'dataset d { inputs = "x.npy", labels = "y.npy" }\n'
            for i in positions:
                target = targets[i] if query == "targeted" else "any"
                p = f"{{ frames = {frames}, norm = {norm} }}"
                text += f"radius q{i} {{ network = net, input = d[{i}], perturbation = {p}, target = {target}, engine = {{ method = {method} }} }}\n"
            start = time.perf_counter()
            answered = execute(compile_spec(Source(f"{folder}/p.rspec", text)), "benchmark").queries
        ours = {i: q.rows[0].radius or 0.0 for i, q in zip(positions, answered, strict=True)}
        row: dict[str, Any] = {"model": model, "norm": norm, "frames": frames, "query": query, "method": method, "samples": len(positions)}
        row["seconds_per_sample"] = round((time.perf_counter() - start) / len(positions), 3)
        row["over"] = {
            m: round(statistics.median(ours[i] / r for i, r in column.items() if i in ours), 4)
            for m, column in sorted(columns.items())
            if ours.keys() & column
        }
        results.append(row)
        print(json.dumps(row), flush=True)
    return results


#: How much worse a figure may be before it is named: seconds are noisy, radii are not.
SLOWER, SMALLER = 1.25, 0.995


def worse(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The figures of two result files that got worse."""
    found = []
    before = {c["spec"]: c["median_seconds"] for c in old["commands"]}
    for c in new["commands"]:
        if c["median_seconds"] > SLOWER * before.get(c["spec"], math.inf):
            found.append(f"{c['spec']}: {before[c['spec']]} s, now {c['median_seconds']} s")
    same = ("model", "norm", "frames", "query", "method", "samples")
    rows = {tuple(r[k] for k in same): r for r in old.get("peers", [])}
    for r in new.get("peers", []):
        then = rows.get(tuple(r[k] for k in same))
        if then is None:
            continue
        name = " ".join(f"{r[k]}" for k in same[:5])
        if r["seconds_per_sample"] > SLOWER * then["seconds_per_sample"]:
            found.append(f"{name}: {then['seconds_per_sample']} s a sample, now {r['seconds_per_sample']} s")
        for m, ratio in r["over"].items():
            if ratio < SMALLER * then["over"].get(m, 0.0):
                found.append(f"{name}: {then['over'][m]} of {m}, now {ratio}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--peers", type=lambda p: Path(p).resolve())
    parser.add_argument("--methods", nargs="+", default=["planes"])
    parser.add_argument("--models", nargs="*", default=[], help="only networks whose name contains one of these words")
    parser.add_argument("--samples", type=int, help="at most so many samples each")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("OLD", "NEW"))
    args = parser.parse_args()
    if args.compare:
        old, new = (json.loads(p.read_text()) for p in args.compare)
        lost = worse(old, new)
        print("\n".join(lost) or "nothing got worse")
        sys.exit(1 if lost else 0)
    found: dict[str, Any] = {"machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores", "commands": []}
    with tempfile.TemporaryDirectory() as folder:
        hundred = Path(folder) / "digits_100.rspec"
        hundred.write_text(HUNDRED)
        for spec in () if not args.repeat else (SPECS / "qc_word3.rspec", SPECS / "qc_words.rspec", SPECS / "digits_table.rspec", hundred):
            found["commands"].append(timed(spec, args.repeat))
            print(json.dumps(found["commands"][-1]), flush=True)
    if args.peers:
        found["peers"] = [row for method in args.methods for row in ratios(args.peers, method, args.models, args.samples)]
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
