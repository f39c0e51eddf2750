"""Samples, labels and words as people store them: used, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlang.lower.spec import compile_spec
from vlang.lower.vocabulary import tokens
from vlang.plan import DataError
from vlang.runtime.execute import execute
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source, Span

HERE = Span(1, 1)


def labels_of(world: Path, folder: Path, network: str = "lstm", **arrays: Any) -> list[str | int]:
    """The labels that rows have."""
    np.savez(folder / "d.npz", **arrays)
    text = (
        f'rspec 1\nnetwork net {{ checkpoint = "{world}/{network}.safetensors" }}\ndataset d {{ source = "d.npz", pick = first(3) }}\n'
        "verify q { network = net, input = d, perturbation = { frames = all, norm = 2 }, eps = 1e-9, engine = { method = interval } }\n"
    )
    rows = execute(compile_spec(Source(str(folder / "q.rspec"), text)), "test").queries[0].rows
    return [r.label for r in rows]


@pytest.mark.parametrize(
    "labels", [np.array([2, 0, 1, 1]), np.array(["C", "A", "B", "B"]), np.array([b"C", b"A", b"B", b"B"]), np.array([2, 0, 1, 1], ">i2")]
)
@pytest.mark.parametrize("name", ["labels", "label", "y", "targets"])
def test_labels_are_used_whatever_they_are(labels: np.ndarray, name: str, world: Path, tmp_path: Path) -> None:
    assert labels_of(world, tmp_path, inputs=np.zeros((4, 4, 3), "f4"), **{name: labels}) == ["C", "A", "B"]


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"labels": np.array(["C", "A", "nobody"])}, "label_not_found"),
        ({"labels": np.array([[1, 0, 0]] * 3)}, "R402"),
        ({"labels": np.array([[1.0, 0, 0]] * 3)}, "R402"),
        ({"labels": np.array([1, "x", None], object)}, "R314"),
        ({"labels": np.arange(3), "y": np.arange(3)}, "R316"),
        ({"labels": np.arange(3), "mask": np.arange(3)}, "R315"),
        ({"labels": np.arange(3), "lengths": np.arange(3)}, "R402"),
        ({"labels": np.arange(3), "lengths": np.array([1, 5, 2])}, "R402"),
        ({"labels": np.arange(3), "lengths": np.array([1, 2])}, "R402"),
        ({"labels": np.arange(3), "lengths": np.array([1, 2, 3]), "offsets": np.arange(4)}, "R316"),
        ({"labels": np.arange(3), "names": np.array(["a", "b", "c"])}, "R315"),
        ({"offsets": np.array([0, 3], object)}, "R314"),
    ],
)
def test_what_cannot_be_used_is_refused(arrays: dict[str, Any], code: str, world: Path, tmp_path: Path) -> None:
    with pytest.raises((SpecError, DataError)) as caught:
        labels_of(world, tmp_path, inputs=np.zeros((3, 4, 3), "f4"), **arrays)
    found = caught.value.diagnostics[0].code if isinstance(caught.value, SpecError) else caught.value.problems[0].kind
    assert found == code


@pytest.mark.parametrize("order", ["C", "F"])
def test_samples_of_a_compressed_file_are_those_of_the_array(order: str, world: Path, tmp_path: Path) -> None:
    from vlang.plan import ArrayPlan
    from vlang.runtime.network.load import array

    x = np.asarray(np.random.default_rng(0).standard_normal((9, 4, 3)), order=order)  # type: ignore[call-overload]
    np.savez_compressed(tmp_path / "d.npz", inputs=x)
    plan = ArrayPlan(str(tmp_path / "d.npz"), "inputs", x.shape, HERE)
    for rows in (None, [0], [7, 2, 2, 8], list(range(9))):
        assert np.array_equal(array(plan, rows), x if rows is None else x[rows])


def test_tokens_stand_without_what_surrounds_them() -> None:
    wanted = ("<unk>", "the", "cat")
    for text in (
        "<unk>\nthe\ncat\n",
        "\ufeff<unk>\r\nthe\r\ncat",
        "<unk> \nthe\xa0\ncat\t\n",
        json.dumps(["<unk>", "the", "cat"]),
        json.dumps({"cat": 2, "<unk>": 0, "the": 1}),
        json.dumps({"0": "<unk>", "2": "cat", "1": "the"}),
    ):
        assert tokens(text, HERE) == wanted


@pytest.mark.parametrize(
    "text",
    ["the 0.1 0.2\ncat 0.3 0.4\n", "the 12\ncat 3\n", "the\ncat\nthe \n", '{"the": 3, "cat": 9}', '{"model": {"vocab": {"a": 0}}}', '{"a": "b"}'],
)
def test_files_that_are_no_vocabulary_are_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        tokens(text, HERE)
    assert caught.value.diagnostics[0].code == "R435"


def test_unknown_words_are_shown_counted_and_forbidden(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vlang.cli import main

    words = (world / "words.txt").read_text().split("\n")
    (world / "unknown.txt").write_text("\n".join(["<unk>", *words[1:]]))
    body = (
        f'input words {{ text = "{words[1]} zzzyx" }}\n'
        "verify q { network = net, input = words, perturbation = { frames = each, norm = 2 }, eps = 1e-9, engine = { method = interval } }\n"
    )
    path = world / "unknown.rspec"
    path.write_text('rspec 1\nnetwork net { checkpoint = "mute.safetensors", vocabulary = "unknown.txt" }\n' + body)
    assert main([str(path)]) == 0
    out, err = capsys.readouterr()
    assert "zzzyx -> <unk>" in out
    assert "1 of 2 words" in err
    path.write_text('rspec 1\nnetwork net { checkpoint = "mute.safetensors", vocabulary = "unknown.txt", unknown = error }\n' + body)
    assert main([str(path)]) == 2
    assert "R436" in capsys.readouterr().err
