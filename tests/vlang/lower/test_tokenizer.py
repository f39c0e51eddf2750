"""Vocabularies that are tokenizers: tokens and numbers are the library's, and what would be read in two ways is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn

from vlang.lower.spec import compile_spec
from vlang.plan import Plan, TextInput
from vlang.runtime.execute import execute
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source

TEXTS = ["the cat sat on the mat", "a dog ran after the cat", "unaffable cats are running", "The café of Zoë"]


def word_level() -> Tokenizer:
    found = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    found.normalizer, found.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    found.train_from_iterator(TEXTS[:2], trainers.WordLevelTrainer(special_tokens=["[UNK]", "[CLS]", "[SEP]"]))
    return found


def word_piece() -> Tokenizer:
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.normalizer, found.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    found.train_from_iterator(TEXTS[:3], trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]", "[CLS]", "[SEP]"]))
    return found


def byte_pairs() -> Tokenizer:
    found = Tokenizer(models.BPE())
    found.pre_tokenizer, found.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    return found


def unigram() -> Tokenizer:
    found = Tokenizer(models.Unigram())
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.train_from_iterator(TEXTS[:3], trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>"))
    return found


def saved(folder: Path, tokenizer: Tokenizer) -> None:
    """Beside a network whose embedding has its rows."""
    torch.manual_seed(0)
    count = tokenizer.get_vocab_size(with_added_tokens=True)
    rnn, out = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)
    state = {"embedding.weight": torch.randn(count, 4), **{f"rnn.{k}": v for k, v in rnn.state_dict().items()}}
    save_file(state | {f"out.{k}": v for k, v in out.state_dict().items()}, folder / "net.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))


def asked(folder: Path, text: str, rest: str = "") -> Plan:
    return compile_spec(
        Source(
            str(folder / "q.rspec"),
            f"""rspec 1
network net {{ checkpoint = "net.safetensors", vocabulary = "tokenizer.json"{rest} }}
input t {{ text = {json.dumps(text, ensure_ascii=False)} }}
radius q {{ network = net, input = t, perturbation = {{ frames = each, norm = 2 }}, engine = {{ method = planes }} }}
""",
        )
    )


def read(folder: Path, text: str, rest: str = "") -> TextInput:
    (variant,) = asked(folder, text, rest).queries[0].variants
    assert isinstance(variant.input, TextInput)
    return variant.input


@pytest.mark.parametrize("make", [word_level, word_piece, byte_pairs, unigram])
def test_tokens_are_those_of_the_library(make: Callable[[], Tokenizer], tmp_path: Path) -> None:
    tokenizer = make()
    saved(tmp_path, tokenizer)
    for text in (*TEXTS[:3], "A  DOG sat,\tthe cats ran"):
        wanted, found = tokenizer.encode(text), read(tmp_path, text)
        assert found.ids == tuple(wanted.ids)
        assert len(found.tokens) == len(wanted.tokens)
        assert all(
            shown in (token, f"{text[a:b]} -> {token}") for shown, token, (a, b) in zip(found.tokens, wanted.tokens, wanted.offsets, strict=True)
        )
    (query,) = execute(asked(tmp_path, TEXTS[0]), "test").queries
    assert len(query.rows) == len(tokenizer.encode(TEXTS[0]).ids)
    assert all(r.verdict == "certified" for r in query.rows)


def test_what_is_unknown_is_told_or_forbidden(tmp_path: Path) -> None:
    saved(tmp_path, word_level())
    found = read(tmp_path, "the zebra sat")
    assert found.unknown == ("zebra",)
    assert found.tokens == ("the", "zebra -> [UNK]", "sat")
    with pytest.raises(SpecError, match="zebra"):
        read(tmp_path, "the zebra sat", ", unknown = error")
    with pytest.raises(SpecError, match="says itself"):
        read(tmp_path, "the zebra sat", ', unknown = "[UNK]"')


def test_what_it_drops_is_an_error(tmp_path: Path) -> None:
    """Byte pairs of characters, without a token for those that it has never seen."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(TEXTS[:2], trainers.BpeTrainer(vocab_size=60))
    saved(tmp_path, tokenizer)
    assert read(tmp_path, "the cat").ids
    with pytest.raises(SpecError, match="leaves out 'zz'"):
        read(tmp_path, "the zz cat")


