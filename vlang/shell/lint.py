"""vrun lint: what is no error in a spec, and surely not meant."""

from __future__ import annotations

from collections.abc import Iterator

from vlang.expression import Constant, is_radius, wanted, written
from vlang.plan import Expectation, Plan, QueryPlan, RadiusVariant, ReportPlan, SpectrumQuery
from vlang.text.diagnostics import Diagnostic
from vlang.text.source import Span


def found(plan: Plan) -> Iterator[Diagnostic]:
    """In the order of the queries."""
    asked: list[QueryPlan | SpectrumQuery | ReportPlan] = [*plan.queries, *plan.spectra, *plan.reports]
    for name, gate in ((q.name, g) for q in asked for g in q.expectations):
        if gate.kind == "expect" and gate.because is None:
            cure = 'add because "...": whoever sees it fail reads that'
            yield Diagnostic("L101", f"the gate of '{name}' does not say why it is there", cure, _span(gate))
    for query in plan.queries:
        yield from _of_radii(query)


def _of_radii(query: QueryPlan) -> Iterator[Diagnostic]:
    most = max((v.engine.max_radius for v in query.variants if isinstance(v, RadiusVariant)), default=None)
    for gate in query.expectations:
        for number, side in wanted(gate.condition):
            if not is_radius(side):
                continue
            if most is not None and number.value >= most:
                what = f"{written(side)} cannot be {written(number)}: the search ends at max_radius = {written(Constant(most))}"
                yield Diagnostic("L102", what, "raise max_radius of the engine, or lower the gate", _span(gate))
            if number.percent:
                what = f"{written(side)} is a distance, and is compared with the percentage {written(number)}"
                yield Diagnostic("L103", what, f"write {written(Constant(number.value))} where that is meant", _span(gate))


def _span(gate: Expectation) -> Span:
    return Span(gate.line, gate.column, max(1, gate.end_column - gate.column) if gate.end_line == gate.line else 1)
