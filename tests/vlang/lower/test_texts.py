"""Files of texts: every format says the same, lines are found again, and what is wrong is told by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vlang.lower.spec import compile_spec
from vlang.plan import TextsInput
from vlang.results import Row
from vlang.runtime.execute import execute
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source

LINES = [("up", "the cat sat"), ("down", 'a "dog" ran'), ("up", "sat"), ("down", "the dog sat down"), ("up", "a cat ran")]
WORDS = ("<unk>", "the", "a", "cat", '"dog"', "dog", "sat", "ran")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    rnn, out = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)
    state = {"embedding.weight": torch.randn(len(WORDS), 4), **{f"rnn.{k}": v for k, v in rnn.state_dict().items()}}
    state |= {f"out.{k}": v for k, v in out.state_dict().items()}
    save_file(state, tmp_path / "net.safetensors", {"labels": json.dumps(["up", "down"]), "vocabulary": json.dumps(WORDS)})
    files = {
        "plain.tsv": "".join(f"{label}\t{text}\n" for label, text in LINES),
        "named.tsv": "id\tsentence\tlabel\n" + "".join(f"{i}\t{text}\t{label}\n" for i, (label, text) in enumerate(LINES)),
        "plain.txt": "\n".join(f"{label}\t{text}" for label, text in LINES) + "\n\n",
        "numbers.csv": "text,label\n" + "".join('"{}",{}\n'.format(text.replace('"', '""'), int(label == "down")) for label, text in LINES),
        "lines.jsonl": "".join(json.dumps({"text": text, "label": label, "id": 3}) + "\n" for label, text in LINES),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def compiled(folder: Path, source: str, dataset: str = "", rest: str = "") -> str:
    return f"""rspec 1
