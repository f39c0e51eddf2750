"""`vrun plan --json`: the rows that would be computed, with the keys of their questions, and about how long they take on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vlang.cost import Pace, cost, seconds
from vlang.plan import Plan, QueryPlan

SCHEMA = "rspec-plan/1"


def render(plan: Plan, rows: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], pace: Pace) -> str:
    """rows: of every query, as vlang.runtime.execute.asked lists them. Matrices have no rows and no seconds."""
    asked = dict(rows)
    queries = [_query(q, asked[q.name], pace) for q in plan.queries]
    said = {
        "schema": SCHEMA,
        "spec": {"path": plan.path.encode("utf-8", "backslashreplace").decode(), "sha256": plan.sha256, "params": dict(plan.params)},
        "machine": {"flop_per_second": pace.flop, "launch_seconds": pace.launch},
        "seconds": sum(q["seconds"] for q in queries),
        "queries": queries,
        "spectra": [{"name": x.name, "matrices": len(x.variants)} for x in plan.spectra],
    }
    return json.dumps(said, indent=1, ensure_ascii=False)


def _query(query: QueryPlan, rows: Sequence[Mapping[str, Any]], pace: Pace) -> dict[str, Any]:
    size = cost(query)
    return {
        "name": query.name,
        "kind": query.kind,
        "method": ", ".join(dict.fromkeys(v.method for v in query.variants)),
        "seconds": seconds(query, pace),
        "flop": size.flop,
        "nodes": size.nodes,
        "row_bytes": size.row_bytes,
        "rows": [_row(row) for row in rows],
        "expectations": [{"kind": e.kind, "text": e.text} for e in query.expectations],
    }


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    said = {
        k: row[k] for k in ("question", "sample", "step", "label", "predicted", "target", "frames", "tokens", "norm", "at_most") if row[k] is not None
    }
    return said | ({"sweep": dict(row["swept"])} if row["swept"] else {})
