"""vrun init: a spec to begin with, that runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vlang.formats.reading import read_as
from vlang.lower.spec import compile_spec
from vlang.plan import NetworkPlan
from vlang.shell import output
from vlang.shell.arguments import CallError
from vlang.shell.commands import say
from vlang.shell.describe import read_network
from vlang.text.diagnostics import SpecError
from vlang.text.printable import printable
from vlang.text.source import Source

#: Samples that a first run asks about, and frames of an input that stands in for data.
FIRST, FRAMES = 5, 10


def init(args: argparse.Namespace) -> int:
    """Writes MODEL.rspec, or --output. Raises CallError or SpecError."""
    if len(args.files) > 2:
        raise CallError("write vrun init MODEL [DATA]")
    model, data = args.files[0], args.files[1] if len(args.files) > 1 else None
    path = args.output or f"{Path(model).stem}.rspec"
    if path != "-" and Path(path).exists():
        raise CallError(f"{path} is there already; choose another with --output FILE")
    output.probe(path)
    said = f", {args.say}" if args.say else ""
    network = f"network net {{ checkpoint = {_text(model)}{said} }}"
    try:
        source = Source(path, _spec(network, data, read_network(Source(path, f"rspec 1\n{network}\n"))))
        compile_spec(source)
    except SpecError as e:
        for x in e.diagnostics:
            say(x, None)
        print("nothing is written; vrun describe tells what the model holds, --say 'KEYS' what a spec would say of it", file=sys.stderr)
        return 2
    output.write(path, source.text)
    if path != "-":
        print(f"{printable(path)}: written; run it with: vrun {printable(path)}")
    return 0


def _spec(network: str, data: str | None, plan: NetworkPlan) -> str:
    a = plan.architecture
    if data is not None:
        key = "source" if Path(data).suffix == ".npz" else "inputs"
        given = f"dataset data {{ {key} = {_text(data)}, pick = first({FIRST}) }}"
        comment = "Some samples, with their labels if the file has them; `where = correct` leaves misclassified ones out."
    elif a.embedding is not None:
        given, comment = 'input data { text = "what is the name of" }', "A text of yours, split on white space."
    else:
        frames = FRAMES if a.input_size else 1
        given = f"input data {{ values = {[[0] * (a.input_size or a.flattened)] * frames} }}"
        comment = 'Zeros, in place of data: dataset data { inputs = "inputs.npy", labels = "labels.npy" } names arrays [samples, frames, numbers].'
    return f"""# Certified robustness of {Path(plan.checkpoint).name}. The language is told in grammar/README.md of rspec-verify.
rspec 1

# Read as {printable(read_as(plan))}
# `reference = "outputs.npy"` in it compares your framework's own outputs for the samples with what was read.
{network}

# {comment}
{given}

# Every frame may move, each by at most eps in the 2-norm. frames = each asks about one after the other; norm = inf bounds every number.
perturbation noise {{ frames = all, norm = 2 }}

# The largest eps that provably changes no prediction. `planes` is fast; with `auto`, in its place, tighter methods go on from there.
radius certified {{
  network = net, input = data, perturbation = noise
  engine = {{ method = planes }}
  # A gate decides vrun's exit code:  expect min(radius) >= 0.01 because "sensor noise"
}}

# The nearest counterexample that an attack finds: the true radius lies between the two.
attack nearest {{
  network = net, input = data, perturbation = noise, restarts = 5, steps = 50
}}
"""


def _text(path: str) -> str:
    return json.dumps(path, ensure_ascii=False)
