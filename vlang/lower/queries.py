"""Typed queries to their plans, at every point of their sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

from vlang.cost import frames_of, width_of
from vlang.lower import matrices, networks, samples, series, sets, texts, tokens
from vlang.lower.networks import LoweredNetwork, class_number
from vlang.lower.once import Once, refuse
from vlang.lower.steps import check_single, opened, stepwise
from vlang.perturbation import PerturbationPlan
from vlang.plan import (
    AttackPlan,
    AttackVariant,
    BaselinePlan,
    BoundsVariant,
    DatasetInput,
    EnginePlan,
    EstimatePlan,
    EstimateVariant,
    Expectation,
    InputPlan,
    QueryPlan,
    RadiusVariant,
    SpectrumPlan,
    SpectrumQuery,
    StepsPlan,
    TargetPlan,
    TextInput,
    TextsInput,
    Variant,
    VerifyVariant,
)
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.typed import conditions
from vlang.typed.tree import Ask, Attack, Bounds, Dataset, Engine, Estimate, Gate, Network, Point, Query, Radius, Spectrum, Verify
from vlang.typed.types import Frames, Located, Target
from vlang.words.attacks import ATTACKS
from vlang.words.layers import LAYERS
from vlang.words.methods import COMPLETE
from vlang.words.sets import MOST_DIMENSIONS

#: Of an attack from each start, where nothing else is said.
GRADIENT_STEPS = 100


def network(once: Once, form: Network, name: str, folder: Path) -> LoweredNetwork:
    """name: for one that has none of its own. Raises SpecError."""
    if form.from_ is None:
        return once(networks.read, form, form.name or name, folder)
    base = network(once, form.from_.value, f"{name}.from", folder)
    return once(networks.derive, form, form.name or name, base)


def query(once: Once, typed: Query, folder: Path, baselines: tuple[BaselinePlan, ...] = ()) -> QueryPlan:
    """Raises SpecError after reporting what is wrong with any point, and with the conditions as far as there are rows."""
    variants: list[Variant] = []
    several = failed = False
    for point in typed.points:
        assert isinstance(point.form, Ask)
        found = once.attempt(lambda point=point, form=point.form: _variants(once, point, form, folder))  # type: ignore[misc]
        if found is None:
            failed = True
        else:
            variants += found
            several = several or len(typed.points) > 1 or len(found) > 1 or _rows(point.form, found[0]) > 1
    if variants:
        once.report(*(x for gate in typed.gates if several for x in conditions.single(gate.condition)))
    if failed:
        raise SpecError()
    return QueryPlan(typed.name, typed.kind, tuple(variants), expectations(typed.gates), baselines)


def spectrum(once: Once, typed: Query, folder: Path) -> SpectrumQuery:
    """Raises SpecError after reporting what is wrong."""
    variants: list[SpectrumPlan] = []
    first = typed.points[0].form
    assert isinstance(first, Spectrum)
    picture = first.picture  # which no sweep sets
    path = None if picture is None else once.attempt(lambda: once(matrices.picture_path, picture, folder))
    for point in typed.points:
        plan = once.attempt(lambda point=point: _matrix(once, typed.name, point, folder))  # type: ignore[misc]
        if plan is not None:
            variants.append(plan)
    if len(typed.points) > 1 and variants:
        once.report(*(x for gate in typed.gates for x in conditions.single(gate.condition)))
    if len(variants) < len(typed.points) or (picture is not None and path is None):
        raise SpecError()
    return SpectrumQuery(typed.name, tuple(variants), expectations(typed.gates), path, typed.span if picture is None else picture.span)


def expectations(gates: tuple[Gate, ...]) -> tuple[Expectation, ...]:
    return tuple(Expectation(g.kind, g.text, g.condition, g.because, g.span.line, g.span.column, *g.end) for g in gates)


def _matrix(once: Once, query: str, point: Point, folder: Path) -> SpectrumPlan:
    form = point.form
    assert isinstance(form, Spectrum)
    found = network(once, form.of.value.network.value, f"{query}.network", folder)
    return matrices.matrix(once, point, form, found, folder)


def _rows(form: Ask, variant: Variant) -> int:
    """How many rows a variant has: 2 for 'not known to be 1'."""
    targets, samples_ = 2 if variant.target.kind == "each" else 1, 1 if form.input.value.single else 2
    return len(variant.perturbation.frames.rows) * targets * _steps(variant) * samples_


def outputs_of(form: Ask) -> Located[Frames] | None:
    """Which outputs of a network with several are asked about, where it is said: an attack's `steps` may be a number, of its own."""
    return None if form.steps is None or isinstance(form.steps.value, int) else Located(form.steps.value, form.steps.span)


def _steps(variant: Variant) -> int:
    return 1 if variant.steps is None else len(variant.steps.rows)


