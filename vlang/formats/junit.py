"""Every gate as a test case: a suite a spec, a class a query. What is undecided is an error, never skipped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from vlang.formats.findings import gates, named_rows
from vlang.report import Outcome

#: What XML 1.0 cannot hold.
FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(outcomes: Sequence[Outcome], several: bool = False) -> str:
    root = Element("testsuites", name="rspec-verify")
    for outcome in outcomes:
        _suite(root, outcome)
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(s.get(key, "0")) for s in root)))
    indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, outcome: Outcome) -> None:
    suite = SubElement(root, "testsuite", name=_text(outcome.place))
    report = outcome.report
    if report is not None:
        held = SubElement(suite, "properties")
        e = report.engine
        said = {"verdict": report.verdict, "version": e.version, "torch": e.torch, "device": e.device, "dtype": e.dtype, "sha256": report.sha256}
        for name, value in [*said.items(), *((f"param {k}", v) for k, v in report.params)]:
            SubElement(held, "property", name=_text(name), value=_text(value))
    timed: set[str] = set()
    for gate in gates(report) if report is not None else ():
        g = gate.result
        seconds = 0.0 if gate.about in timed else gate.seconds  # of the query, once
        timed.add(gate.about)
        case = _case(suite, f"{outcome.place}.{gate.about}", f"{g.kind} {g.text}", outcome.place, g.line, seconds)
        SubElement(SubElement(case, "properties"), "property", name="found", value=_text(g.actual))
        rows, because = named_rows(gate), f"because {g.because}" if g.because else ""
        detail = "\n".join(x for x in (f"found {g.actual}", rows, because) if x)
        if g.verdict == "failed":
            SubElement(case, "failure", message=_text(f"found {g.actual}"), type="gate-failed").text = _text(detail)
        elif g.verdict == "unknown":
            SubElement(case, "error", message=_text(f"undecided: {g.actual}"), type="gate-undecided").text = _text(detail)
        elif g.verdict == "warned":
            SubElement(case, "system-out").text = _text(f"warning: {detail}")
    for x in outcome.problems:
        case = _case(suite, outcome.place, x.code, outcome.place, 1 if x.span is None else x.span.line, 0.0)
        SubElement(case, "failure" if x.warns else "error", message=_text(x.message), type=x.code).text = _text(x.hint)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(c.find("failure") is not None for c in cases)))
    suite.set("errors", str(sum(c.find("error") is not None for c in cases)))
    suite.set("time", f"{sum(float(c.get('time', '0')) for c in cases):.3f}")


def _case(suite: Element, of: str, name: str, file: str, line: int, seconds: float) -> Element:
    return SubElement(suite, "testcase", classname=_text(of), name=_text(name), file=_text(file), line=str(line), time=f"{seconds:.3f}")


def _text(text: str) -> str:
    return FORBIDDEN.sub("?", text)
