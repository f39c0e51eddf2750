"""Every error the language can report: one constructor each, with a code, a place, a cause and a cure.

R1xx syntax, R2xx names and types, R3xx files, R4xx shapes and data, R5xx the command line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlang.text.printable import printable
from vlang.text.source import Source, Span


@dataclass(frozen=True)
class Diagnostic:
    """One message. `span` is None where no place in a spec is to blame (a bad call)."""

    code: str
    message: str
    hint: str
    span: Span | None

    @property
    def warns(self) -> bool:
        """Whether it is no error, but surely not meant."""
        return self.code.startswith("L")


class SpecError(Exception):
    """Carries diagnostics out of a computation that cannot go on."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(x.message for x in diagnostics))
        self.diagnostics = diagnostics


def render(diagnostic: Diagnostic, source: Source | None) -> str:
    """`file:line:col: error[R203]: message`, the source line with a caret, a hint. Codes L... are no errors."""
    head = f"{'warning' if diagnostic.warns else 'error'}[{diagnostic.code}]: {printable(diagnostic.message)}"
    hint = [f"  hint: {printable(diagnostic.hint)}"] if diagnostic.hint else []
    path = "" if source is None else printable(source.path)
    if source is None or diagnostic.span is None:
        where = "" if source is None else f"{path}: "
        return "\n".join([where + head, *hint])
    span = diagnostic.span
    line = source.lines[span.line - 1] if span.line <= len(source.lines) else ""
    line = "".join(c if c == "\t" or c.isprintable() else "?" for c in line.rstrip("\r"))  # carets stand under single characters
    margin = f"{span.line:>4} | "
    lead = "".join("\t" if c == "\t" else " " for c in line[: span.column - 1])
    caret = " " * (len(margin) - 2) + "| " + lead + "^" * max(1, min(span.length, max(1, len(line) - span.column + 1)))
    return "\n".join([f"{path}:{span.line}:{span.column}: {head}", margin + line, caret, *hint])


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1, 0.6) or difflib.get_close_matches(word.lower(), [k.lower() for k in known], 1, 0.6)
    return next((k for k in known if close and k.lower() == close[0].lower()), None)


def _suggest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    best = nearest(word, known)
    if best is not None:
        return f"did you mean '{best}'?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"known: {shown}" if known else ""


def _list(names: Sequence[str]) -> str:
    shown = [f"'{n}'" for n in names[:6]]
    return ", ".join(shown) + (", ..." if len(names) > 6 else "")


