"""A list of layers in a network's metadata, as the checker reads it: the language's own reading of it and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.evidence.test_layers import other
from tests.runtime.network.test_layers import MODELS, M, N, saved
from vlang.lower.spec import compile_spec
from vlang.text.source import Source
from vlang.vcheck.listing import same


def claimed(folder: Path, name: str) -> list[dict[str, Any]]:
    saved(name, folder)
    text = f'rspec 1\nnetwork net {{ checkpoint = "net.safetensors", layers = {MODELS[name][1]} }}\ninput x {{ values = {[[0] * N] * M} }}\n'
    text += "verify q { network = net, input = x, perturbation = { frames = all, norm = 2 }, eps = 1 }\n"
    plan = compile_spec(Source(str(folder / "q.rspec"), text)).queries[0].variants[0].network
    found: list[dict[str, Any]] = json.loads(json.dumps(plan.architecture.reading()))["layers"]
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_list_names_its_own_layers_and_settings_alone(name: str, tmp_path: Path) -> None:
    layers, text = claimed(tmp_path, name), MODELS[name][1]
    assert same(text, layers)
    assert not same(text, layers[:-1])
    for k, layer in enumerate(layers):
        for key in set(layer) - {"layer", "of", "prefix", "layers", "directions", "initial"}:
            assert not same(text, [*layers[:k], layer | {key: other(layer[key])}, *layers[k + 1 :]]), (layer, key)


def test_what_is_written_in_other_ways_is_the_same() -> None:
    pool = {"layer": "avg_pool2d", "of": [0], "size": [2, 1], "stride": 0}
    layers: list[dict[str, Any]] = [{"layer": "normalize", "of": [-1], "mean": [0.5, 1.0], "std": 0.25}, pool]
    layers.append({"layer": "linear", "of": [1], "prefix": "fc."})
    for text in (
        '[normalize(mean = [1/2, 1], std = 25%), avg_pool2d(size = [2, 1]), linear("fc")]',
        "[normalize(std=.25,mean=[.5,1e0]) avg_pool2d(size=[2 1]) linear]",
    ):
        assert same(text, layers), text
    for text in ("", "[", "[normalize(mean = [0.5, 1], std = 0.25), avg_pool2d(size = 2), linear]", "[normalize, avg_pool2d, linear]", "[(]"):
        assert not same(text, layers), text
    assert not same("[max]", [{"layer": "max_pool", "of": [-1], "size": 2, "stride": 0}])
    assert same("[rnn]", [{"layer": "rnn_relu", "of": [-1], "prefix": "", "layers": 1, "directions": 1, "initial": []}])
