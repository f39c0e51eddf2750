"""What `vrun plan --json` says of seconds, beside what the shipped specs took: query by query, and the largest factor between them.

python tests/benchmarks/seconds.py [SPEC...]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUICK = ("qc_word3", "qc_words", "digits_table", "digits_gate", "table5_quick", "planes_lines", "news", "questions", "strokes")


def vrun(*args: str) -> str:
    return subprocess.run([sys.executable, "-m", "vlang.cli", *args], capture_output=True, text=True, cwd=ROOT).stdout


def main() -> None:
    specs = sys.argv[1:] or [f"specs/{name}.rspec" for name in QUICK]
    factors = []
    for spec in specs:
        planned = {q["name"]: q["seconds"] for q in json.loads(vrun("plan", "--json", spec))["queries"]}
        with tempfile.TemporaryDirectory() as folder:
            vrun(spec, "--quiet", "--json", f"{folder}/report.json")
            report = json.loads(Path(folder, "report.json").read_text())
        for query in report["queries"]:
            said, took = planned[query["name"]], query["seconds"]
            factors.append(max(said / took, took / said))
            print(
                f"{Path(spec).stem:16} {query['name']:14} {query['method']:12} said {said:8.2f} s  took {took:8.2f} s  {said / took:5.2f}", flush=True
            )
    print(f"largest factor {max(factors):.2f}, median {sorted(factors)[len(factors) // 2]:.2f}")


if __name__ == "__main__":
    main()