def _variants(once: Once, point: Point, form: Ask, folder: Path) -> list[Variant]:
    """One point of the sweeps: a variant, or for texts one of each length. Raises SpecError."""
    net = network(once, form.network.value, f"{point.form.name}.network", folder)
    asked, said = outputs_of(form), form.network.value
    if asked is not None and said.readout is None and said.layers is None:
        net = replace(net, plan=replace(net.plan, architecture=opened(net.plan.architecture)))
    asked_of = form.input.value
    if isinstance(asked_of.form, Dataset) and series.is_series(asked_of.form):
        inputs: Sequence[InputPlan] = series.data(once, asked_of.form, asked_of.index, net, folder)
        once(samples.fit_frames, asked_of.form.span, net.plan.architecture, frames_of(inputs[0]), width_of(inputs[0]))
    elif isinstance(asked_of.form, Dataset) and texts.is_text(asked_of.form):
        inputs = texts.data(once, asked_of.form, asked_of.index, net, folder)
    elif isinstance(asked_of.form, Dataset) and net.plan.architecture.embedding is not None:
        inputs = tokens.data(once, asked_of.form, asked_of.index, net, folder)
    else:
        inputs = samples.data(once, asked_of, net, folder, asked is not None, form.property is None)
    return [_variant(once, point, form, net, data, folder) for data in inputs]


def _variant(once: Once, point: Point, form: Ask, net: LoweredNetwork, data: InputPlan, folder: Path) -> Variant:
    """Of one input. Raises SpecError."""
    asked, architecture = outputs_of(form), net.plan.architecture
    architecture, steps = stepwise(once, asked, architecture, frames_of(data), net.plan.name)
    if steps is None:
        once(check_single, form.input.span, architecture, frames_of(data))
    target = once.attempt(lambda: _target(once, form, net, steps))
    perturbation = sets.perturbation(once, form.perturbation.value, frames_of(data), width_of(data), net, folder)
    semantics, real = form.engine.value.semantics, [x.word for x in net.plan.architecture.layers if x.word in LAYERS and LAYERS[x.word].real]
    if real and semantics.value == "deployed32":
        why = f"float32 implementations of {real[0]} differ by more than roundings"
        once(refuse, True, d.does_not_apply, semantics.span, "semantics = deployed32", why)
    _check_set(once, form, perturbation, data, net)
    if target is None:
        raise SpecError()
    read = net.plan if architecture is net.plan.architecture else replace(net.plan, architecture=architecture)
    base = Variant(point.swept, read, data, perturbation, target, _engine(form.engine.value), steps)
    return VARIANTS[type(form)](once, form, net, base)


def _check_set(once: Once, form: Ask, perturbation: PerturbationPlan, data: InputPlan, net: LoweredNetwork) -> None:
    """Whether a set that is no ball of frames, or that is searched completely, can be asked about so. Raises SpecError."""
    engine, method, semantics = form.engine.value, form.engine.value.method, form.engine.value.semantics
    listed, moved = perturbation.alternatives, perturbation.directions is not None
    why = "float32 forward passes of points that are computed are not modelled" if moved else "every substitution is looked at in real arithmetic"
    once(
        refuse,
        (listed is not None or moved) and engine.semantics.value == "deployed32",
        d.does_not_apply,
        semantics.span,
        "semantics = deployed32",
        why,
    )
    if listed is not None:
        kind = type(form).__name__.lower()
        why = "there is no such answer of what becomes others: verify and radius answer completely, with counterexamples"
        once(
            refuse,
            kind not in ("radius", "verify"),
            d.does_not_apply,
            form.perturbation.span,
            f"a set of {'words' if listed.array is None else 'alternatives'} in {kind}",
            why,
        )
        array, of = listed.array, data.of if isinstance(data, DatasetInput) else 1
        wrong = array is not None and len(array.shape) == 4 and array.shape[0] != of
        what = f"alternatives of {0 if array is None else array.shape[0]} samples, where there are {of}"
        once(refuse, wrong, d.shapes_do_not_fit, perturbation.span, what, "store those of every sample of the data, in its order")
        why = "what they become is finite, and searched completely"
        once(refuse, method.value not in ("auto", COMPLETE), d.does_not_apply, method.span, f"method = {method.value}", why)
    elif method.value == COMPLETE:
        width = width_of(data) or net.plan.architecture.input_size
        count = max(map(len, perturbation.frames.rows)) * width if perturbation.directions is None else perturbation.directions.count
        why = f"the set has {count} dimensions, more than {MOST_DIMENSIONS}: method = sliced cuts balls of any"
        once(refuse, count > MOST_DIMENSIONS, d.does_not_apply, method.span, "method = complete", why)
        why = "it cuts sets in which all frames may move at once"
        several = perturbation.frames.at_most is not None and perturbation.frames.at_most < len(perturbation.frames.rows[0])
        once(refuse, several, d.does_not_apply, method.span, "method = complete", why)
        once(refuse, isinstance(form, Bounds), d.does_not_apply, method.span, "method = complete", "it decides margins, and bounds no outputs")