def _or(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


# -- R1xx syntax --------------------------------------------------------------------------------------------------------


def unexpected(span: Span, found: str, expected: str, cure: str | None = None) -> Diagnostic:
    return Diagnostic("R101", f"unexpected {found}", cure or f"expected {expected}", span)


def unclosed(span: Span, bracket: str) -> Diagnostic:
    return Diagnostic("R102", f"'{bracket}' is never closed", f"add the matching '{ {'{': '}', '[': ']', '(': ')'}[bracket] }'", span)


def unexpected_end(span: Span, expected: str) -> Diagnostic:
    return Diagnostic("R103", "the file ends in the middle of an entry", f"expected {expected}", span)


def unterminated_text(span: Span) -> Diagnostic:
    return Diagnostic("R104", "a text is not closed on its line", "end it with '\"'; a quote inside is written \\\"", span)


def strange_character(span: Span, char: str, cure: str | None = None) -> Diagnostic:
    return Diagnostic("R105", f"character {char!r} has no meaning here", cure or "texts stand in double quotes, comments begin with '#'", span)


def not_text(reason: str) -> Diagnostic:
    return Diagnostic("R106", f"this is not a text file: {reason}", "a spec is UTF-8 text", None)


def version_missing() -> Diagnostic:
    return Diagnostic("R107", "the spec does not say its version", "begin it with the line 'rspec 1'", Span(1, 1))


def version_unknown(span: Span, version: str) -> Diagnostic:
    return Diagnostic("R108", f"version {version} of the language is not known", "this release reads 'rspec 1'", span)


def misplaced(span: Span, what: str, where: str) -> Diagnostic:
    return Diagnostic("R109", f"{what} cannot stand here", f"it belongs {where}", span)


def number_too_long(span: Span) -> Diagnostic:
    return Diagnostic("R110", "this number is outside the range of float64", "numbers lie between 1e-300 and 1e300", span)


def too_deep(span: Span) -> Diagnostic:
    return Diagnostic("R111", "the spec is nested too deeply", "a spec needs few levels of brackets and operators", span)


# -- R2xx names and types -----------------------------------------------------------------------------------------------


def unknown_kind(span: Span, kind: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R201", f"unknown kind '{kind}'", _suggest(kind, known), span)


def duplicate_name(span: Span, name: str, first: Span) -> Diagnostic:
    return Diagnostic("R202", f"'{name}' is already declared on line {first.line}", "give one of them another name", span)


def unknown_key(span: Span, key: str, kind: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R203", f"unknown key '{key}' in {kind}", _suggest(key, known), span)


def duplicate_key(span: Span, key: str) -> Diagnostic:
    return Diagnostic("R204", f"'{key}' is given twice", "keep one of them", span)


def missing_key(span: Span, key: str, kind: str, what: str) -> Diagnostic:
    return Diagnostic("R205", f"{kind} needs '{key}'", f"add '{key} = ...': {what}", span)


def unknown_name(span: Span, name: str, what: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R206", f"no {what} is called '{name}'", _suggest(name, known), span)


def wrong_type(span: Span, key: str, wanted: str, found: str) -> Diagnostic:
    return Diagnostic("R207", f"{key} must be {wanted}, not {found}", f"write {wanted}", span)


#: Words of other tools for ours.
MEANT = {"gpu": "cuda", "nvidia": "cuda", "crown": "planes", "ibp": "interval"}


def wrong_word(span: Span, key: str, word: str, known: Sequence[str]) -> Diagnostic:
    best = MEANT[word.lower()] if MEANT.get(word.lower()) in known else nearest(word, known)
    return Diagnostic("R208", f"{key} cannot be '{word}'", f"did you mean '{best}'?" if best else f"one of: {', '.join(known)}", span)


def out_of_range(span: Span, key: str, found: str, wanted: str) -> Diagnostic:
    return Diagnostic("R209", f"{key} is {found}, but must be {wanted}", f"choose a value that is {wanted}", span)


def norm_word(span: Span, word: str, meant: str) -> Diagnostic:
    return Diagnostic("R208", f"norm cannot be '{word}'", f"write norm = {meant}", span)


def norm_below_one(span: Span, p: str) -> Diagnostic:
    return Diagnostic("R210", f"norm is {p}, but an l_p norm needs p >= 1", "write norm = 1, 2, inf or any p >= 1", span)


def conflicting_keys(span: Span, one: str, other: str, kind: str) -> Diagnostic:
    return Diagnostic("R211", f"{kind} has both '{one}' and '{other}'", "keep one of them", span)


def one_of_keys(span: Span, keys: Sequence[str], kind: str) -> Diagnostic:
    return Diagnostic("R212", f"{kind} needs {_or([repr(k) for k in keys])}", f"add '{keys[0]} = ...'", span)


def aggregate_needed(span: Span, name: str, rows: str) -> Diagnostic:
    hint = f"say which: min({name}), max, mean, median, quantile({name}, 5%); or rate, count, all of a condition such as {name} > 0"
    if name.split(".")[-1] in ("found", "certified", "falsified", "unknown"):
        hint = f"say how many: rate({name}), count({name}) or all({name})"
    return Diagnostic("R213", f"'{name}' is one value per row, and there are {rows}", hint, span)


def unknown_field(span: Span, name: str, kind: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R214", f"{kind} has no '{name}'", _suggest(name, known), span)


def unknown_function(span: Span, name: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R215", f"unknown function '{name}'", _suggest(name, known), span)


def not_a_condition(span: Span, found: str) -> Diagnostic:
    return Diagnostic("R216", f"a condition is wanted here, not {found}", "compare it, as in 'min(radius) >= 0.1'", span)


def type_mismatch(span: Span, op: str, left: str, right: str) -> Diagnostic:
    return Diagnostic("R217", f"'{op}' cannot take {left} and {right}", "both sides must be numbers, or both conditions for 'and' / 'or'", span)


def wrong_operand(span: Span, op: str, found: str) -> Diagnostic:
    cure = "compare it, as in not (min(radius) > 0.1)" if op == "not" else "a sign stands before a number"
    return Diagnostic("R217", f"'{op}' cannot take {found}", cure, span)


def bad_arguments(span: Span, name: str, usage: str) -> Diagnostic:
    return Diagnostic("R218", f"{name} is not called like this", f"write {usage}", span)


def nothing_to_sweep(span: Span) -> Diagnostic:
    return Diagnostic("R219", "a sweep needs a list of at least one value", "write sweep perturbation.norm in [1, 2, inf]", span)


def unknown_sweep(span: Span, path: str, known: Iterable[str]) -> Diagnostic:
    known = list(known)
    within = [k for k in known if k.endswith(f".{path}")]  # a key of a record that the query refers to
    return Diagnostic("R220", f"'{path}' cannot be swept", f"did you mean '{within[0]}'?" if within else _suggest(path, known), span)


def unknown_param(name: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R221", f"-p {name}: the spec has no param '{name}'", _suggest(name, known), None)


def bad_param(name: str, reason: str) -> Diagnostic:
    return Diagnostic("R222", f"-p {name}: {reason}", "give a value as it would stand in the spec, e.g. -p eps=8/255", None)


def division_by_zero(span: Span) -> Diagnostic:
    return Diagnostic("R223", "division by zero", "the divisor must not be 0", span)


def reserved_name(span: Span, name: str) -> Diagnostic:
    return Diagnostic("R224", f"'{name}' is a word of the language and cannot be a name", "choose another name", span)


def needs_embedding_space(span: Span, space: str, cure: str) -> Diagnostic:
    return Diagnostic("R225", f"space = {space} does not fit this input", cure, span)


def clip_on_embeddings(span: Span) -> Diagnostic:
    return Diagnostic("R226", "a clip makes no sense in embedding space", "leave out 'clip': embeddings have no valid range", span)


def too_large(span: Span, what: str, found: int, most: int) -> Diagnostic:
    return Diagnostic("R227", f"{what}: {found}, at most {most} are allowed", "ask for fewer", span)


def swept_twice(span: Span, path: str) -> Diagnostic:
    return Diagnostic("R228", f"'{path}' is set by another sweep already", "sweep each key once, and not a record together with a key of it", span)


def constant_condition(span: Span) -> Diagnostic:
    return Diagnostic("R229", "this condition is about nothing that was computed", "mention a field of the rows, e.g. min(radius)", span)


def same_point(span: Span, path: str, value: str) -> Diagnostic:
    return Diagnostic("R236", f"the sweep of '{path}' has {value} twice", "name every value once; rows are told apart by them", span)


def named_twice(span: Span, name: str, what: str) -> Diagnostic:
    return Diagnostic("R237", f"'{name}' is {what} twice", "name it once", span)


def same_output(span: Span, path: str, what: str) -> Diagnostic:
    return Diagnostic("R238", f"{path} is {what} already", "choose another path", span)


def no_file_name(span: Span, path: str) -> Diagnostic:
    return Diagnostic("R239", f"'{path}' names no file", 'give the report\'s file a name, as in path = "reports/table.html"', span)


def odd_suffix(span: Span, suffix: str, what: str, cure: str) -> Diagnostic:
    return Diagnostic("R240", f"'{suffix}' is the suffix {what}", cure, span)


def not_a_query(span: Span, name: str, found: str | None, known: Iterable[str]) -> Diagnostic:
    what = f"'{name}' is {found}, not a query" if found else f"no query is called '{name}'"
    return Diagnostic("R231", what, _suggest(name, known), span)


def beyond_share(span: Span, name: str, value: str) -> Diagnostic:
    return Diagnostic("R241", f"{name} is a share, from 0 to 1, and is compared with {value}", f"write {value}% where a percentage is meant", span)


def different_rows(span: Span, one: str, other: str) -> Diagnostic:
    return Diagnostic(
        "R232",
        f"'{one}' and '{other}' have no row in common",
        "queries in one report ask about the same network, input, perturbation and target",
        span,
    )


def same_rows(span: Span, name: str, one: str, other: str) -> Diagnostic:
    return Diagnostic(
        "R243", f"'{one}' and '{other}' ask the same question, and '{name}' is both", "give each a name of its own: rows are told apart by it", span
    )


def different_kinds(span: Span, name: str, one: str, other: str) -> Diagnostic:
    return Diagnostic("R244", f"'{name}' holds rows of {one} and of {other}", "put queries of one kind under a name", span)


def not_a_property(span: Span, why: str, cure: str) -> Diagnostic:
    return Diagnostic("R248", f"this is no property that can be proved: {why}", cure, span)


def misnamed_figures(span: Span, name: str) -> Diagnostic:
    return Diagnostic("R247", f"figures from elsewhere stand under '{name}'", 'write reported = reported("figures.csv")', span)


def unknown_attribute(span: Span, name: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R233", f"these rows have no attribute '{name}'", _suggest(name, known), span)


def needs_path(span: Span, word: str) -> Diagnostic:
    return Diagnostic("R234", f"format = {word} needs a path", f"add 'path = \"report.{word}\"'", span)


def bad_table(span: Span, path: str, reason: str) -> Diagnostic:
    return Diagnostic("R235", f"{path} is no table of figures: {reason}", "write a csv file: a header of column names, then one line a row", span)


def does_not_apply(span: Span, key: str, why: str) -> Diagnostic:
    return Diagnostic("R230", f"'{key}' does not apply: {why}", f"leave out '{key}'", span)


def derived_from_itself(span: Span, name: str) -> Diagnostic:
    return Diagnostic("R242", f"network '{name}' is derived from itself", "derive it from a network with a checkpoint", span)


def gate_needed(span: Span, cell: str, gates: Sequence[str]) -> Diagnostic:
    cure = " or ".join(f"net.gate({g}).weight_hh" for g in gates)
    return Diagnostic("R245", f"{cell} has {len(gates)} recurrent matrices, one a gate", f"write {cure}", span)


def one_sample_needed(span: Span, count: str) -> Diagnostic:
    return Diagnostic("R246", f"a Jacobian is taken along one input, not {count}", "name an input, or one sample of a dataset: data[0]", span)


# -- R3xx files -----------------------------------------------------------------------------------------------------------


def missing_file(span: Span | None, path: str, near: str | None, full: str) -> Diagnostic:
    cure = f"did you mean '{near}'?" if near else "paths are relative to the spec's folder"
    if "://" in path:
        cure = "only files on this machine are read: download it first"
    elif "\\" in path or any(ord(c) < 32 for c in path):
        cure = "write '/' between folders: in a text, '\\' begins an escape such as '\\n'"
    elif "$" in path or path.startswith("%"):
        cure = "variables are not put into paths: write the path, or declare 'param file: text' and give it by vrun -p file=..."
    elif any(c in path for c in "*?["):
        cure = "a path names one file, patterns are not expanded"
    elif path.startswith("~"):
        cure = f"'~' is your home folder: {full}"
    return Diagnostic("R301", f"file not found: {path}", cure, span)


def is_directory(span: Span | None, path: str) -> Diagnostic:
    return Diagnostic("R302", f"{path} is a directory", "name a file inside it", span)


def empty_file(span: Span | None, path: str) -> Diagnostic:
    return Diagnostic("R303", f"{path} is empty", "is the download or the export complete?", span)


def unreadable(span: Span | None, path: str, reason: str) -> Diagnostic:
    return Diagnostic("R304", f"cannot read {path}: {reason}", "check that the file exists and may be read", span)


def damaged(span: Span | None, path: str, what: str, reason: str) -> Diagnostic:
    return Diagnostic("R305", f"{path} is not a readable {what}: {reason}", "export or download it again", span)


def runs_code(span: Span | None, path: str, name: str) -> Diagnostic:
    return Diagnostic(
        "R306", f"{path} would run code when loaded ({name})", "save a plain state dict, or better safetensors; nothing of it was run", span
    )


def unknown_format(span: Span | None, path: str, known: str) -> Diagnostic:
    return Diagnostic("R307", f"the format of {path} is not known", f"use {known}", span)


def unread_tensor(span: Span, path: str, name: str, kind: str) -> Diagnostic:
    cure = "save it as float32 and dense: tensor.to_dense().float(), after dequantize() where it is quantized"
    return Diagnostic("R311", f"tensor '{name}' of {path} is {kind}, which is not read", cure, span)


def several_dicts(span: Span, path: str, names: Sequence[str]) -> Diagnostic:
    what = f"{path} holds several dictionaries of tensors: {', '.join(names)}"
    return Diagnostic("R312", what, "save the one that is meant alone: torch.save(model.state_dict(), ...)", span)


def lfs_pointer(span: Span | None, path: str) -> Diagnostic:
    return Diagnostic("R313", f"{path} is a pointer of git-lfs, not the file itself", "fetch it: git lfs pull", span)


def cannot_write(path: str, reason: str) -> Diagnostic:
    return Diagnostic("R308", f"cannot write {path}: {reason}", "choose a path in an existing folder that may be written", None)


def no_answers(span: Span | None, path: str, reason: str) -> Diagnostic:
    return Diagnostic(
        "R317", f"{path} holds no answers of an earlier run: {reason}", "write one: vrun FILE --json report.json, or vrun baseline update", span
    )


def cannot_replay(what: str) -> Diagnostic:
    return Diagnostic("R318", f"{what}, and --cache replay computes nothing", "leave out --cache, or write --cache update", None)


def cluster_fails(reason: str) -> Diagnostic:
    cure = "see docs/cluster.md; rows that were finished are in the journal, and run again go on from there"
    return Diagnostic("R320", f"the cluster cannot be used: {reason}", cure, None)


def journals_disagree(one: str, other: str, query: str) -> Diagnostic:
    cure = "one of them was changed, or made by a machine that computes otherwise: compute that part again (--cache rebuild)"
    return Diagnostic("R319", f"{one} and {other} answer a row of {query} differently", cure, None)


def missing_array(span: Span | None, path: str, key: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R309", f"{path} holds no array '{key}'", _suggest(key, known), span)


def unread_array(span: Span | None, path: str, name: str, what: str) -> Diagnostic:
    return Diagnostic("R314", f"array '{name}' of {path} holds {what}", "save it as plain numbers; labels may be texts", span)


def unused_arrays(span: Span, path: str, names: Sequence[str], cure: str) -> Diagnostic:
    many = f"array '{names[0]}'" if len(names) == 1 else f"arrays {_list(names)}"
    return Diagnostic("R315", f"{many} of {path} would not be used", cure, span)


def several_arrays(span: Span, path: str, names: Sequence[str], role: str) -> Diagnostic:
    what = f"{path} has several arrays that may be the {role}: {_list(names)}"
    return Diagnostic("R316", what, f"call the one that is meant '{role}', and leave the others out", span)


def empty_path(span: Span | None) -> Diagnostic:
    return Diagnostic("R310", "an empty path", "name a file", span)


# -- R4xx shapes and data -------------------------------------------------------------------------------------------------


def not_recurrent(span: Span, path: str, reason: str, cure: str | None = None) -> Diagnostic:
    cure = cure or "tensors must be named and shaped as torch.nn's are, e.g. rnn.weight_ih_l0"
    return Diagnostic("R401", f"no recurrent network can be read from {path}: {reason}", cure, span)


def not_converted(span: Span, path: str, where: str, why: str) -> Diagnostic:
    cure = "save the torch module's state dict and list its layers (layers = [...]), or export the network without this part"
    return Diagnostic("R438", f"{path} holds what is not read: {where}: {why}", cure, span)


def missing_library(span: Span, path: str, library: str, extra: str) -> Diagnostic:
    return Diagnostic("R439", f"{path} is read with {library}, which is not installed", f"pip install 'rspec-verify[{extra}]'", span)


def must_be_said(span: Span, what: str, choices: str) -> Diagnostic:
    return Diagnostic("R427", what, f"say it: {choices}", span)


def two_readings(span: Span, path: str, what: str, example: str) -> Diagnostic:
    return Diagnostic("R428", f"{path} can be read in two ways: {what}", f"say which, e.g. {example}]", span)


def layers_order(span: Span, found: str | None, wanted: str) -> Diagnostic:
    return Diagnostic("R429", "the layers end too early" if found is None else f"'{found}' cannot stand here", f"expected {wanted}", span)


def layers_do_not_fit(span: Span, what: str) -> Diagnostic:
    return Diagnostic("R430", f"the layers are not those of the checkpoint: {what}", "list every layer of the checkpoint, in order", span)


def reference_shape(span: Span, found: str, wanted: str) -> Diagnostic:
    return Diagnostic(
        "R431", f"the reference has shape {found}, expected {wanted}", "save a row of outputs for every sample, as the network gives them", span
    )


def reference_differs(span: Span, sample: int, ours: str, theirs: str, apart: str, spread: str, wrong: int, of: int, softmaxed: int) -> Diagnostic:
    what = f"on sample {sample} this network gives {ours}, the reference says {theirs}: {apart} apart, where the outputs spread over {spread}"
    cure = "the file is read as another network than the reference's: compare its line of the plan (vrun plan) with your code, gate order included"
    if softmaxed:
        cure = "the reference's rows sum to 1: save what the network gives before its softmax"
    return Diagnostic("R432", f"{what}; {wrong} of {of} samples differ", cure, span)


def shapes_do_not_fit(span: Span | None, what: str, cure: str) -> Diagnostic:
    return Diagnostic("R402", what, cure, span)


def cell_mismatch(span: Span, stated: str, found: str) -> Diagnostic:
    return Diagnostic(
        "R403", f"the spec says cell = {stated}, the weights are those of {found}", f"write cell = {found}, or name the other checkpoint", span
    )


def frame_out_of_range(span: Span, frame: int, frames: int) -> Diagnostic:
    return Diagnostic("R404", f"frame {frame} is out of range: the input has {frames} frames", f"frames count from 0 to {frames - 1}", span)


def no_frames(span: Span) -> Diagnostic:
    return Diagnostic("R405", "no frame is perturbed", "name at least one frame; the end of a slice is not in it", span)


def unknown_label(span: Span, label: str, labels: Sequence[str]) -> Diagnostic:
    return Diagnostic("R406", f"no class is called '{label}'", _suggest(label, labels), span)


def label_out_of_range(span: Span | None, label: int, classes: int, sample: int | None = None) -> Diagnostic:
    where = "" if sample is None else f" (the label of sample {sample})"
    return Diagnostic(
        "R407", f"class {label} does not exist{where}: the network has {classes} classes", f"classes count from 0 to {classes - 1}", span
    )


def unknown_token(span: Span, token: str, position: int | None, near: str | None) -> Diagnostic:
    """position: in a text; None for what is to stand for unknown ones."""
    cure = f"did you mean '{near}'?" if near else 'name the token of the vocabulary that stands for unknown words: unknown = "[UNK]"'
    what = f"'{token}'" if position is None else f"token {position}, '{token}',"
    return Diagnostic("R408", f"{what} is not in the vocabulary", cure, span)


def no_embedding(span: Span, network: str) -> Diagnostic:
    return Diagnostic(
        "R409",
        f"network '{network}' has no embedding table, so it cannot read text",
        "give 'values' instead, or a checkpoint with an embedding",
        span,
    )


def no_vocabulary(span: Span, network: str) -> Diagnostic:
    return Diagnostic(
        "R410", f"network '{network}' has no vocabulary, so text cannot be looked up", "add 'vocabulary = \"words.txt\"' to the network", span
    )


def empty_text(span: Span) -> Diagnostic:
    return Diagnostic("R411", "the text has no tokens", "a text is split on white space and needs at least one token", span)


def not_finite(span: Span | None, what: str) -> Diagnostic:
    return Diagnostic("R412", f"{what} holds NaN or infinite numbers", "no statement can be proved about it; repair the file", span)


def no_samples(span: Span | None, why: str) -> Diagnostic:
    return Diagnostic("R413", f"no samples: {why}", "a query over nothing proves nothing; pick some samples", span)


def sample_out_of_range(span: Span, index: int, count: int) -> Diagnostic:
    return Diagnostic("R414", f"sample {index} is out of range: the dataset has {count} samples", f"samples count from 0 to {count - 1}", span)


def outside_clip(span: Span | None, sample: int, lo: str, hi: str) -> Diagnostic:
    return Diagnostic("R415", f"sample {sample} lies outside the clip range [{lo}, {hi}]", "the clip must contain the input; check its scaling", span)


def weights_length(span: Span, found: int, frames: int) -> Diagnostic:
    return Diagnostic("R416", f"{found} weights for {frames} frames", f"give {frames} weights, one a frame", span)


def ragged(span: Span, message: str) -> Diagnostic:
    return Diagnostic(
        "R417", f"values are not a table of numbers: {message}", "write one list a frame, all of one length: [[0.1, 0.2], [0.3, 0.4]]", span
    )


def texts_need_labels(span: Span) -> Diagnostic:
    cure = "add their names in class order to the network, labels = [...], or store class numbers"
    return Diagnostic("R433", "labels are texts, and the network has no labels to look them up in", cure, span)


def label_not_found(span: Span | None, label: str, sample: int, known: str) -> Diagnostic:
    return Diagnostic("R434", f"the label '{label}' of sample {sample} is none of the network's", f"known: {known}", span)


def vocabulary_format(span: Span, what: str, cure: str) -> Diagnostic:
    return Diagnostic("R435", f"the vocabulary {what}", cure, span)


def unknown_words(span: Span, words: Sequence[str], of: int) -> Diagnostic:
    what = f"{len(words)} of {of} words {'is' if len(words) == 1 else 'are'} not in the vocabulary: {', '.join(words)}"
    return Diagnostic("R436", what, "use other words, or write unknown = allow to have them read as '<unk>'", span)


def labels_length(span: Span, found: int, classes: int) -> Diagnostic:
    return Diagnostic("R418", f"{found} labels for {classes} classes", f"give {classes} names, in class order", span)


def same_label_twice(span: Span, label: str) -> Diagnostic:
    return Diagnostic("R426", f"two classes are called '{label}'", "give every class its own name", span)


def head_activations_length(span: Span, found: int, wanted: int) -> Diagnostic:
    return Diagnostic("R419", f"{found} activations for a head of {wanted + 1} linear layers", f"give {wanted}: one between each two layers", span)


def vocabulary_length(span: Span, found: int, rows: int) -> Diagnostic:
    return Diagnostic(
        "R420", f"the vocabulary has {found} tokens, the embedding {rows} rows", "line i of the vocabulary is row i of the embedding", span
    )


def needs_labels(span: Span) -> Diagnostic:
    return Diagnostic("R421", "'where = correct' needs labels", "add 'labels = \"file.npy\"' to the dataset", span)


def network_input(span: Span, found: int, wanted: int) -> Diagnostic:
    return Diagnostic("R422", f"a frame has {found} numbers, the network reads {wanted}", "check 'frames', or name the checkpoint that fits", span)


def frames_do_not_fit(span: Span, frames: int, what: str, cure: str) -> Diagnostic:
    return Diagnostic("R437", f"samples of {frames} frames do not fit the network: {what}", f"it needs {cure}", span)


def cuts(span: Span, size: int, frames: int) -> Diagnostic:
    return Diagnostic("R423", f"samples of {size} numbers cannot be cut into {frames} equal frames", f"'frames' must divide {size}", span)


def one_output(span: Span, network: str) -> Diagnostic:
    return Diagnostic(
        "R440", f"network '{network}' gives one number, and no classes", "say what has to hold of it: property = within(0.5), same_sign", span
    )


def embeds_values(span: Span, network: str) -> Diagnostic:
    return Diagnostic("R424", f"network '{network}' reads tokens, not values", "give the input as 'text', or a dataset of whole numbers", span)


def target_is_label(span: Span, label: str) -> Diagnostic:
    return Diagnostic("R425", f"the target '{label}' is the input's own class", "name another class, or target = any", span)


# -- R5xx the command line --------------------------------------------------------------------------------------------------


def unknown_query(name: str, known: Iterable[str]) -> Diagnostic:
    return Diagnostic("R501", f"-q {name}: the spec has no query '{name}'", _suggest(name, known), None)


def unknown_device(span: Span | None, name: str) -> Diagnostic:
    return Diagnostic("R502", f"{f'--device {name}' if span is None else f'device {name!r}'} is not available here", "use cpu or auto", span)


def no_certificate(span: Span | None, what: str, cure: str) -> Diagnostic:
    return Diagnostic("R504", f"there are no certificates yet for {what}", cure, span)


def not_float32(span: Span | None, path: str) -> Diagnostic:
    return Diagnostic("R505", f"semantics = deployed32, but {path} is not all float32", "round weights and inputs to float32 first", span)


def not_installed(library: str) -> Diagnostic:
    cure = "pip install 'rspec-verify[run]'; check, fmt, lint, plan, explain and lsp work without"
    return Diagnostic("R506", f"computing needs {library}, which is not installed", cure, None)


def bad_call(message: str) -> Diagnostic:
    return Diagnostic("R503", message, "see vrun --help", None)
