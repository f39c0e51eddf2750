"""Typed network to NetworkPlan: the checkpoint located and read, labels and vocabulary resolved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal

from vlang.array import ArrayPlan
from vlang.convert import READERS
from vlang.convert.converted import ConversionError, Converted, MissingLibraryError
from vlang.lower import files, vocabulary
from vlang.lower.architecture import read as read_architecture
from vlang.lower.checkpoints import checkpoint as read_checkpoint
from vlang.lower.files import Checkpoint
from vlang.lower.tokenizer import Tokenizer
from vlang.lower.tokenizer import read as read_tokenizer
from vlang.plan import NetworkPlan, ReferencePlan
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.typed.tree import Dataset, Network
from vlang.typed.types import Located
from vlang.words.cells import CELLS
from vlang.words.metadata import listed, overridden

#: What stands for words that a vocabulary has not, where nothing else is said.
UNKNOWN = "<unk>"
#: What float32 leaves of a forward pass, with room.
REFERENCE_TOLERANCE = Fraction(1, 10_000)


@dataclass(frozen=True)
class Words:
    """A vocabulary: every token's text, in the order of the embedding's rows. unknown: what stands for words that it has not.

    tokenizer: what makes tokens of a text; without one they are its words.
    """

    tokens: tuple[str, ...]
    unknown: str = UNKNOWN
    tokenizer: Tokenizer | None = None

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The first row of every token."""
        return {w: i for i, w in reversed(list(enumerate(self.tokens)))}


@dataclass(frozen=True)
class LoweredNetwork:
    """A lowered network with what only the language needs. strict: whether every word must be in the vocabulary."""

    plan: NetworkPlan
    words: Words | None
    strict: bool = False


def derive(form: Network, name: str, base: LoweredNetwork) -> LoweredNetwork:
    """A network with another's weights, its recurrent matrices scaled. Raises SpecError."""
    if form.normalize is None:
        raise SpecError(d.missing_key(form.span, "normalize", "a derived network", "what its recurrent matrices are scaled to"))
    others = ("checkpoint", "cell", "activation", "readout", "head", "layers", "reference", "reference_tolerance", "vocabulary", "unknown")
    given = [(key, getattr(form, key)) for key in (*others, "special_tokens", "labels")]
    wrong = [d.does_not_apply(value.span, key, "a derived network is like the one it comes from") for key, value in given if value is not None]
    if wrong:
        raise SpecError(*wrong)
    return replace(base, plan=replace(base.plan, name=name, normalize=form.normalize.value, span=form.normalize.span, reference=None))


