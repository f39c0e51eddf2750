"""Who computes with a word has a table of the same keys as vlang/words: nothing is half added."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import FAMILIES
from vlang.formats import FORMATS, PAGES
from vlang.formats.pictures import KINDS as PICTURES
from vlang.judge.values import AGGREGATES
from vlang.lower.queries import VARIANTS
from vlang.results import ROWS, SpectrumRow
from vlang.runtime.attacks import ATTACKS
from vlang.runtime.graph.enclosure import FUNCTIONS
from vlang.runtime.methods.table import BOUNDS, METHODS
from vlang.runtime.network.cells import CELLS
from vlang.runtime.network.layers import LAYERS
from vlang.runtime.queries import QUERIES
from vlang.runtime.relaxations import RELAXATIONS
from vlang.typed.conditions import FIELDS
from vlang.typed.layers import WORDS
from vlang.typed.signatures import KINDS
from vlang.vcheck.functions import VALUES
from vlang.vcheck.layers import LAYERS as CHECKED_LAYERS
from vlang.vcheck.network import CELLS as CHECKED
from vlang.words import aggregates, attacks, cells, formats, layers, matrices, methods, queries


def test_cells() -> None:
    assert set(CELLS) == set(cells.CELLS) == set(CHECKED)
    for word, cell in cells.CELLS.items():
        assert (CHECKED[word].gates, CHECKED[word].states, dict(CHECKED[word].more)) == (cell.rows, cell.states, dict(cell.more))


def test_the_tests_have_a_network_of_every_cell_that_a_state_dict_may_hold() -> None:
    assert set(FAMILIES) == {cell.family for cell in cells.CELLS.values()}


def test_methods() -> None:
    assert set(METHODS) == set(methods.computing())
    assert set(BOUNDS) == {method.outputs for method in methods.METHODS.values()}
    for method in methods.METHODS.values():
        assert {*method.ladder, *method.smaller, *method.refinement} <= set(METHODS)


def test_attacks() -> None:
    assert set(ATTACKS) == {word for word, attack in attacks.ATTACKS.items() if not attack.substitutes}


def test_queries() -> None:
    assert set(QUERIES) == set(queries.QUERIES) == set(ROWS)
    assert {*queries.QUERIES, "spectrum"} == set(FIELDS) == {kind for kind, signature in KINDS.items() if signature.query}
    assert set(VARIANTS) == {KINDS[kind].form for kind in queries.QUERIES}


def test_quantities_and_aggregates() -> None:
    assert all(hasattr(SpectrumRow, name) or name in SpectrumRow.__dataclass_fields__ for name in matrices.QUANTITIES)
    assert set(AGGREGATES) == set(aggregates.AGGREGATES)


def test_formats() -> None:
    assert set(PAGES) == set(formats.PAGES)
    assert set(FORMATS) == set(formats.RUNS)
    assert set(PICTURES) == set(formats.PICTURES) - {"auto", "none"}


def test_every_layer_is_in_the_reference() -> None:
    said = (Path(__file__).parents[1] / "grammar/README.md").read_text().split("### Layers")[1].split("\n\n")[2]
    words = set(re.findall(r"`([a-z_0-9]+)", said))
    assert words >= {layer for layer in WORDS if layer != "rnn"}
    for word, layer in layers.LAYERS.items():
        assert all(f"{key} = " in said for key in layer.settings), word


def test_functions() -> None:
    assert set(RELAXATIONS) == set(FUNCTIONS) == set(VALUES) - {"identity", "one"}  # factors of products, to the checker
    assert set(layers.ACTIVATIONS) - {"none"} <= set(RELAXATIONS)


def test_layers() -> None:
    assert set(LAYERS) == set(CHECKED_LAYERS) == {*layers.LAYERS, *cells.CELLS}
    assert {*layers.ACTIVATIONS, *layers.READOUTS, *layers.JOINING} <= set(layers.LAYERS)
    for word, layer in layers.LAYERS.items():
        assert set(CHECKED_LAYERS[word][1]) == set(layer.settings)
