"""Runs of one spec, and what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlang.cli import main


def spec_text(world: Path) -> str:
    return f"""rspec 1
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset d {{ source = "{world}/data.npz", pick = first(4) }}
engine quick {{ method = planes, tolerance = 0.1, seed = 3 }}
perturbation p {{ frames = all, norm = 2 }}
radius r {{ network = net, input = d, perturbation = p, engine = quick, expect count(radius >= 0) == 4 }}
verify v {{ network = net, input = d, perturbation = p, eps = 0.01, engine = quick }}
attack a {{ network = net, input = d, perturbation = p, iterations = 3, restarts = 2 }}
bounds b {{ network = net, input = d, perturbation = p, eps = 0.01, engine = quick }}
"""


def report(spec: Path, *options: str, command: Sequence[str] = ()) -> tuple[int, bytes, dict[str, bytes]]:
    """Exit code, the report without its times, and every file of evidence by name."""
    home = spec.parent
    written = ["--json", str(home / "r.json"), "--certificates", str(home / "c"), "--witnesses", str(home / "w")]
    code = main([*command, str(spec), *written, "--quiet", *options])
    return code, timeless(home / "r.json"), {p.name: p.read_bytes() for folder in ("c", "w") for p in sorted((home / folder).iterdir())}


def timeless(path: Path) -> bytes:
    said: dict[str, Any] = json.loads(path.read_text())
    for query in said["queries"]:
        del query["seconds"]
    return json.dumps(said).encode()


def run(spec: Path, *options: str, journal: str | None = "j") -> tuple[int, bytes, dict[str, bytes]]:
    """Exit code, the report without its times, and every file of evidence by name."""
    where = [] if journal is None else ["--journal", str(spec.parent / journal)]
    return report(spec, *where, *options)


def lines(spec: Path, journal: str = "j") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (spec.parent / journal / "rows.jsonl").read_text().splitlines()]


def computed(spec: Path, journal: str = "j") -> int:
    """How many rows were ever computed into a journal."""
    return sum("answer" in line for line in lines(spec, journal))


def radii_of(text: bytes) -> list[float]:
    return [row["radius"] for query in json.loads(text)["queries"] if query["kind"] == "radius" for row in query["rows"]]