def test_special_tokens_are_asked_about(tmp_path: Path) -> None:
    tokenizer = word_level()
    marks = [(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    saved(tmp_path, tokenizer)
    with pytest.raises(SpecError, match="adds tokens to a text"):
        read(tmp_path, "the cat")
    assert read(tmp_path, "the cat", ", special_tokens = none").tokens == ("the", "cat")
    assert read(tmp_path, "the cat", ", special_tokens = add").tokens == ("[CLS]", "the", "cat", "[SEP]")


def _padding(t: Tokenizer) -> None:
    t.enable_padding(length=9)


def _truncation(t: Tokenizer) -> None:
    t.enable_truncation(2)


def _dropout(t: Tokenizer) -> None:
    t.model.dropout = 0.5


@pytest.mark.parametrize(
    ("make", "change", "why"), [(word_level, _padding, "fills up"), (word_level, _truncation, "cuts texts"), (byte_pairs, _dropout, "at random")]
)
def test_what_changes_texts_is_refused(make: Callable[[], Tokenizer], change: Callable[[Tokenizer], None], why: str, tmp_path: Path) -> None:
    tokenizer = make()
    saved(tmp_path, tokenizer)
    change(tokenizer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(SpecError, match=why):
        read(tmp_path, "the cat")


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, word_level())
    whole: dict[str, Any] = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole | {"model": {"type": "Mystery", "vocab": {}}}))
    with pytest.raises(SpecError, match="tokenizer"):
        read(tmp_path, "the cat")
    whole["model"]["vocab"]["emu"] = len(whole["model"]["vocab"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    with pytest.raises(SpecError, match="rows"):
        read(tmp_path, "the dog")
    (tmp_path / "tokenizer.json").write_text(json.dumps(["a", "b"]))
    with pytest.raises(SpecError, match=r"no tokenizer\.json"):
        read(tmp_path, "the cat", ", special_tokens = add")
    saved(tmp_path, word_level())
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(SpecError, match="not installed"):
        read(tmp_path, "the cat")


def alternatives(folder: Path, text: str, table: dict[str, list[str]]) -> tuple[str, ...]:
    """What the words of a text become, as the tokens' own names, by place."""
    (folder / "s.json").write_text(json.dumps(table))
    plan = compile_spec(
        Source(
            str(folder / "q.rspec"),
            f"""rspec 1
network net {{ checkpoint = "net.safetensors", vocabulary = "tokenizer.json" }}
input t {{ text = {json.dumps(text)} }}
verify q {{ network = net, input = t, perturbation = {{ words = "s.json", frames = all }} }}
""",
        )
    )
    (row,) = execute(plan, "test").queries[0].rows
    assert row.reason is not None
    return (row.reason,)


def test_words_become_words_that_are_one_token_anywhere(tmp_path: Path) -> None:
    """Not a piece of another word, nor what the tokenizer cuts up or does not know."""
    tokenizer = word_piece()
    saved(tmp_path, tokenizer)
    whole = [w for w in ("the", "cat", "sat", "dog", "ran") if len(tokenizer.encode(w).ids) == 1]
    assert len(whole) >= 2
    one, other = whole[:2]
    longer = f"{one}zq"
    assert len(tokenizer.encode(longer).ids) > 1 or tokenizer.encode(longer).tokens == ["[UNK]"]
    (reason,) = alternatives(tmp_path, f"{one} {one.upper()} {one}s", {one: [other]})
    assert reason.startswith("not where") or "2 of" in reason  # the third begins with it, and is another word
    for table in ({one: [longer]}, {longer: [one]}, {one: ["\u2603"]}, {one: [f"{one} {other}"]}):
        with pytest.raises(SpecError, match="not one token"):
            alternatives(tmp_path, f"{one} {one}", table)
    saved(tmp_path, byte_pairs())
    with pytest.raises(SpecError, match="not one token"):  # 'cat' at the beginning of a text is another one than behind a space
        alternatives(tmp_path, "the cat", {"cat": ["dog"]})


def test_a_text_is_whole_wherever_it_stands(tmp_path: Path) -> None:
    """Spaces around it are a part of it for some tokenizers."""
    tokenizer = byte_pairs()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    saved(tmp_path, tokenizer)
    texts = [" the cat", "the cat ", "the cat"]
    assert len({tuple(tokenizer.encode(x).ids) for x in texts}) == 3
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": x}) + "\n" for x in texts))
    (tmp_path / "t.txt").write_text("".join(x + "\n" for x in texts))
    for name in ("t.jsonl", "t.txt"):
        spec = asked(tmp_path, "x").path
        text = Path(spec)
        plan = compile_spec(
            Source(
                str(text),
                f"""rspec 1
network net {{ checkpoint = "net.safetensors", vocabulary = "tokenizer.json" }}
dataset t {{ source = "{name}" }}
radius q {{ network = net, input = t, perturbation = {{ frames = all, norm = 2 }}, engine = {{ method = planes }} }}
""",
            )
        )
        found = {i: x.ids for v in plan.queries[0].variants for x, i in zip(v.input.texts, v.input.indices, strict=True)}  # type: ignore[union-attr]
        assert [found[i] for i in range(3)] == [tuple(tokenizer.encode(x).ids) for x in texts]
    with pytest.raises(SpecError):
        read(tmp_path, "  ")


def test_a_tokenizer_without_its_unknown_token_reads_what_it_knows(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"the": 0, "cat": 1, "sat": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    saved(tmp_path, tokenizer)
    assert read(tmp_path, "the cat sat").ids == (0, 1, 2)
    with pytest.raises(SpecError, match="fails at this text"):
        read(tmp_path, "the dog sat")
