"""Files to tensors: checkpoints and samples named in a Plan. Never runs code from a file; refuses NaN and infinity."""

from __future__ import annotations

import math
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vlang.array import TABLES, ArrayPlan, table
from vlang.convert import READERS
from vlang.plan import DataError, DatasetInput, InputPlan, NetworkPlan, Problem, TextInput, TextsInput, ValuesInput
from vlang.runtime.network.assemble import assemble
from vlang.runtime.network.normalize import normalized
from vlang.runtime.network.reading import compare_with_example
from vlang.runtime.network.unroll import Network

#: Bytes of a compressed array that are passed over at once.
BLOCK = 2**20


def network(plan: NetworkPlan, dtype: torch.dtype, device: torch.device) -> Network:
    """The network of a checkpoint, its weights converted exactly. Raises DataError."""
    tensors = _tensors(plan)
    broken = sorted(name for name, value in tensors.items() if not bool(torch.isfinite(value).all()))
    if broken:
        raise DataError(*(Problem("not_finite", plan.span, (f"tensor '{name}' of {plan.checkpoint}",)) for name in broken))
    found = assemble(tensors, plan.architecture, dtype, device)
    if plan.format == "safetensors":
        with safe_open(plan.checkpoint, "pt") as held:
            compare_with_example(found, plan, held.metadata() or {})
    return found if plan.normalize is None else normalized(found, float(plan.normalize))


def _tensors(plan: NetworkPlan) -> dict[str, Tensor]:
    try:
        if plan.format in ("onnx", "keras"):
            return {k: torch.from_numpy(v) for k, v in READERS[Path(plan.checkpoint).suffix][1](plan.checkpoint).tensors.items()}
        if plan.format == "safetensors":
            return load_file(plan.checkpoint)
        state = torch.load(plan.checkpoint, map_location="cpu", weights_only=True)
        return {str(k): v.detach() for k, v in (state if plan.inside is None else state[plan.inside]).items()}
    except (SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, OSError, ValueError, EOFError, AttributeError, KeyError) as e:
        raise DataError(Problem("damaged", plan.span, (plan.checkpoint, "checkpoint", str(e).split("\n")[0]))) from None


#: Of every sample, its class, or those of its steps.
Labels = list[tuple[int, ...]]


def samples(plan: InputPlan, network: Network, names: tuple[str, ...] = (), classes: int = 0) -> tuple[Tensor, Labels | None, tuple[int, ...]]:
    """Inputs [S, m, n] in the network's dtype, labels where given, and the samples' numbers. Raises DataError.

    names: of the classes. classes: how many there are, if not the network's outputs.
    """
    match plan:
        case TextInput(ids=ids, label=label):
            assert network.embedding is not None
            return network.embedding[list(ids)][None], None if label is None else [(label,)], (0,)
        case TextsInput(texts=texts, indices=indices):
            assert network.embedding is not None
            known: Labels | None = None if texts[0].label is None else [(t.label,) for t in texts if t.label is not None]
            return network.embedding[torch.tensor([t.ids for t in texts])], known, indices
        case ValuesInput(values=values, label=label, span=span):
            x = torch.tensor(values, dtype=network.dtype, device=network.device)[None]
            if not bool(torch.isfinite(x).all()):
                raise DataError(Problem("not_finite", span, ("values",)))
            return x, None if label is None else [(label,)], (0,)
        case DatasetInput():
            return _dataset(plan, network, names, classes or network.classes)


def _dataset(plan: DatasetInput, network: Network, names: tuple[str, ...], classes: int) -> tuple[Tensor, Labels | None, tuple[int, ...]]:
    chosen = list(plan.indices)
    wanted = [start + k for start in plan.starts for k in range(plan.frames)] if plan.starts else chosen
    rows = array(plan.inputs, wanted)
    cut = rows.reshape(len(chosen), plan.padded or plan.frames, plan.size)[:, : plan.frames]
    x = torch.tensor(np.asarray(cut, dtype=np.float64), dtype=network.dtype, device=network.device)
    broken = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten().tolist()
    if broken:
        raise DataError(Problem("not_finite", plan.inputs.span, (f"sample {chosen[broken[0]]} of {plan.inputs.path}",)))
    if plan.labels is None:
        return x, None, plan.indices
    given = array(plan.labels, chosen).reshape(len(chosen), -1)[:, : plan.frames if plan.padded else None].tolist()
    labels = [_looked_up(y, names, plan, i) if plan.labels.texts else tuple(map(int, y)) for i, y in zip(chosen, given, strict=True)]
    wrong = next(((y, i) for row, i in zip(labels, chosen, strict=True) for y in row if not 0 <= y < classes), None)
    if wrong is not None:
        raise DataError(Problem("label_out_of_range", plan.labels.span, (wrong[0], classes, wrong[1])))
    return x, labels, plan.indices


def _looked_up(labels: list[str | bytes], names: tuple[str, ...], plan: DatasetInput, sample: int) -> tuple[int, ...]:
    """The numbers of a sample's classes, given by name. Raises DataError."""
    texts = [x.decode("utf-8", "replace") if isinstance(x, bytes) else x for x in labels]
    numbers = {name: i for i, name in enumerate(names)}
    unknown = next((i for i, x in enumerate(texts) if x not in numbers), None)
    if unknown is not None:
        assert plan.labels is not None
        raise DataError(Problem("label_not_found", plan.labels.span, (texts[unknown], sample, ", ".join(names[:12]))))
    return tuple(numbers[x] for x in texts)


def array(plan: ArrayPlan, rows: list[int] | None = None) -> np.ndarray:
    """An array, or some of its rows; of a compressed one no more is held at once than a block beside them. Raises DataError."""
    try:
        if Path(plan.path).suffix.lower() in TABLES:
            held = np.array(table(plan.path))
            return held if rows is None else held[rows]
        if plan.key is None:
            held = np.load(plan.path, allow_pickle=False, mmap_mode="r")
            return np.asarray(held if rows is None else held[rows])
        with zipfile.ZipFile(plan.path) as z, z.open(f"{plan.key}.npy") as f:
            return _rows(f, rows)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as e:
        raise DataError(Problem("damaged", plan.span, (plan.path, "numpy file", str(e)))) from None


def _rows(f: IO[bytes], rows: list[int] | None) -> np.ndarray:
    """Read on through a stream in numpy's format."""
    version = np.lib.format.read_magic(f)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read_header(f)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    if columns_first:  # a row is scattered over the whole
        count = math.prod(shape)
        held = np.frombuffer(_exactly(f, count * dtype.itemsize), dtype, count).reshape(shape, order="F")
        return held if rows is None else held[rows]
    size = dtype.itemsize * math.prod(shape[1:])
    order = list(range(shape[0])) if rows is None else sorted(set(rows))
    found, at = {}, 0
    for i in order:
        _skip(f, (i - at) * size)
        found[i] = np.frombuffer(_exactly(f, size), dtype).reshape(shape[1:])
        at = i + 1
    kept = order if rows is None else rows
    return np.stack([found[i] for i in kept]) if kept else np.empty((0, *shape[1:]), dtype)


def _exactly(f: IO[bytes], count: int) -> bytes:
    content = f.read(count)
    if len(content) < count:
        raise ValueError("it is truncated")
    return content


def _skip(f: IO[bytes], count: int) -> None:
    while count > 0:
        done = len(f.read(min(count, BLOCK)))
        if not done:
            raise ValueError("it is truncated")
        count -= done
