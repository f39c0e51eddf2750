"""Windows of a series: the same rows from a table and from arrays, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.brute import N, net, rows
from vlang.results import Row
from vlang.text.diagnostics import SpecError

SERIES = np.random.default_rng(0).normal(size=(11, N)).round(3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    net(tmp_path, 0)
    lines = [",".join(map(str, row)) for row in SERIES.tolist()]
    (tmp_path / "heading.csv").write_text("\ufeffa, b\n" + "\r\n".join(lines) + "\n\n")
    (tmp_path / "bare.tsv").write_text("\n".join(lines).replace(",", "\t"))
    np.save(tmp_path / "series.npy", SERIES)
    np.savez(tmp_path / "series.npz", x=SERIES)
    return tmp_path


def ask(folder: Path, dataset: str, input_: str = "d") -> list[Row]:
    text = f"dataset d {{ {dataset} }}\n"
    return rows(folder, text + f"bounds b {{ network = net, input = {input_}, perturbation = {{ frames = all, norm = 2 }}, eps = 0.1 }}\n")


def test_windows_are_those_of_the_rows(folder: Path) -> None:
    np.save(folder / "windows.npy", np.stack([SERIES[k : k + 4] for k in range(0, 8, 3)]))
    wanted = ask(folder, 'inputs = "windows.npy"')
    for said in ('source = "heading.csv"', 'source = "bare.tsv"', 'inputs = "heading.csv"', 'inputs = "series.npy"', 'source = "series.npz"'):
        found = ask(folder, f"{said}, window = 4, stride = 3")
        assert [(r.sample, r.size) for r in found] == [(r.sample, r.size) for r in wanted], said
    assert len(ask(folder, 'source = "bare.tsv", window = 4')) == 8
    (last,) = ask(folder, 'source = "bare.tsv", window = 4, stride = 3', "d[2]")
    assert last.size == wanted[2].size


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('source = "heading.csv", stride = 2', "dataset needs 'window'"),
        ('source = "heading.csv", window = 12', "window"),
        ('source = "heading.csv", window = 4, where = correct', "'where' does not apply"),
        ('source = "heading.csv", window = 4, frames = 2', "'frames' does not apply"),
        ('inputs = "windows.npy", window = 4', "the inputs have the shape"),
        ('source = "times.csv", window = 2', "line 2: '2020-01-01' in column 'time' is no number"),
        ('source = "hole.csv", window = 1', "line 2: '' in column 'b' is no number"),
        ('source = "nan.csv", window = 1', "line 3"),
        ('source = "ragged.csv", window = 1', "line 3 has 1 columns"),
        ('source = "wide.csv", window = 1', "3"),
        ('source = "void.csv", window = 1', "no rows"),
        ('source = "pandas.csv", window = 1', "line 1 may be a heading"),
    ],
)
def test_what_is_no_series_is_refused(said: str, message: str, folder: Path) -> None:
    np.save(folder / "windows.npy", np.zeros((3, 4, N)))
    files = {
        "times": "time,b\n2020-01-01,1\n",
        "hole": "a,b\n1,\n",
        "nan": "a,b\n1,2\nnan,2\n",
        "ragged": "3,4\n1,2\n1\n",
        "wide": "1,2,3\n",
        "void": "a,b\n",
    }
    files["pandas"] = "0,1\n0.5,0.25\n"
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    with pytest.raises(SpecError) as e:
        ask(folder, said)
    assert any(message in x.message for x in e.value.diagnostics), [x.message for x in e.value.diagnostics]