def read(form: Network, name: str, folder: Path) -> LoweredNetwork:
    """The network of a checkpoint. Raises SpecError."""
    if form.checkpoint is None:
        raise SpecError(d.missing_key(form.span, "checkpoint", "network", "a .safetensors file, a torch state dict, an .onnx, .keras or .h5 file"))
    if form.normalize is not None:
        raise SpecError(d.does_not_apply(form.normalize.span, "normalize", "only a network derived 'from' another is scaled"))
    path = files.locate(folder, form.source.value, form.source.span)
    kind: Literal["safetensors", "torch", "onnx", "keras"]
    beside: tuple[str, ...] = ()
    if Path(path).suffix in READERS:
        kind, found = _converted(path, form)
        checkpoint, architecture, beside = Checkpoint(path, kind, {}, {}), found.architecture, found.beside
    else:
        checkpoint = read_checkpoint(path, form.source.span)
        kind = "torch" if checkpoint.format == "torch" else "safetensors"
        architecture = read_architecture(checkpoint, form)
    if form.labels is not None:
        labels: tuple[str, ...] | None = tuple(map(str, form.labels.value))
    else:
        labels = listed(checkpoint.metadata, "labels")
    label_span = form.labels.span if form.labels else form.source.span
    if labels is not None and len(labels) != architecture.classes:
        raise SpecError(d.labels_length(label_span, len(labels), architecture.classes))
    if labels is not None and len(set(labels)) != len(labels):
        raise SpecError(d.same_label_twice(label_span, next(x for x in labels if labels.count(x) > 1)))
    fixed = [x.word for x in architecture.recurrent if CELLS[x.word].activation is None]
    if form.activation is not None and fixed:
        raise SpecError(d.does_not_apply(form.activation.span, "activation", f"the activations of {fixed[0]} are fixed"))
    tokenizer = read_tokenizer(form, folder)
    words = vocabulary.read(form, checkpoint, folder) if tokenizer is None else tokenizer.tokens
    if form.vocabulary is not None and architecture.embedding is None:
        raise SpecError(d.does_not_apply(form.vocabulary.span, "vocabulary", "the checkpoint has no embedding table"))
    span = form.vocabulary.span if form.vocabulary else form.source.span
    if words is not None and architecture.embedding is not None and len(words) != architecture.tokens:
        raise SpecError(d.vocabulary_length(span, len(words), architecture.tokens))
    reference = read_reference(form, folder)
    overrides = tuple(sorted(overridden(architecture.reading(), checkpoint.metadata).items()))
    plan = NetworkPlan(name, path, kind, architecture, labels or (), form.source.span, None, checkpoint.inside, reference, overrides, beside)
    strict, token = (False, UNKNOWN) if form.unknown is None else (form.unknown.value is None, form.unknown.value or UNKNOWN)
    if form.unknown is not None and token != UNKNOWN and words is not None and token not in words:
        raise SpecError(d.unknown_token(form.unknown.span, token, None, d.nearest(token, words)))
    if tokenizer is not None:
        return LoweredNetwork(plan, Words(tokenizer.tokens, tokenizer.unknown or "", tokenizer), strict)
    return LoweredNetwork(plan, None if words is None else Words(words, token), strict)


def _converted(path: str, form: Network) -> tuple[Literal["onnx", "keras"], Converted]:
    """A file of another framework, which says all of its layers itself. Raises SpecError."""
    span, format_ = form.source.span, READERS[Path(path).suffix][0]
    said = [(key, getattr(form, key)) for key in ("cell", "activation", "readout", "head", "layers")]
    twice = [d.does_not_apply(x.span, key, f"the {format_} file says it") for key, x in said if x is not None]
    if twice:
        raise SpecError(*twice)
    try:
        return format_, READERS[Path(path).suffix][1](path)
    except MissingLibraryError as e:
        raise SpecError(d.missing_library(span, path, e.library, e.extra)) from None
    except ConversionError as e:
        raise SpecError(d.not_converted(span, path, e.where, e.why)) from None
    except OSError as e:
        raise SpecError(d.unreadable(span, path, files.reason(e))) from None


def read_reference(form: Network | Dataset, folder: Path) -> ReferencePlan | None:
    """The framework's own outputs, where there are some. Raises SpecError."""
    given = form.reference
    if given is None:
        if form.reference_tolerance is not None:
            raise SpecError(d.does_not_apply(form.reference_tolerance.span, "reference_tolerance", "there is no 'reference'"))
        return None
    path = files.locate(folder, given.value, given.span)
    header = files.npy(path, given.span)
    if len(header.shape) not in (1, 2) or 0 in header.shape:
        cure = "expected the network's outputs, [samples, classes]"
        raise SpecError(d.shapes_do_not_fit(given.span, f"the reference has shape {list(header.shape)}", cure))
    tolerance = REFERENCE_TOLERANCE if form.reference_tolerance is None else form.reference_tolerance.value
    return ReferencePlan(ArrayPlan(path, None, header.shape, given.span), tolerance)


def class_number(label: Located[str | int], labels: tuple[str, ...], classes: int) -> int:
    """The number of a class given by name or number. Raises SpecError."""
    value = label.value
    if isinstance(value, str):
        if value not in labels:
            raise SpecError(d.unknown_label(label.span, value, labels or [str(i) for i in range(classes)]))
        return labels.index(value)
    if not 0 <= value < classes:
        raise SpecError(d.label_out_of_range(label.span, value, classes))
    return value
