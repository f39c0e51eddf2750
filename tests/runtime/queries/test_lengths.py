"""Sequences of several lengths in one query: as padded arrays, as ragged ones, and each alone, rows are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.brute import N, net, rows
from vlang.results import Row
from vlang.text.diagnostics import SpecError

LENGTHS = (3, 5, 3, 1, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One dataset twice: ragged, and padded with numbers that would change every answer."""
    g = np.random.default_rng(0)
    net(tmp_path, 0)
    sequences = [g.normal(size=(n, N)).astype(np.float32) for n in LENGTHS]
    padded = np.full((len(LENGTHS), 6, N), 9.0, dtype=np.float32)
    for i, x in enumerate(sequences):
        padded[i, : len(x)] = x
    labels = np.arange(len(LENGTHS)) % 3
    np.savez(tmp_path / "ragged.npz", inputs=np.concatenate(sequences), offsets=np.cumsum([0, *LENGTHS]), labels=labels)
    np.savez(tmp_path / "padded.npz", inputs=padded, lengths=np.array(LENGTHS), labels=labels)
    return tmp_path


def ask(folder: Path, file: str, input_: str = "d", more: str = "frames = all") -> list[Row]:
    text = f'dataset d {{ source = "{file}.npz" }}\n'
    return rows(folder, text + f"bounds b {{ network = net, input = {input_}, perturbation = {{ {more}, norm = 2 }}, eps = 0.1 }}\n")


def test_padding_is_no_part_of_a_sample(folder: Path) -> None:
    ragged, padded = ask(folder, "ragged"), ask(folder, "padded")
    assert [r.sample for r in ragged] == list(range(len(LENGTHS)))
    assert [r.frames for r in ragged] == [tuple(range(n)) for n in LENGTHS]
    assert ragged == padded
    alone = [ask(folder, "padded", f"d[{i}]")[0] for i in range(len(LENGTHS))]
    assert [r.size for r in alone] == pytest.approx([r.size for r in padded], rel=1e-12)
    assert [(r.label, r.predicted) for r in alone] == [(r.label, r.predicted) for r in padded]


def test_frames_that_a_sequence_has_not_are_an_error(folder: Path) -> None:
    assert len(ask(folder, "padded", "d[0:3]", "frames = [0:3]")) == 3
    with pytest.raises(SpecError):
        ask(folder, "padded", "d", "frames = [0:3]")


def test_labels_of_padded_steps_are_those_of_the_frames(tmp_path: Path) -> None:
    net(tmp_path, 0)
    g = np.random.default_rng(1)
    x, lengths = g.normal(size=(3, 4, N)).astype(np.float32), np.array([2, 4, 3])
    labels = np.where(np.arange(4) < lengths[:, None], g.integers(0, 3, (3, 4)), -1)
    np.savez(tmp_path / "d.npz", inputs=x, lengths=lengths, labels=labels)
    text = 'dataset d { source = "d.npz" }\n'
    asked = "network = net, input = d, perturbation = { frames = all, norm = 2 }, steps = each, engine = { method = interval }"
    found = rows(tmp_path, text + f"radius r {{ {asked} }}\n")
    assert [(r.sample, r.step, r.label) for r in found] == [(i, t, "abc"[labels[i, t]]) for i in range(3) for t in range(lengths[i])]


TEXTS = [[0, 3, 5], [1, 1, 2, 7, 8], [4, 6, 2]]


def words(folder: Path, dataset: str) -> list[Row]:
    net(folder, 0, 9)
    asked = "network = net, input = d, perturbation = { frames = all, norm = 2 }, eps = 0.1"
    return rows(folder, f"dataset d {{ {dataset} }}\nbounds b {{ {asked} }}\n")


def test_token_numbers_are_the_texts_that_they_are_of(tmp_path: Path) -> None:
    labels, lengths = np.array([0, 1, 2]), np.array([3, 5, 3])
    (tmp_path / "t.tsv").write_text("".join(f"{'abc'[y]}\t{' '.join(f'w{k}' for k in text)}\n" for y, text in zip(labels, TEXTS, strict=True)))
    padded = np.array([text + [0] * (5 - len(text)) for text in TEXTS])
    np.savez(tmp_path / "p.npz", inputs=padded.astype("i4"), lengths=lengths, labels=labels)
    np.savez(tmp_path / "r.npz", inputs=np.concatenate(TEXTS).astype("u1"), offsets=np.cumsum([0, *lengths]), labels=labels)
    wanted = words(tmp_path, 'source = "t.tsv"')
    assert words(tmp_path, 'source = "p.npz"') == wanted
    assert words(tmp_path, 'source = "r.npz"') == wanted
    assert wanted[0].tokens == ("w0", "w3", "w5")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": np.array([[1, 2, 0, 0], [1, 2, 3, 0]])}, "padding, or a part of them?"),
        ({"inputs": np.array([[1, 2], [1, 9]])}, "a token of text 1"),
        ({"inputs": np.array([[1, 2], [1, -1]])}, "a token of text 1"),
        ({"inputs": np.array([[1.0, 2.0]])}, "reads tokens, not values"),
        ({"inputs": np.array([[[1, 2]]])}, "inputs have the shape"),
        ({"inputs": np.array([[1, 2]]), "lengths": np.array([3])}, "lengths do not fit"),
        ({"inputs": np.array([1, 2]), "offsets": np.array([0, 1, 1, 2])}, "text 1 has no tokens"),
        ({"inputs": np.array([1, 2]), "offsets": np.array([0, 1])}, "offsets do not cut"),
        ({"inputs": np.array([[1, 2]]), "labels": np.array([3])}, "the label of sample 0"),
        ({"inputs": np.array([[1, 2]]), "labels": np.array([[1]])}, "labels have the shape"),
        ({"inputs": np.array([[1, 2]]), "labels": np.array(["a"])}, "labels are texts"),
    ],
)
def test_what_is_no_array_of_tokens_is_refused(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(SpecError) as e:
        words(tmp_path, 'source = "t.npz"')
    assert any(message in x.message for x in e.value.diagnostics), [x.message for x in e.value.diagnostics]
