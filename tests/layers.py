"""Random graphs of layers, for tests: every word of vlang/words/layers.py, with recurrent stacks among them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vlang.picture import Picture, behind
from vlang.plan import Architecture, LayerPlan
from vlang.runtime.network.layers import LAYERS, Layer
from vlang.runtime.network.unroll import Network
from vlang.words import layers as words
from vlang.words.cells import CELLS

#: Frames that a window needs.
OVER_FRAMES = {"conv1d": 2, "avg_pool": 2, "max_pool": 2}
DTYPE = torch.float64
#: Those that keep frames frames, and those over pictures.
MIDDLE = (*(word for word, layer in words.LAYERS.items() if layer.gives != "vector" and layer.picture != "reads"), *CELLS)
OVER_PICTURES = tuple(word for word, layer in words.LAYERS.items() if layer.picture != "none" and word != "add")


class Growing:
    """A network that is added to, layer by layer, with random weights."""

    def __init__(self, seed: int, n: int, frames: int, scale: float = 1.0) -> None:
        self.choice, self.scale = random.Random(seed), scale
        self.generator = torch.Generator().manual_seed(seed)
        self.plans: list[LayerPlan] = []
        self.layers: list[Layer] = []
        self.n, self.width, self.frames = n, n, frames
        self.picture: Picture | None = None

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=DTYPE) * self.scale

    @property
    def last(self) -> int:
        return len(self.plans) - 1

    def add(self, word: str, *of: int, width: int | None = None) -> None:
        """A layer of random weights and settings, behind the last one unless it says of which."""
        read = of or (self.last,)
        gives = self.width if width is None else width
        settings = self._settings(word, gives)
        if word in words.LAYERS and (words.LAYERS[word].picture != "none" or word == "reshape"):
            shape = tuple(self._tensors(word, gives)["weight"].shape) if word == "conv2d" else ()
            after = behind(word, settings, (self.picture,), shape) if self.picture or word == "reshape" else None
            gives = gives if after is None else after.size
        else:
            after = None
        tensors = {k: v * (1.0 if k.startswith("running") else self.scale) for k, v in self._tensors(word, gives).items()}
        window = settings.get("size", 2)
        plan = LayerPlan(word, read, gives, f"{len(self.plans)}.", tuple(tensors), tuple(settings.items()), window if isinstance(window, int) else 2)
        self.plans.append(plan)
        self.layers.append(LAYERS[word].of(plan, tensors.get))
        if word in OVER_FRAMES:
            self.frames = plan.windows(self.frames)
        elif word in words.LAYERS and words.LAYERS[word].gives == "vector":
            self.frames = 1
        self.width, self.picture = gives, after

    def _tensors(self, word: str, gives: int) -> dict[str, Tensor]:
        n, w = self.width if self.picture is None else self.picture.channels, self.normal
        if word in CELLS:
            s, rows = gives // 2, CELLS[word].rows * gives // 2
            shapes = {"weight_ih": (rows, n), "weight_hh": (rows, s), "bias_ih": (rows,), "bias_hh": (rows,)}
            shapes |= {role: (k * s,) for role, k in CELLS[word].more}
            return {f"{role}{end}": w(*shape) for end in ("_l0", "_l0_reverse") for role, shape in shapes.items()}
        match word:
            case "linear":
                return {"weight": w(gives, n), "bias": w(gives)}
            case "conv2d" if self.picture is not None:
                return {"weight": w(2, n, *self._small()), "bias": w(2)}
            case "conv1d":
                return {"weight": w(gives, n, 2), "bias": w(gives)}
            case "layernorm":
                return {"weight": w(n), "bias": w(n)}
            case "batchnorm":
                return {"running_mean": w(n), "running_var": w(n).abs(), "weight": w(n), "bias": w(n)}
        return {}

    def _small(self) -> tuple[int, int]:
        """Rows and columns of a window."""
        assert self.picture is not None
        return min(2, self.picture.height), min(2, self.picture.width)

    def _settings(self, word: str, gives: int) -> dict[str, Any]:
        if word in CELLS:
            return {"layers": 1, "directions": 2, "initial": ()}
        pick = self.choice.choice
        if word == "reshape":
            channels = pick([x for x in range(1, gives + 1) if gives % x == 0])
            height = pick([x for x in range(1, gives + 1) if gives // channels % x == 0])
            return {"channels": channels, "height": height, "width": gives // channels // height}
        if words.LAYERS[word].picture == "reads":
            said = {"size": self._small(), "stride": pick([1, (1, 2)]), "padding": pick([0, (1, 0)]), "dilation": 1, "groups": 1}
            return {key: said[key] for key in words.LAYERS[word].settings}
        gives = gives if self.picture is None else self.picture.channels
        drawn = {
            "mean": tuple(self.choice.uniform(-1, 1) for _ in range(gives)),
            "std": self.choice.uniform(0.3, 3),
            "eps": pick([1e-5, 0.1]),
            "stride": pick([1, 2]),
            "padding": pick([0, 1]),
            "dilation": 1 if self.frames < 3 else pick([1, 2]),
            "groups": 1,
            "size": 2,
            "slope": pick([0.01, 0.3]),
            "order": pick(["frames", "channels"]),
        }
        return {key: drawn[key] for key in words.LAYERS[word].settings}

    def some(self, most: int) -> None:
        """A few layers that keep frames frames."""
        for _ in range(self.choice.randint(1, most)):
            width = self.choice.randint(1, 3)
            word = self.choice.choice(MIDDLE)
            if word in OVER_FRAMES and self.frames < OVER_FRAMES[word]:
                continue
            before, own = self.last, self.width
            if word in ("add", "concat"):
                self.add("linear", width=own)
                self.add(self.choice.choice(words.ACTIVATIONS))
                self.add(word, before, self.last, width=own if word == "add" else 2 * own)
            else:
                self.add(word, width=2 * width if word in CELLS else width if word in ("linear", "conv1d") else own)

    def save(self, path: Path) -> None:
        """With the graph of its layers in the metadata, as `vlang.export` writes it."""
        said = Architecture(tuple(self.plans), self.n).reading() | {"input_size": self.n}
        tensors = {plan.in_file(k): x.contiguous() for plan, layer in zip(self.plans, self.layers, strict=True) for k, x in layer.tensors().items()}
        save_file(tensors, path, {"layers": json.dumps(said)})

    def network(self, classes: int) -> Network:
        """With what is read out of the frames and a last linear layer."""
        word = self.choice.choice([*words.READOUTS, "flatten", "reshape", "attention"])
        if word == "reshape":
            self.add(word, width=self.width * self.frames)
            for _ in range(self.choice.randint(1, 3)):
                self.add(self.choice.choice(OVER_PICTURES))
            self.add("flatten")
        elif word == "attention":
            before, own = self.last, self.width
            self.add("linear", width=1)
            self.add(word, before, self.last, width=own)
        else:
            self.add(word, width=self.width * (self.frames if word == "flatten" else 1))
        if self.choice.random() < 0.5:
            self.add(self.choice.choice(words.ACTIVATIONS))
        self.add("linear", width=classes)
        return Network(tuple(self.layers), tuple(x.of for x in self.plans), self.n, classes)


def random_layers(seed: int, n: int, frames: int, classes: int, scale: float = 1.0, most: int = 4) -> Network:
    """A random graph of layers on so many frames of n numbers."""
    found = Growing(seed, n, frames, scale)
    found.some(most)
    return found.network(classes)


def saved_at_random(seed: int, path: Path, n: int, frames: int, classes: int, scale: float, most: int = 4) -> None:
    """The same, in a file."""
    found = Growing(seed, n, frames, scale)
    found.some(most)
    found.network(classes)
    found.save(path)


def saved_cell(cell: str, path: Path, n: int, s: int, classes: int) -> None:
    """A layer of a cell in both directions and a head, in a file."""
    found = Growing(1, n, 1, 0.7)
    found.add(cell, width=2 * s)
    found.add("last")
    found.add("linear", width=classes)
    found.save(path)
