"""`vrun plan`: what will be computed, on what, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vlang.array import ArrayPlan
from vlang.cost import Pace, cost, frames_of, in_words, samples_of, seconds, spared
from vlang.formats.reading import read_as
from vlang.numbers import exactly
from vlang.perturbation import PerturbationPlan
from vlang.plan import (
    AttackVariant,
    BoundsVariant,
    DatasetInput,
    EstimateVariant,
    NetworkPlan,
    Plan,
    QueryPlan,
    SpectrumQuery,
    StepsPlan,
    TargetPlan,
    TextInput,
    TextsInput,
    Variant,
    VerifyVariant,
)
from vlang.text.printable import shown

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


#: The least and the largest number of an array of samples, where it was looked at.
Ranges = Mapping[ArrayPlan, tuple[float, float]]


def show_plan(plan: Plan, ranges: Ranges, pace: Pace) -> None:
    plan = shown(plan)
    print(f"{plan.path}  sha256 {plan.sha256[:16]}" + "".join(f", {k} = {v}" for k, v in plan.params))
    for query in plan.queries:
        print("\n".join(_query(query, ranges, pace)))
    for spectrum in plan.spectra:
        print("\n".join(_spectrum(spectrum)))


def _query(query: QueryPlan, ranges: Ranges, pace: Pace) -> list[str]:
    estimate = cost(query)
    lines = [f"\n{query.kind} {query.name}"]
    before: list[str] = []
    for variant in query.variants:
        if variant.swept:
            lines.append("  where " + ", ".join(f"{k} = {v}" for k, v in variant.swept))
        block = _variant(variant, ranges)
        lines += [f"    {x}" for i, x in enumerate(block) if before[i : i + 1] != [x]]  # what differs from the point above
        before = block
    lines.append(
        f"  {_count(estimate.rows, 'row')}, at most; {_count(estimate.nodes, 'graph node')}; "
        f"about {_scaled(estimate.flop)}FLOP, {in_words(seconds(query, pace))}, {_scaled(estimate.row_bytes)}B a row in a batch"
    )
    for word, (row, whole) in spared(query).items():
        lines.append(f"  left out: {word} bounds, about {in_words(row)} of a core a row; budget = {_budget(whole)} pays them")
    lines += [f"  {e.kind} {e.text}" for e in query.expectations]
    return lines


def _budget(seconds: float) -> str:
    """Rounded up to two digits."""
    size = 10 ** max(0, math.floor(math.log10(seconds)) - 1)
    return str(math.ceil(seconds / size) * size)


def _spectrum(query: SpectrumQuery) -> list[str]:
    lines = [f"\nspectrum {query.name}"]
    for v in query.variants:
        stack = v.network.architecture.stacks[v.layer]
        size = stack.hidden if v.input is None else sum(stack.state_widths)
        lines.append(f"    {v.of}, {size} x {size}, eps {', '.join(exactly(e) for e in v.eps)}")
    return [*lines, *(f"  {e.kind} {e.text}" for e in query.expectations)]


def _variant(v: Variant, ranges: Ranges) -> list[str]:
    if isinstance(v, AttackVariant):
        return [
            *_asked(v, ranges),
            f"attack {v.attack.method}, {_count(v.attack.steps, 'step')}, {_count(v.attack.restarts, 'start')}, seed {v.engine.seed}",
        ]
    if isinstance(v, EstimateVariant):
        return [*_asked(v, ranges), f"CLEVER, {_count(v.estimate.batches, 'batch')} of {_count(v.estimate.samples, 'point')}, seed {v.engine.seed}"]
    engine = f"method {v.engine.method}, tolerance {exactly(v.engine.tolerance)}, max_radius {exactly(v.engine.max_radius)}, device {v.engine.device}"
    if v.engine.budget is not None:
        engine += f", budget {exactly(v.engine.budget)} s"
    return [*_asked(v, ranges), *([f"eps {exactly(v.eps)}"] if isinstance(v, VerifyVariant | BoundsVariant) else []), engine]


def _asked(v: Variant, ranges: Ranges) -> list[str]:
    return [read_as(v.network), _input(v, ranges), _perturbation(v), f"target {_target(v.target, v.network)}{_steps(v.steps)}"]


def _input(v: Variant, ranges: Ranges) -> str:
    frames = frames_of(v.input)
    if isinstance(v.input, TextInput):
        return f"input {frames} frames: " + " ".join(f"{i}:{t}" for i, t in enumerate(v.input.tokens))
    many = samples_of(v.input)
    if isinstance(v.input, TextsInput):
        return f"input {_count(many, 'text')} of {frames} words of {v.input.path}{', correctly classified ones only' if v.input.correct else ''}"
    within = ranges.get(v.input.inputs) if isinstance(v.input, DatasetInput) else None
    numbers = "" if within is None else f", numbers from {within[0]:.6g} to {within[1]:.6g}"
    correct = ", correctly classified ones only" if isinstance(v.input, DatasetInput) and v.input.correct else ""
    return f"input {_count(many, 'sample')} of {frames} frames{numbers}{correct}"


def _perturbation(v: Variant) -> str:
    p: PerturbationPlan = v.perturbation
    rows = p.frames.rows
    tokens = v.input.tokens if isinstance(v.input, TextInput) else None

    def frame(k: int) -> str:
        return str(k) if tokens is None else f"{k}:{tokens[k]}"

    if len(rows) > 1:
        what = f"each of frames {frame(rows[0][0])} .. {frame(rows[-1][0])}, one row each"
    else:
        what = "frames " + ", ".join(frame(k) for k in rows[0])
    if p.frames.at_most is not None:
        what = f"any {p.frames.at_most} of {what}"
    if p.alternatives is not None:
        unknown = f" ({len(p.alternatives.unknown)} words in it are not in the vocabulary)" if p.alternatives.unknown else ""
        return f"perturbation {what}, which become {p.alternatives.shown}{unknown}"
    if p.directions is not None:
        return f"perturbation of the sample as a whole, norm {p.norm_value}"
    text = f"perturbation {what}, norm {p.norm_value}, in {p.space} space"
    if p.clip is not None:
        text += f", clipped to {', '.join(f'[{exactly(lo)}, {exactly(hi)}]' for lo, hi in p.clip)}"
    if p.weights is not None:
        text += f", weights {', '.join(exactly(w) for w in p.weights)}"
    if p.scale is not None:
        rows_ = sorted({", ".join(map(exactly, row)) for row in p.scale})
        text += f", in units of [{rows_[0]}]" + (" and others, by frame" if len(rows_) > 1 else "")
    return text


def _steps(steps: StepsPlan | None) -> str:
    if steps is None:
        return ""
    shown = ", ".join(str(k) for k in sorted({k for row in steps.rows for k in row}))
    return f", steps {shown}" + (", one row each" if steps.apart else "")


def _target(target: TargetPlan, network: NetworkPlan) -> str:
    match target.kind:
        case "class":
            return f"class {network.label_name(target.index)}"
        case "random":
            return f"random(seed={target.seed})"
        case "phrase":
            return f"[{', '.join(str(network.label_name(i)) for i in target.phrase)}]"
        case "property" if target.property is not None:
            return target.property.text
    return target.kind


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "es" if noun.endswith("ch") else "s")


def _scaled(value: float) -> str:
    for size, unit in UNITS:
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} "