network net {{ checkpoint = "net.safetensors"{rest} }}
dataset d {{ source = "{source}"{dataset} }}
radius q {{ network = net, input = d, perturbation = {{ frames = each, norm = 2 }}, engine = {{ method = planes }} }}
"""


def answers(folder: Path, *asked: str) -> list[Row]:
    return list(execute(compile_spec(Source(str(folder / "q.rspec"), compiled(folder, *asked))), "test").queries[0].rows)


@pytest.mark.parametrize("source", ["named.tsv", "plain.txt", "numbers.csv", "lines.jsonl"])
def test_every_format_says_the_same(source: str, folder: Path) -> None:
    def told(rows: list[Row]) -> list[tuple[object, ...]]:
        return [(r.sample, r.label, r.frames, r.tokens, r.size, r.question) for r in rows]

    wanted = told(answers(folder, "plain.tsv"))
    assert [(sample, frames) for sample, _, frames, *_ in wanted] == [
        (i, (k,)) for i, (_, text) in enumerate(LINES) for k in range(len(text.split()))
    ]
    assert [label for _, label, frames, *_ in wanted if frames == (0,)] == [label for label, _ in LINES]
    assert told(answers(folder, source)) == wanted


def test_texts_of_one_length_are_asked_about_together(folder: Path) -> None:
    plan = compile_spec(Source(str(folder / "q.rspec"), compiled(folder, "plain.tsv", ", pick = [1:5]")))
    inputs = [v.input for v in plan.queries[0].variants]
    assert all(isinstance(x, TextsInput) for x in inputs)
    assert [x.indices for x in inputs if isinstance(x, TextsInput)] == [(2,), (1, 4), (3,)]


def test_a_text_of_a_file_is_answered_as_one_of_a_spec(folder: Path) -> None:
    rows = answers(folder, "plain.tsv")
    text = compiled(folder, "plain.tsv").replace('dataset d { source = "plain.tsv" }', 'input d { text = "the dog sat down", label = down }')
    alone = execute(compile_spec(Source(str(folder / "q.rspec"), text)), "test").queries[0].rows
    ours = [r for r in rows if r.sample == 3]
    assert [(r.size, r.tokens, r.question) for r in ours] == [(r.size, r.tokens, r.question) for r in alone]


def test_only_correct_ones_and_coverage_are_of_the_whole_file(folder: Path) -> None:
    every, correct = answers(folder, "plain.tsv"), answers(folder, "plain.tsv", ", where = correct")
    assert [(r.sample, r.frames) for r in every if r.correct] == [(r.sample, r.frames) for r in correct]
    found = execute(compile_spec(Source(str(folder / "q.rspec"), compiled(folder, "plain.tsv"))), "test").queries[0]
    (coverage,) = found.coverage
    assert (coverage.correct, coverage.of) == (len({r.sample for r in correct}), len(LINES))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.tsv", "up\tthe cat\nsideways\tthe dog\n", "line 2: no class is called 'sideways'"),
        ("a.tsv", "up\tthe cat\nup\t \n", "line 2: the text has no tokens"),
        ("a.tsv", "up\tthe\tcat\n", "line 1 of a.tsv has other columns"),
        ("a.tsv", "sentence\tlabel\nthe cat\tup\nthe dog\n", "line 3 has too few columns"),
        ("a.tsv", "text\tsentence\tlabel\na\tb\tup\n", "text"),
        ("a.csv", 'text,label\n"the cat,up\n', "line"),
        ("a.jsonl", '{"text": "the cat", "label": "up"}\n{"txt": "a"}\n', "line 2"),
        ("a.jsonl", "[1]\n", "line 1"),
        ("a.jsonl", '{"text": "a", "text": "the", "label": "up"}\n', "a key stands in it twice"),
        ("a.tsv", "id\ttext\n1\tthe cat\n", "names no label"),
        ("a.csv", "label,words\nup,the cat\n", "names no text"),
        ("a.jsonl", '{"text": "a", "label": "up"}\n{"text": "a"}\n', "line 2 has no label"),
        ("a.tsv", "\n\n", "no lines"),
        ("a.tsv", "7\tthe cat\n", "line 1: class 7 does not exist"),
        ("a.csv", "text,label\nthe cat," + "7" * 5000 + "\n", "no class is called"),
        ("a.jsonl", '{"text": "the cat", "label": true}\n', "line 1"),
        ("a.jsonl", '{"text": "\\ud800 cat", "label": "up"}\n', "line 1"),
    ],
)
def test_what_is_wrong_is_told_by_line(name: str, content: str, why: str, folder: Path) -> None:
    (folder / name).write_text(content)
    with pytest.raises(SpecError) as caught:
        compile_spec(Source(str(folder / "q.rspec"), compiled(folder, name)))
    assert [x for x in caught.value.diagnostics if why in x.message], caught.value.diagnostics


def test_unknown_words_are_said_or_forbidden(folder: Path) -> None:
    rows = answers(folder, "plain.tsv")
    assert next(r for r in rows if r.sample == 3 and r.frames == (3,)).tokens == ("down -> <unk>",)
    with pytest.raises(SpecError) as caught:
        compile_spec(Source(str(folder / "q.rspec"), compiled(folder, "plain.tsv", "", ", unknown = error")))
    assert [x.message for x in caught.value.diagnostics] == ["line 4: 1 of 4 words is not in the vocabulary: down"]


@pytest.mark.parametrize(("name", "content"), [("a.csv", "text,label\nthe cat,2\n"), ("a.jsonl", '{"text": "the cat", "label": 2}\n')])
def test_a_number_is_a_name_where_classes_are_called_by_numbers(name: str, content: str, folder: Path) -> None:
    (folder / name).write_text(content)
    assert {r.label for r in answers(folder, name, "", ', labels = ["2", "1"]')} == {"2"}
    (folder / name).write_text(content.replace("2", "0"))
    with pytest.raises(SpecError) as caught:
        answers(folder, name, "", ', labels = ["2", "1"]')
    assert "no class is called '0'" in caught.value.diagnostics[0].message


def test_another_token_may_stand_for_unknown_words(folder: Path) -> None:
    row = next(r for r in answers(folder, "plain.tsv", "", ', unknown = "cat"') if r.sample == 3 and r.frames == (3,))
    assert row.tokens == ("down -> cat",)
    with pytest.raises(SpecError) as caught:
        answers(folder, "plain.tsv", "", ', unknown = "[UNK]"')
    assert "[UNK]" in caught.value.diagnostics[0].message


def test_lines_end_where_they_do(folder: Path) -> None:
    """Not at every character that str.splitlines breaks at; Windows' line ends and quoted ones are none of a text's."""
    wanted = [(r.sample, r.tokens, r.size) for r in answers(folder, "plain.tsv")]
    content = (folder / "plain.tsv").read_text()
    (folder / "windows.tsv").write_bytes(b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode())
    assert [(r.sample, r.tokens, r.size) for r in answers(folder, "windows.tsv")] == wanted
    (folder / "odd.tsv").write_text("up\tthe\u2028cat\x85sat\n")
    (folder / "odd.jsonl").write_text(json.dumps({"text": "the\u2028cat sat", "label": "up"}, ensure_ascii=False) + "\n")
    (folder / "odd.csv").write_text('text,label\n"the cat\nsat",up\n')
    for source in ("odd.tsv", "odd.jsonl", "odd.csv"):
        assert [r.sample for r in answers(folder, source)] == [0, 0, 0]


def test_keys_of_arrays_do_not_apply(folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        compile_spec(Source(str(folder / "q.rspec"), compiled(folder, "plain.tsv", ", frames = 3")))
    assert "'frames' does not apply" in caught.value.diagnostics[0].message
    (folder / "latin.tsv").write_bytes("up\tthe café\n".encode("latin-1"))
    with pytest.raises(SpecError) as caught:
        compile_spec(Source(str(folder / "q.rspec"), compiled(folder, "latin.tsv")))
    assert "no UTF-8" in caught.value.diagnostics[0].message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", '{"text": "sat", "label": -1}\n', "class -1 does not exist"),
        ("x.jsonl", '{"text": "sat", "label": 2}\n', "class 2 does not exist"),
        ("x.tsv", "-1\tsat\n", "-1"),
        ("x.tsv", "\u0661\tsat\n", "\u0661"),
        ("x.tsv", "01\tsat\n", "01"),
        ("x.jsonl", '{"text": "sat", "gold": "up"}\n', "none is a label's"),
        ("x.jsonl", '{"text": "sat", "TEXT": "ran"}\n', "capitals alone"),
    ],
)
def test_labels_that_are_none_are_errors(name: str, content: str, message: str, folder: Path) -> None:
    (folder / name).write_text(content)
    with pytest.raises(SpecError) as caught:
        answers(folder, name)
    assert message in str(caught.value)


def test_keys_are_found_in_capitals(folder: Path) -> None:
    (folder / "x.jsonl").write_text('{"Text": "sat", "Label": "down"}\n{"Text": "ran", "Label": 0}\n')
    assert [r.label for r in answers(folder, "x.jsonl")] == ["down", "up"]
