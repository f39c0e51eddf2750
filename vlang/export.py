"""From a live torch module to a file that says everything: weights, the graph of layers, and the module's own outputs to compare with.

    from vlang.export import export
    export(model, "net.safetensors", example)

or, of a module that a function of no arguments makes, `python -m vlang.export package.module:function net.safetensors --example inputs.npy`.

The module is traced by torch's ONNX exporter (extra `onnx`), read layer by layer, and run beside what was read before anything is written.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlang.convert import onnx
from vlang.convert.converted import ConversionError, Converted, MissingLibraryError

if TYPE_CHECKING:
    import torch

#: Samples of the example that are kept in the file, and how far outputs may be apart, of their spread.
KEPT, APART = 2, 1e-5


class ExportError(Exception):
    """What cannot be expressed, with the module's path, or what does not agree."""


def export(module: torch.nn.Module, path: str | os.PathLike[str], example: torch.Tensor, labels: Sequence[str] = ()) -> None:
    """Write a network to a safetensors file, with the graph of its layers and its outputs for the example in the metadata.

    The module is put into evaluation. example: some samples, [S, m, n], pictures [S, channels, rows, columns], or tokens [S, m]; the module's
    outputs for them are [S, classes]. labels: names of the classes. Raises ExportError.
    """
    import torch
    from safetensors.torch import save_file

    was_training = module.training
    module.eval()
    try:
        found = _converted(module, example)
        with torch.no_grad():
            outputs = module(example)
        if outputs.shape != (len(example), found.architecture.classes):
            raise ExportError(f"the module gives {list(outputs.shape)}; a network gives [{len(example)}, classes]")
        tensors = {name: torch.from_numpy(x) for name, x in found.tensors.items()}
        _compare(found, tensors, example, outputs)
    finally:
        module.train(was_training)
    kept = {k: x.float() if torch.equal(x.float().double(), x) else x for k, x in tensors.items()}
    inputs = example[:KEPT].tolist() if found.architecture.embedding is None else tensors[str(found.architecture.embedding)][example[:KEPT]].tolist()
    said = {
        "layers": json.dumps(found.architecture.reading() | {"input_size": found.architecture.input_size}),
        "example": json.dumps({"inputs": inputs, "outputs": outputs[:KEPT].double().tolist()}),
    }
    if labels:
        said["labels"] = json.dumps(list(labels))
    save_file({k: x.contiguous() for k, x in kept.items()}, path, metadata=said)


def _converted(module: torch.nn.Module, example: torch.Tensor) -> Converted:
    import torch

    for name, part in module.named_modules():
        if getattr(part, "proj_size", 0):
            raise ExportError(f"{name}: torch cannot trace an LSTM with proj_size: save its state dict, and list the layers in the spec")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        file = str(Path(folder) / "net.onnx")
        try:
            torch.onnx.export(module, (example[:1],), file, dynamo=False, input_names=["input"])
        except torch.onnx.errors.OnnxExporterError as e:
            raise ExportError(f"torch cannot trace it: {str(e).splitlines()[0]}") from None
        except ImportError as e:
            raise MissingLibraryError(str(e), "onnx") from None
        try:
            return onnx.read(file)
        except ConversionError as e:
            raise ExportError(f"{e.where}: {e.why}") from None


def _compare(found: Converted, tensors: dict[str, Any], example: torch.Tensor, outputs: torch.Tensor) -> None:
    """Raises ExportError where what was read gives other outputs than the module."""
    from vlang.runtime.network.reading import outputs as ours

    mine = ours(found.architecture, tensors, example)
    spread = float(outputs.max() - outputs.min()) or 1.0
    apart = float((mine - outputs.double()).abs().max())
    if not apart <= APART * spread:
        raise ExportError(f"what was read of it gives outputs {apart:.3g} from its own, which spread over {spread:.3g}: it is not written")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m vlang.export`; returns the exit code."""
    top = argparse.ArgumentParser(prog="python -m vlang.export", description="Save a torch module with the graph of its layers.")
    top.add_argument("made", metavar="MODULE:FUNCTION", help="a function of no arguments that returns the module")
    top.add_argument("path", metavar="FILE", help="the .safetensors file to write")
    top.add_argument("--example", required=True, metavar="FILE", help="a .npy file of some samples [samples, frames, numbers], or of tokens")
    top.add_argument("--state", metavar="FILE", help="a state dict to load into it first")
    args = top.parse_args(argv)
    module, colon, function = args.made.partition(":")
    try:
        import numpy as np
        import torch
    except ModuleNotFoundError as e:
        print(f"vlang.export: {e.name} is not installed: pip install 'rspec-verify[run,onnx]'", file=sys.stderr)
        return 2
    try:
        if not colon:
            raise ExportError("write MODULE:FUNCTION, e.g. mypackage.models:make")
        sys.path.insert(0, os.getcwd())
        network = getattr(importlib.import_module(module), function)()
        if args.state is not None:
            network.load_state_dict(torch.load(args.state, weights_only=True, map_location="cpu"))
        example = torch.from_numpy(np.load(args.example, allow_pickle=False))
        export(network, args.path, example)
    except MissingLibraryError as e:
        print(f"vlang.export: {e.library} is not installed: pip install 'rspec-verify[{e.extra}]'", file=sys.stderr)
        return 2
    except (ExportError, ImportError, AttributeError, OSError, ValueError, RuntimeError) as e:
        print(f"vlang.export: {str(e).splitlines()[0]}", file=sys.stderr)
        return 2
    print(f"{args.path}: written; look at it with: vrun describe {args.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
