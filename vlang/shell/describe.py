"""`vrun describe FILE`: what a checkpoint holds, how it is read as a network and why not, and what the network says of some input."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

from vlang.convert import READERS
from vlang.formats.reading import layer_in_words, read_as
from vlang.lower import networks
from vlang.lower.checkpoints import checkpoint
from vlang.lower.files import TensorHeader
from vlang.plan import NetworkPlan
from vlang.shell.arguments import CallError
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.parser import parse
from vlang.text.printable import printable
from vlang.text.source import Source, Span
from vlang.typed.check import check
from vlang.typed.module import load

#: Tensors that are listed.
MOST_TENSORS = 200
#: Frames of a sequence where nobody says how many, and outputs that are shown of it.
FRAMES, MOST_OUTPUTS = 10, 12


def describe(args: argparse.Namespace) -> int:
    """Prints what there is to say of each file. Raises CallError."""
    codes = [_one(path, args) for path in args.files]
    return max(codes)


def _one(path: str, args: argparse.Namespace) -> int:
    said = f", {args.say}" if args.say else ""
    source = Source(path, f"rspec 1\nnetwork net {{ checkpoint = {json.dumps(str(Path(path).absolute()), ensure_ascii=False)}{said} }}\n")
    try:
        for line in _held(path):
            print(printable(line))
        plan = read_network(source)
        frames = args.frames or (FRAMES if plan.architecture.input_size else 1)
        for line in _layers(plan, frames):
            print(printable(line))
        for line in _passed(plan, frames, args.input):
            print(printable(line))
    except SpecError as e:
        for x in e.diagnostics:
            print(printable(f"not read as a network: {x.message}"))
            print(printable(f"  hint: {_for_the_call(x.hint)}"))
        return 2
    return 0


def _for_the_call(hint: str) -> str:
    return f"{hint}   (here: vrun describe FILE --say 'layers = [...]')" if "layers = [" in hint else hint


def _held(path: str) -> Iterator[str]:
    """The file's tensors. Raises SpecError."""
    span = Span(1, 1)
    if Path(path).suffix in READERS:
        yield f"{path}: {READERS[Path(path).suffix][0]}"
        return
    if not Path(path).is_file():
        raise SpecError(d.missing_file(span, path, None, path))
    held = checkpoint(path, span)
    inside = "" if held.inside is None else f", its entry '{held.inside}'"
    count = sum(_size(x) for x in held.tensors.values())
    kind = "torch state dict" if held.format == "torch" else held.format
    yield f"{path}: {kind}{inside}, {len(held.tensors)} tensors, {count:,} numbers"
    wide = max((len(name) for name in held.tensors), default=0)
    for name, x in list(held.tensors.items())[:MOST_TENSORS]:
        yield f"  {name:{wide}}  {x.dtype.removesuffix('Storage'):8} {list(x.shape)}"
    if len(held.tensors) > MOST_TENSORS:
        yield f"  ... and {len(held.tensors) - MOST_TENSORS} more"
    for key, value in held.metadata.items():
        yield f"  metadata {key} = {value[:100]}{'...' if len(value) > 100 else ''}"


def _size(x: TensorHeader) -> int:
    return math.prod(x.shape)


def read_network(source: Source) -> NetworkPlan:
    """Raises SpecError."""
    tree, errors = parse(source)
    module = load(tree, {})
    spec = check(module)
    if errors or module.errors:
        raise SpecError(*errors, *module.errors)
    return networks.read(spec.networks[0], "net", source.folder).plan


def _layers(plan: NetworkPlan, frames: int) -> Iterator[str]:
    """How it is read: a line a layer, with the frames that each gives."""
    a = plan.architecture
    yield f"read as {read_as(plan)}"
    counts = a.frames(frames)
    yield f"  of {frames} frame{'s' * (frames > 1)} of {a.input_size or a.flattened // frames} numbers:"
    for k, (layer, given) in enumerate(zip(a.layers, counts, strict=True)):
        shape = f"{given} x {layer.width}" if given != 1 else str(layer.width)
        yield f"  {k:3} {shape:>12}  {layer_in_words(a, k)}"
    if 0 in counts:
        yield f"  {frames} frames are too few for it: --frames N"


def _passed(plan: NetworkPlan, frames: int, given: str | None) -> Iterator[str]:
    """The outputs for a given input, or a random one. Raises CallError or SpecError."""
    import numpy as np
    import torch

    from vlang.plan import DataError
    from vlang.runtime.graph.concrete import logits
    from vlang.runtime.network import load as loading

    a = plan.architecture
    try:
        network = loading.network(plan, torch.float64, torch.device("cpu"))
    except DataError as e:
        raise CallError(f"{plan.checkpoint}: {e}") from None
    numbers = a.input_size or a.flattened // frames
    if given is None:
        x, of = np.random.default_rng(0).standard_normal((1, frames, numbers)), "a random input (numpy.random.default_rng(0).standard_normal)"
    else:
        try:
            x, of = np.asarray(np.load(given, allow_pickle=False), dtype=np.float64), given
        except (OSError, ValueError) as e:
            raise CallError(f"--input {given}: {e}") from None
        if a.input_size:
            x = x[None] if x.ndim == 2 else x
        elif x.size % a.flattened == 0:
            x = x.reshape(-1, frames, numbers)  # pictures, or vectors
        if x.ndim != 3 or x.shape[2] != numbers:
            raise CallError(f"--input {given} has shape {list(x.shape)}; expected [samples, frames, {numbers}], or one sample of it")
    if a.frames(x.shape[1])[-1] != 1 or 0 in a.frames(x.shape[1]):
        return
    found = logits(network.unroll(x.shape[1]), torch.from_numpy(x))
    yield f"outputs for {of}:"
    for k, row in enumerate(found.tolist()[:5]):
        shown = ", ".join(f"{v:.6g}" for v in row[:MOST_OUTPUTS]) + (", ..." if len(row) > MOST_OUTPUTS else "")
        yield f"  sample {k}: [{shown}]"
