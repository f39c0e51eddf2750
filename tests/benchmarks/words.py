"""One word of a question at a time: certified radii of several methods beside planes and the best attack.

    python tests/benchmarks/words.py TREC_10.label [--networks questions_lstm ...] [--methods quadratic ...] [--questions 20] [--every 1]
                                     [--last 1000] [--tolerance 1e-3] [--json FILE]

l2, untargeted, on the shipped networks; `--every` keeps one word in so many. The attack is pgd with 100 steps from 20 starts. Medians over words of
the radius over that of planes and over the attack's, and of the latter on the third of the questions with the smallest margins. Every word is
printed as it is done.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from vlang.lower.spec import compile_spec
from vlang.runtime.attacks.gradient import pgd
from vlang.runtime.execute import DTYPE
from vlang.runtime.methods.search import NEAR, certified_radii
from vlang.runtime.methods.table import METHODS
from vlang.runtime.network import load
from vlang.runtime.queries.batches import Loaded, prepare
from vlang.runtime.queries.radius import GAIN_JOINT, linear_guess
from vlang.runtime.queries.samples import Samples
from vlang.text.source import Source
from vlang.words.methods import METHODS as WORDS

SPECS = Path(__file__).parents[2] / "specs"
MOST = 1e3


def loaded(network: str, text: str) -> Loaded:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    spec = f'''rspec 1
network net {{ checkpoint = "checkpoints/{network}.safetensors" }}
input q {{ text = "{quoted}" }}
radius r {{ network = net, input = q, target = any, perturbation = {{ frames = each, norm = 2, space = embedding }} }}
'''
    variant = compile_spec(Source(str(SPECS / "words.rspec"), spec)).queries[0].variants[0]
    return prepare(variant, Samples.load(variant, load.network(variant.network, DTYPE, torch.device("cpu"))))


def words(asked: Loaded, methods: list[str], every: int, last: int, tolerance: float) -> list[dict[str, Any]]:
    """A row per word that is kept: attack and radii, each with its seconds."""
    cases = tuple(c for c in asked.cases[1::every] if asked.inputs.shape[1] - c.frames[0] <= last)
    if not cases:
        return []
    attack = pgd(asked.question(cases, 1e4), 100, 20, [torch.Generator().manual_seed(0) for _ in cases])[1].tolist()
    rows = []
    for case, nearest in zip(cases, attack, strict=True):
        alone = asked.asked((case,))
        margin, radius = float(alone.nominal), {}
        if margin <= 0:
            continue
        planes = certified_radii(METHODS["planes"](alone), linear_guess(alone), alone.nominal, tolerance, MOST).radius
        radius["planes"], known = float(planes), planes
        for method in methods:
            start = time.perf_counter()
            joint = WORDS[method].joint
            guess = known * (GAIN_JOINT if joint else NEAR)
            known = certified_radii(METHODS[method](alone), guess, alone.nominal, tolerance, MOST, known=known, signs=joint).radius
            radius[method], radius[f"{method} seconds"] = float(known), time.perf_counter() - start
        rows.append({"frame": case.frames[0], "margin": margin, "attack": nearest, **radius})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions_file", type=Path)
    parser.add_argument("--networks", nargs="+", default=["questions_lstm", "questions_gru"])
    parser.add_argument("--methods", nargs="*", default=["quadratic"], help="each goes on from where the one before it stopped")
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--last", type=int, default=1000, help="only words among the last so many of a question")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    texts = [line.split(" ", 1)[1].strip() for line in args.questions_file.read_text("latin-1").splitlines()[: args.questions]]
    everything = {}
    for network in args.networks:
        rows: list[dict[str, Any]] = []
        for i, text in enumerate(texts):
            with torch.no_grad():
                rows += [{"question": i, **row} for row in words(loaded(network, text), args.methods, args.every, args.last, args.tolerance)]
        margins = sorted({(r["margin"], r["question"]) for r in rows})
        fragile = {q for _, q in margins[: len(margins) // 3]}
        for method in ["planes", *args.methods]:
            share = [r[method] / r["attack"] for r in rows]
            summary = {
                "network": network,
                "method": method,
                "words": len(rows),
                "over planes": statistics.median(r[method] / r["planes"] for r in rows),
                "of the attack": statistics.median(share),
                "of the attack, fragile third": statistics.median(s for s, r in zip(share, rows, strict=True) if r["question"] in fragile),
                "seconds a word": statistics.median(r.get(f"{method} seconds", 0.0) for r in rows),
            }
            print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in summary.items()}), flush=True)
        everything[network] = rows
    if args.json:
        args.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
