"""Expectations: exact values, three-valued verdicts, exit codes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from vlang.expression import written
from vlang.judge.values import Answers, evaluate, found
from vlang.judge.verdict import judge
from vlang.plan import Expectation, Plan, QueryPlan
from vlang.results import BoundsRow, EngineInfo, QueryResult, RadiusRow, Results, Row, VerifyRow
from vlang.text.parser import parse_expression
from vlang.typed.conditions import Scope, check

ROWS = [Answers({"radius": (r, r)}) for r in (0.1, 0.4, 0.2, 0.3)]
ASKED: dict[str, Any] = {"label": "A", "predicted": "A", "target": "any", "frames": (0,), "norm": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("min(radius) >= 0.1", True),
        ("max(radius) < 0.4", False),
        ("mean(radius) == (0.1 + 0.4 + 0.2 + 0.3) / 4", False),  # the radii are floats, the literals exact
        ("mean(radius) > 0.2499 and mean(radius) < 0.2501", True),
        ("median(radius) > 0.2499 and median(radius) < 0.2501", True),
        ("quantile(radius, 25%) < 0.11", True),
        ("quantile(radius, 26%) > 0.19", True),
        ("quantile(radius, 0) < 0.11 and quantile(radius, 100%) > 0.39", True),
        ("rate(radius > 0.15) == 75%", True),
        ("count(radius > 0.15) == 3", True),
        ("all(radius > 0) and not all(radius > 0.15)", True),
        ("any(radius > 0.35) or min(radius) > 1", True),
        ("2 * min(radius) + 1 > 1.19", True),
        ("-min(radius) < 0", True),
        ("max(radius) / min(radius) > 3.9", True),
        ("rate(radius > 0.15 and radius < 0.35) == 1/2", True),
    ],
)
def test_values(text: str, value: bool) -> None:
    condition = check(parse_expression(text), Scope.of_query("radius"), {})
    assert evaluate(condition, ROWS) == (value, value)


def test_a_single_row_needs_no_aggregate() -> None:
    condition = check(parse_expression("radius >= 0.1"), Scope.of_query("radius"), {})
    assert evaluate(condition, ROWS[:1]) == (True, True)
    assert found(condition, ROWS[:1], {"radius": "down"}) == "radius = 0.1"
    assert written(condition) == "radius >= 0.1"


def row(radius: float, complete: bool = True) -> Row:
    return RadiusRow(sample=0, **ASKED, verdict="certified", radius=radius, complete=complete)


def verdicts(text: str, rows: list[Row], kind: str = "radius", gate: str = "expect") -> tuple[str, str]:
    condition = check(parse_expression(text), Scope.of_query(kind), {})
    expectation = Expectation(gate, text, condition, None, 1, 1, 1, 9)  # type: ignore[arg-type]
    plan = Plan("x", "0", "", (), (QueryPlan("q", kind, (), (expectation,)),))  # type: ignore[arg-type]
    report = judge(plan, Results(EngineInfo("0", "0", "cpu", "float64"), (QueryResult("q", kind, 0.0, tuple(rows)),)))
    return report.queries[0].expectations[0].verdict, report.verdict


def test_verdicts() -> None:
    assert verdicts("min(radius) > 0", [row(1.0)]) == ("passed", "passed")
    assert verdicts("min(radius) > 2", [row(1.0)]) == ("failed", "failed")
    assert verdicts("min(radius) > 2", [row(1.0)], gate="warn") == ("warned", "passed")


def test_zero_rows_are_never_a_pass() -> None:
    assert verdicts("all(radius > 0)", []) == ("unknown", "empty")


def test_a_budget_leaves_conditions_undecided_only_where_it_matters() -> None:
    assert verdicts("min(radius) > 2", [row(1.0, complete=False)]) == ("unknown", "inconclusive")
    assert verdicts("min(radius) > 0.5", [row(1.0, complete=False)]) == ("passed", "inconclusive")
    assert verdicts("min(radius) > 2", [row(1.0, complete=False), row(1.5)]) == ("failed", "failed")
    assert verdicts("min(radius) < 0.1 or min(radius) > 0.5", [row(0.05, complete=False)])[0] == "unknown"
    assert verdicts("count(radius > 0.1) == 1", [row(0.05, complete=False), row(0.2)])[0] == "unknown"
    assert verdicts("max(radius) / min(radius) < 3", [row(0.05, complete=False), row(0.2)])[0] == "unknown"
    assert verdicts("not any(radius > 1)", [row(2.0, complete=False)])[0] == "failed"


def test_rows_that_a_budget_left_undone_are_undecided() -> None:
    done = VerifyRow(sample=0, **ASKED, eps=0.1, verdict="certified", margin=1.0)
    late = VerifyRow(sample=1, **ASKED, eps=0.1, verdict="unknown", complete=False)
    assert verdicts("rate(certified) >= 90%", [done, late], kind="verify")[0] == "unknown"
    assert verdicts("count(falsified) == 0", [done, late], kind="verify")[0] == "unknown"
    assert verdicts("rate(certified) >= 50%", [done, late], kind="verify")[0] == "passed"
    assert verdicts("min(margin) > 2", [done, late], kind="verify")[0] == "failed"


def test_no_condition_is_true_of_a_margin_that_is_not_a_number() -> None:
    bad = BoundsRow(sample=0, **ASKED, eps=0.1, verdict="unknown", margin=math.nan)
    assert verdicts("min(margin) > 0", [bad], kind="bounds")[0] == "failed"
