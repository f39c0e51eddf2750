"""The table of cells. To add one: write its equations in a file here, add its line here and its word to vlang/words/cells.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlang.runtime.network.cells.base import Cell, CellWeights
from vlang.runtime.network.cells.gru import Gru
from vlang.runtime.network.cells.gru_before import GruBefore
from vlang.runtime.network.cells.lstm import Lstm
from vlang.runtime.network.cells.lstm_peephole import LstmPeephole
from vlang.runtime.network.cells.mgu import Mgu
from vlang.runtime.network.cells.rnn import Rnn

CELLS: Mapping[str, Cell] = MappingProxyType(
    {
        "rnn_tanh": Rnn("tanh"),
        "rnn_relu": Rnn("relu"),
        "lstm": Lstm(),
        "gru": Gru(),
        "mgu": Mgu(),
        "gru_before": GruBefore(),
        "lstm_peephole": LstmPeephole(),
    }
)

__all__ = ["CELLS", "Cell", "CellWeights"]