def _target(once: Once, form: Ask, net: LoweredNetwork, steps: StepsPlan | None) -> TargetPlan:
    """The classes that are asked about, or what has to hold of the outputs."""
    architecture = net.plan.architecture
    if form.property is not None:
        asked = form.property
        once(refuse, form.target is not None, d.conflicting_keys, asked.span, "property", "target", "the query")
        softmax = any(x.word == "softmax" for x in architecture.layers)
        cure = "name the layers without it, and ask about what it reads"
        once(refuse, softmax, d.not_a_property, asked.span, "the network's softmax is read as nothing, because it keeps their order", cure)
        last = next((x.word for x in reversed(architecture.layers) if x.word not in SAME), "")
        own, side = last in SIGMOIDS, asked.value.text
        vacuous = own and (asked.value.logit or side == "same_sign")
        cure = f"ask {side.replace('threshold', 'same_side') if asked.value.logit else 'same_side(0.5)'}"
        once(refuse, vacuous, d.not_a_property, asked.span, f"the outputs are sigmoids already: {side} says nothing of them", cure)
        outputs, largest = architecture.classes, asked.value.largest
        once(
            refuse, largest >= outputs, d.not_a_property, asked.span, f"there is no output[{largest}]", f"the network has outputs 0 to {outputs - 1}"
        )
        return TargetPlan("property", asked.span, property=asked.value)
    target = Located(Target("any"), form.network.span) if form.target is None else form.target
    once(refuse, architecture.classes < 2, d.one_output, target.span, net.plan.name)
    value = target.value
    if value.kind == "phrase":
        asked_steps = () if steps is None or steps.apart else steps.rows[0]
        counted = "no steps that are asked about together" if not asked_steps else f"{len(asked_steps)} steps"
        why = f"it names {len(value.phrase)} classes for {counted}: write one for each, as in steps = [2:5], target = [a, b, c]"
        once(refuse, len(value.phrase) != len(asked_steps), d.does_not_apply, target.span, "target", why)
        listed = outputs_of(form)
        written = () if listed is None else tuple(x.value for x in listed.value.items)
        why = "its classes are those of the steps in order, and `steps` lists them in another"
        once(refuse, written != tuple(sorted(written)), d.does_not_apply, target.span, "target", why)
        return TargetPlan("phrase", target.span, phrase=tuple(once(class_number, x, net.plan.labels, architecture.classes) for x in value.phrase))
    if value.kind == "class":
        number = once(class_number, Located(value.label, target.span), net.plan.labels, net.plan.architecture.classes)
        return TargetPlan("class", target.span, number)
    return TargetPlan(value.kind, target.span, seed=value.seed)


def _engine(form: Engine) -> EnginePlan:
    budget = None if form.budget is None else form.budget.value
    return EnginePlan(
        form.method.value,
        form.tolerance.value,
        form.max_radius.value,
        budget,
        form.device.value,
        form.seed.value,
        form.semantics.value,
        form.semantics.span,
    )


def _verify(once: Once, form: Verify, _: LoweredNetwork, base: Variant) -> Variant:
    """Where words are counted, eps is how many."""
    if base.perturbation.alternatives is not None:
        frames = base.perturbation.frames
        why = "words become others, by no distance: how many at once is said by frames = any(k)"
        once(refuse, form.eps is not None, d.does_not_apply, form.span if form.eps is None else form.eps.span, "eps", why)
        return VerifyVariant(**vars(base), eps=Fraction(min(frames.at_most or len(frames.rows[0]), len(frames.rows[0]))))
    if form.eps is None:
        raise SpecError(d.missing_key(form.span, "eps", "verify", "the radius asked about"))
    return VerifyVariant(**vars(base), eps=form.eps.value)


def _attack(once: Once, form: Attack, net: LoweredNetwork, base: Variant) -> Variant:
    words: tuple[str, ...] = ()
    if ATTACKS[form.method.value].substitutes:
        why = "it substitutes words, and the input is not a text"
        text = isinstance(base.input, TextInput | TextsInput) and net.words is not None
        once(refuse, not text, d.does_not_apply, form.method.span, f"method = {form.method.value}", why)
        assert net.words is not None
        named = {i: w for w, i in net.words.numbers.items()}
        words = tuple(named.get(i, "") for i in range(net.plan.architecture.tokens))
    steps = GRADIENT_STEPS if form.iterations is None else form.iterations.value
    if form.steps is not None and isinstance(form.steps.value, int):
        once(refuse, form.iterations is not None, d.conflicting_keys, form.steps.span, "steps", "iterations", "the attack")
        steps = form.steps.value
    return AttackVariant(**vars(base), attack=AttackPlan(form.method.value, steps, form.restarts.value, words))


#: Layers that change no number of what they read; and whose outputs are between 0 and 1.
SAME, SIGMOIDS = frozenset({"none", "dropout", "last", "last_frame"}), frozenset({"sigmoid", "hardsigmoid"})
#: A query's variant, by the type of its form.
VARIANTS: Mapping[type[Ask], Callable[..., Variant]] = MappingProxyType(
    {
        Radius: lambda _once, _form, _net, base: RadiusVariant(**vars(base)),
        Verify: _verify,
        Bounds: lambda _once, form, _net, base: BoundsVariant(**vars(base), eps=form.eps.value),
        Attack: _attack,
        Estimate: lambda _once, form, _net, base: EstimateVariant(**vars(base), estimate=EstimatePlan(form.samples.value, form.batches.value)),
    }
)
