"""Sequential models of Keras, `.keras` and `.h5` (extra `keras`: h5py alone, no TensorFlow)."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from vlang.convert.converted import Array, ConversionError, Converted, Growing, MissingLibraryError
from vlang.plan import Architecture, Setting

#: Keras' activations that are layers.
ACTIVATIONS = {name: name for name in ("relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "softmax")} | {"swish": "silu"}
#: What another format says that these files do not.
OTHERWISE = "export it to ONNX: model.export('net.onnx', format='onnx') in Keras 3, or tf2onnx"
#: Gates in Keras' order, as places in torch's.
GRU_ORDER = (1, 0, 2)
Config = Mapping[str, Any]


def read(path: str) -> Converted:
    """The network that a file holds. Raises ConversionError, MissingLibraryError or OSError."""
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError:
        raise MissingLibraryError("h5py", "keras") from None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as z:
                config, weights = json.loads(z.read("config.json")), io.BytesIO(z.read("model.weights.h5"))
            with h5py.File(weights) as f:
                return _Reader(config, lambda k, name, roles: _by_number(f, k, roles)).read()
        with h5py.File(path) as f:
            if "model_config" not in f.attrs:
                raise ConversionError("the file", "it holds weights alone, and not which layers they are of: save the whole model")
            return _Reader(json.loads(f.attrs["model_config"]), lambda k, name, roles: _by_name(f["model_weights"], name, roles)).read()
    except (KeyError, ValueError, TypeError, IndexError, zipfile.BadZipFile, RuntimeError) as e:
        raise ConversionError("the file", f"it is not understood ({type(e).__name__}: {e})") from None


#: The tensors of a layer: (its place among those of its class, its name, roles in order; a role before a dot is a part of it) -> arrays.
Weights = Callable[[str, str, tuple[str, ...]], dict[str, Array]]


def _by_number(held: Any, place: str, roles: tuple[str, ...]) -> dict[str, Array]:
    """Of a `.keras` file: layers are called after their classes, variables by number."""
    count: Counter[str] = Counter()
    found = {}
    for role in roles:
        part = "/".join(role.split(".")[:-1])
        folder = held["layers"][place][part] if part else held["layers"][place]
        found[role] = folder["vars"][str(count[part])][()]
        count[part] += 1
    return found


def _by_name(held: Any, name: str, roles: tuple[str, ...]) -> dict[str, Array]:
    """Of an `.h5` file: groups are called after the layers, variables after their roles, with a number behind a colon in older ones."""
    arrays: dict[str, Array] = {}
    held[name].visititems(lambda path, x: arrays.__setitem__(path, x[()]) if hasattr(x, "shape") else None)
    found = {}
    for role in roles:
        part, _, last = role.rpartition(".")
        side = part.split("_")[0] if part.startswith(("forward", "backward")) else ""
        matching = [x for path, x in arrays.items() if path.split("/")[-1].split(":")[0] == last and (not side or f"/{side}_" in f"/{path}")]
        if len(matching) != 1:
            raise ConversionError(f"layer '{name}'", f"it has {len(matching)} variables called {last}")
        found[role] = matching[0]
    return found


class _Reader:
    """One pass over the layers of a Sequential model."""

    def __init__(self, config: Config, weights: Weights) -> None:
        import numpy as np

        if config.get("class_name") != "Sequential":
            raise ConversionError("the model", f"it is {config.get('class_name')}, and Sequential ones are read: {OTHERWISE}")
        self.np, self.weights = np, weights
        self.layers: list[Config] = config["config"]["layers"] if isinstance(config["config"], dict) else config["config"]
        self.grown = Growing()
        self.at, self.width = -1, 0
        self.frames: int | None = None

    def read(self) -> Converted:
        met: Counter[str] = Counter()
        inputs, table = 0, None
        for layer in self.layers:
            class_name, config = layer["class_name"], layer["config"]
            place = re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", class_name).lower()
            number = met[place]
            met[place] += 1
            self.name, self.place = config["name"], place + (f"_{number}" if number else "")
            if inputs == 0 and self.width == 0:
                self._shape(config)
                inputs = self.width
            if class_name == "InputLayer":
                continue
            if class_name == "Embedding" and self.at == -1:
                if config.get("mask_zero"):
                    raise self._refused("mask_zero leaves out frames; it is not read")
                table = self.weights(self.place, self.name, ("embeddings",))["embeddings"]
                inputs = self.width = table.shape[1]
                self.grown.tensors["embedding.weight"] = table.astype("float64")
                continue
            if config.get("data_format") not in (None, "channels_last"):
                raise self._refused(f"data_format {config['data_format']!r} is not read")
            if self.at >= 0 and self.grown.layers[self.at].word == "softmax":
                raise self._refused("it stands behind a softmax, which is only read of the outputs")
            if class_name not in LAYERS:
                raise self._refused(f"{class_name} is not read: {OTHERWISE}")
            LAYERS[class_name](self, config)
        plans = self.grown.upto(self.at)
        kept = {name: self.grown.tensors[name] for x in plans for name in x.names}
        if table is not None:
            kept["embedding.weight"] = self.grown.tensors["embedding.weight"]
        return Converted(Architecture(plans, inputs, None if table is None else "embedding.weight", 0 if table is None else len(table)), kept)

    def _shape(self, config: Config) -> None:
        """Of the input, where a layer says it."""
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        if shape is not None:
            self.width = shape[-1] or 0
            self.frames = shape[1] if len(shape) == 3 else 1

    def _refused(self, why: str) -> ConversionError:
        return ConversionError(f"layer '{self.name}'", why)

    def relu(self, config: Config) -> None:
        if config.get("max_value") is not None or config.get("negative_slope", 0.0) or config.get("threshold", 0.0):
            raise self._refused("a ReLU with max_value, negative_slope or threshold is not read")
        self._activated("relu")

    def _add(
        self, word: str, width: int, held: Mapping[str, Array] | None = None, settings: Mapping[str, Setting] | None = None, window: int = 1
    ) -> None:
        self.at = self.grown.add(word, (self.at,), width, held, settings, window)
        self.width = width
        if self.frames is not None and window > 1:
            self.frames = self.grown.layers[self.at].windows(self.frames)

    def _held(self, *roles: str) -> dict[str, Array]:
        return self.weights(self.place, self.name, roles)

    def _activated(self, name: Any) -> None:
        """An activation, as a layer of its own or of another's."""
        if name in (None, "linear"):
            return
        if name not in ACTIVATIONS:
            raise self._refused(f"the activation {name!r} is not read")
        self._add(ACTIVATIONS[name], self.width)

    def dense(self, config: Config) -> None:
        held = self._held("kernel", *(["bias"] if config["use_bias"] else []))
        weight = held.pop("kernel").T
        self._add("linear", len(weight), {"weight": weight} | held)
        self._activated(config["activation"])

    def conv1d(self, config: Config) -> None:
        held = self._held("kernel", *(["bias"] if config["use_bias"] else []))
        weight = held.pop("kernel").transpose(2, 1, 0)
        (stride,), (dilation,), reach = config["strides"], config["dilation_rate"], config["dilation_rate"][0] * (weight.shape[2] - 1)
        if config["padding"] not in ("valid", "same"):
            raise self._refused(f"padding {config['padding']!r} is not read")
        same = config["padding"] == "same"
        if same and (stride > 1 or reach % 2):
            raise self._refused("it pads its two sides differently")
        settings = {"stride": stride, "padding": reach // 2 if same else 0, "dilation": dilation, "groups": config.get("groups", 1)}
        self._add("conv1d", len(weight), {"weight": weight} | held, settings, weight.shape[2])
        self._activated(config["activation"])

    def batch_normalization(self, config: Config) -> None:
        names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        roles = [x for x in names if not (x == "gamma" and not config["scale"]) and not (x == "beta" and not config["center"])]
        self._last_axis(config)
        held = {names[k]: v for k, v in self._held(*roles).items()}
        self._add("batchnorm", self.width, held, {"eps": float(config["epsilon"])})

    def layer_normalization(self, config: Config) -> None:
        self._last_axis(config)
        if not config["scale"] or config.get("rms_scaling"):
            raise self._refused("without gamma, or with rms_scaling, it is not read")
        held = self._held("gamma", *(["beta"] if config["center"] else []))
        self._add("layernorm", self.width, {{"gamma": "weight", "beta": "bias"}[k]: v for k, v in held.items()}, {"eps": float(config["epsilon"])})

    def _last_axis(self, config: Config) -> None:
        axis = config["axis"]
        if (axis[0] if isinstance(axis, list) else axis) not in (-1, 2):
            raise self._refused(f"axis {axis} is not that of the channels")

    def recurrent(self, config: Config, sides: tuple[str, ...], cell: str) -> None:
        """sides: where the variables of each direction are."""
        wanted = {"activation": ("tanh", "relu") if cell == "rnn" else ("tanh",)} | ({} if cell == "rnn" else {"recurrent_activation": ("sigmoid",)})
        for key, words in wanted.items():
            if config[key] not in words:
                raise self._refused(f"{key} = {config[key]!r} is not read, {' or '.join(words)} is")
        for key in ("go_backwards", "stateful", "return_state", "time_major"):
            if config.get(key):
                raise self._refused(f"{key} is not read")
        word = f"rnn_{config['activation']}" if cell == "rnn" else "gru_before" if cell == "gru" and not config.get("reset_after") else cell
        held: dict[str, Array] = {}
        units = config["units"]
        for d, side in enumerate(sides):
            roles = [f"{side}{x}" for x in ("kernel", "recurrent_kernel", *(["bias"] if config["use_bias"] else []))]
            found = self._held(*roles)
            kernel, recurrent = found[roles[0]].T, found[roles[1]].T
            bias = found[roles[2]] if config["use_bias"] else self.np.zeros(len(kernel))
            by_x, by_h = bias if bias.ndim == 2 else (bias, self.np.zeros(len(kernel)))
            parts = {"weight_ih": kernel, "weight_hh": recurrent, "bias_ih": by_x, "bias_hh": by_h}
            held |= {f"{part}_l0{'_reverse' * d}": self._ordered(cell, x) for part, x in parts.items()}
        settings: dict[str, Setting] = {"layers": 1, "directions": len(sides), "initial": ()}
        self._add(word, units * len(sides), held, settings)
        if not config["return_sequences"]:
            self._add("last", self.width)

    def _ordered(self, cell: str, x: Array) -> Array:
        """Rows gate by gate as torch has them."""
        return self.np.concatenate([self.np.split(x, 3)[k] for k in GRU_ORDER]) if cell == "gru" else x

    def bidirectional(self, config: Config) -> None:
        inner, back = config["layer"], config.get("backward_layer")
        if config["merge_mode"] != "concat" or inner["class_name"] not in CELLS:
            raise self._refused(f"merge_mode {config['merge_mode']!r} of {inner['class_name']} is not read")
        same = ("units", "activation", "recurrent_activation", "use_bias", "reset_after", "return_sequences")
        if back is not None and any(back["config"].get(key) != inner["config"].get(key) for key in same):
            raise self._refused("its two directions are different layers")
        if back is not None and not back["config"].get("go_backwards"):
            raise self._refused("both of its directions read forward")
        self.recurrent(inner["config"], ("forward_layer.cell.", "backward_layer.cell."), CELLS[inner["class_name"]])

    def pool(self, config: Config, word: str) -> None:
        (size,), (stride,) = ((x,) if isinstance(x, int) else x for x in (config["pool_size"], config["strides"] or config["pool_size"]))
        if config["padding"] != "valid":
            raise self._refused(f"padding {config['padding']!r} is not read")
        self._add(word, self.width, None, {"size": size, "stride": stride}, size)

    def flatten(self, config: Config) -> None:
        if self.frames is None:
            raise self._refused("how many frames it flattens is not said")
        self._add("flatten", self.width * self.frames, None, {"order": "frames"})
        self.frames = 1

    def plain(self, config: Config, word: str) -> None:
        self._add(word, self.width)


def _alone(cell: str, reader: _Reader, config: Config) -> None:
    reader.recurrent(config, ("cell.",), cell)


#: Cells, alone and inside Bidirectional.
CELLS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
LAYERS: Mapping[str, Callable[[_Reader, Config], None]] = MappingProxyType(
    {
        "Dense": _Reader.dense,
        "Conv1D": _Reader.conv1d,
        "BatchNormalization": _Reader.batch_normalization,
        "LayerNormalization": _Reader.layer_normalization,
        **{name: partial(_alone, cell) for name, cell in CELLS.items()},
        "Bidirectional": _Reader.bidirectional,
        "MaxPooling1D": lambda reader, config: reader.pool(config, "max_pool"),
        "AveragePooling1D": lambda reader, config: reader.pool(config, "avg_pool"),
        "GlobalAveragePooling1D": lambda reader, config: reader.plain(config, "mean"),
        "GlobalMaxPooling1D": lambda reader, config: reader.plain(config, "max"),
        "Flatten": _Reader.flatten,
        "Activation": lambda reader, config: reader._activated(config["activation"]),
        "ReLU": _Reader.relu,
        "Softmax": lambda reader, config: reader._activated("softmax"),
        "LeakyReLU": lambda reader, config: reader._add(
            "leaky_relu", reader.width, None, {"slope": float(config.get("negative_slope", config.get("alpha", 0.3)))}
        ),
        **dict.fromkeys(("Dropout", "SpatialDropout1D", "GaussianNoise", "ActivityRegularization"), lambda reader, config: None),
    }
)
