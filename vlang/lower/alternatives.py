"""A file of alternatives: words, and what each may become."""

from __future__ import annotations

from pathlib import Path

from vlang.lower import files
from vlang.lower.networks import LoweredNetwork
from vlang.lower.once import Once, refuse
from vlang.lower.samples import check_words
from vlang.lower.tokenizer import Tokenizer
from vlang.perturbation import AlternativesPlan
from vlang.text import diagnostics as d
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Span
from vlang.typed.sets import Alternatives
from vlang.typed.types import Located

#: So many errors of a file are told.
MOST_ERRORS = 10
#: Numbers of tokens by word.
Listed = tuple[tuple[str, tuple[int, ...]], ...]


def plan(once: Once, given: Located[Alternatives], network: LoweredNetwork, folder: Path) -> AlternativesPlan:
    """Raises SpecError."""
    check_words(once, network, given.span)
    assert network.words is not None
    said = given.value
    if said.file is None:
        most = len(network.words.tokens) - 1
        once(
            refuse,
            said.nearest > most,
            d.out_of_range,
            given.span,
            "k in nearest(k)",
            str(said.nearest),
            f"at most {most}, the other words there are",
        )
        return AlternativesPlan(nearest=said.nearest, words=network.words.tokens)
    path = files.locate(folder, said.file, given.span)
    if network.words.tokenizer is not None:
        return AlternativesPlan(once(_tokens, path, given.span, network.words.tokenizer), path=path, words=network.words.tokens, exact=True)
    listed, unknown = once(_read, path, given.span, network)
    return AlternativesPlan(listed, path=path, words=network.words.tokens, unknown=unknown)


def _tokens(path: str, span: Span, tokenizer: Tokenizer) -> Listed:
    """Of words that are single tokens, each by its token. Raises SpecError."""
    found: dict[str, dict[int, None]] = {}
    errors: list[Diagnostic] = []
    for word, others in _json(path, span).items():
        numbers = [tokenizer.alone(x) for x in (word, *others)]
        for said, number in zip((word, *others), numbers, strict=True):
            if number is None:
                cure = "leave it out, or write words = nearest(k): what takes the place of a word is one token, the same anywhere in a text"
                errors.append(d.shapes_do_not_fit(span, f"{Path(path).name}: '{said}' is not one token of the tokenizer", cure))
        own, *rest = numbers
        if own is not None:
            found.setdefault(tokenizer.tokens[own], {}).update((x, None) for x in rest if x is not None)
    if errors:
        raise SpecError(*errors[:MOST_ERRORS])
    return tuple((token, tuple(ids)) for token, ids in found.items())


def _read(path: str, span: Span, network: LoweredNetwork) -> tuple[Listed, tuple[str, ...]]:
    """The numbers of every word's alternatives, and those that the vocabulary has not. Raises SpecError."""
    table = _json(path, span)
    assert network.words is not None
    numbers, unknown_token = network.words.numbers, network.words.unknown
    found: dict[str, tuple[int, ...]] = {}
    errors: list[Diagnostic] = []
    unknown: dict[str, None] = {}
    for word, others in table.items():
        ids: dict[int, None] = {}
        if len(word.split()) != 1:
            cure = "a text is looked at word by word: leave it out"
            errors.append(d.shapes_do_not_fit(span, f"{Path(path).name}: '{word}' is {len(word.split())} words", cure))
        for other in others:
            number = numbers.get(other, numbers.get(other.lower()))
            if number is None:
                unknown[other] = None
                number = numbers.get(unknown_token)
            if len(other.split()) != 1:
                cure = "an alternative takes the place of a word: write one word"
                errors.append(d.shapes_do_not_fit(span, f"{Path(path).name}: '{other}', for '{word}', is {len(other.split())} words", cure))
            elif number is None or network.strict:
                if other in unknown:
                    cure = 'leave it out, or say what stands for words that the vocabulary has not: network { unknown = "[UNK]" }'
                    errors.append(d.shapes_do_not_fit(span, f"{Path(path).name}: '{other}', for '{word}', is not in the vocabulary", cure))
                elif number is not None:
                    ids[number] = None
            else:
                ids[number] = None
        found[word] = tuple(ids)
    if errors:
        raise SpecError(*errors[:MOST_ERRORS])
    return tuple(found.items()), tuple(unknown)


def _json(path: str, span: Span) -> dict[str, list[str]]:
    """Raises SpecError."""
    name, text = Path(path).name, files.read_text(path, span)
    try:
        held = files.strictly(text)
        if not isinstance(held, dict) or not held:
            raise TypeError("it is no record of words")
        for word, others in held.items():
            if not isinstance(others, list) or not all(isinstance(x, str) for x in others):
                raise TypeError(f'what stands for {word!r} is no list of words such as ["movie", "picture"]')
    except (ValueError, TypeError, RecursionError) as e:
        raise SpecError(d.damaged(span, name, "file of alternatives", str(e))) from None
    return held
