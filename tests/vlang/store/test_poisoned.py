"""Journals that lie, runs that are cut short, and what else an answer of an earlier run must not be taken for."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.vlang.store.runs import lines, radii_of, run
from tests.vlang.vcheck.certificates import load, seal
from vlang.cli import main
from vlang.store.journal import Journal


def test_the_shape_of_a_sample_is_a_part_of_its_question(tmp_path: Path) -> None:
    """The same bytes as other frames: along directions they move otherwise."""
    torch.manual_seed(0)
    one, two = torch.nn.Linear(12, 6), torch.nn.Linear(6, 3)
    state = {f"{n}.{k}": v.detach() for n, m in (("0", one), ("1", two)) for k, v in m.state_dict().items()}
    save_file(state, tmp_path / "net.safetensors", {"layers": "[flatten, linear, relu, linear]"})
    x = np.random.default_rng(0).normal(size=(4, 4, 3)).astype(np.float32)
    spec = tmp_path / "x.rspec"
    spec.write_text("""rspec 1
network net { checkpoint = "net.safetensors" }
dataset d { inputs = "x.npy" }
radius r { network = net, input = d, perturbation = { directions = [drift], norm = inf } }
attack a { network = net, input = d, perturbation = { directions = [drift], norm = inf } }
""")
    np.save(tmp_path / "x.npy", x)
    before = run(spec)
    np.save(tmp_path / "x.npy", x.reshape(4, 2, 6))
    fresh = run(spec, journal=None)
    assert radii_of(fresh[1]) != radii_of(before[1])
    assert run(spec) == fresh
    assert run(spec, "--cache-verify") is not None
    assert radii_of(run(spec, "--cache-verify")[1]) == radii_of(fresh[1])


def test_a_certificate_of_something_else_is_no_answer(spec: Path) -> None:
    """One of a property that always holds, with the classes that are asked about written beside it."""
    spec.write_text(spec.read_text().replace("eps = 0.01, engine", "eps = 100, engine"))
    wanted = run(spec, "-q", "v")
    other = spec.parent / "other.rspec"
    other.write_text(spec.read_text().replace("verify v { network = net,", "verify v { property = output[0] <= 1000000, network = net,"))
    home = spec.parent / "forged"
    assert main([str(other), "-q", "v", "--certificates", str(home), "--quiet"]) in (0, 4)
    claims = {}
    for path in sorted(home.iterdir()):
        (spec.parent / "c.cert").write_bytes(path.read_bytes())
        claim, arrays = load(spec.parent)
        claims[claim["sample"]] = (claim, arrays)
    assert claims
    journal, forged = Journal(spec.parent / "j"), 0
    for line in [x for x in lines(spec) if x.get("kind") == "verify"]:
        sample = line["row"]["sample"]
        if sample in claims:
            claim, arrays = claims[sample]
            label = {"label": 0, "against": [1, 2], "query": "v"}
            seal(spec.parent, claim | label, arrays)
            name = "v-0123456789ab.cert"
            files = {name: journal.keep((spec.parent / "c.cert").read_bytes())}
            answer = {"verdict": "certified", "complete": True, "eps": 100.0, "margin": 1.0, "certificate": name}
            journal.append([line | {"answer": answer, "files": files}])
            forged += 1
    assert forged
    assert _verdicts(run(spec, "-q", "v", "--cache-verify")[1]) == _verdicts(wanted[1])


def _verdicts(text: bytes) -> list[str]:
    return [row["verdict"] for query in json.loads(text)["queries"] for row in query["rows"]]


def test_what_was_cut_short_is_not_kept(spec: Path) -> None:
    """Whatever its rows say: a budget that ends inside an attack, or before a search."""
    head, bounds = spec.read_text().split("bounds b")
    cut = "engine = { method = complete, budget = 0.000000001 s }"
    spec.write_text(head.replace("engine = quick", cut).replace("frames = all", "frames = [3]") + "bounds b" + bounds)
    run(spec, "-q", "v", "-q", "r")
    kept = [x for x in lines(spec) if "answer" in x]
    assert all(x["row"]["label"] != x["row"]["predicted"] for x in kept)
    assert not any("together" in x for x in lines(spec))
    spec.write_text(spec.read_text().replace(", budget = 0.000000001 s", ""))
    fresh = run(spec, "-q", "v", "-q", "r", journal=None)
    assert run(spec, "-q", "v", "-q", "r") == fresh


def test_each_variant_has_its_own_budget(spec: Path) -> None:
    text = spec.read_text().replace("engine = quick, expect", "sweep engine in [quick, short], expect").replace("== 4", ">= 4")
    spec.write_text(text.replace("perturbation p {", "engine short { method = planes, tolerance = 0.1, budget = 0.000000001 s }\nperturbation p {"))
    assert radii_of(run(spec, "-q", "r")[1])[:4] == radii_of(run(spec, "-q", "r", journal=None)[1])[:4]
    assert max(radii_of(run(spec, "-q", "r")[1])[:4]) > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("radius", "abc"),
        ("radius", -1.0),
        ("radius", [1.0]),
        ("radius", True),
        ("certificate", "/tmp/evil.cert"),
        ("certificate", "../evil.cert"),
        ("files", []),
    ],
)
def test_lines_that_make_no_sense_count_as_missing(field: str, value: object, spec: Path) -> None:
    wanted = run(spec)
    journal = Journal(spec.parent / "j")
    for line in [x for x in lines(spec) if x.get("kind") == "radius"]:
        changed = line | {"files": value} if field == "files" else line | {"answer": line["answer"] | {field: value}}
        if field == "certificate":
            changed["files"] = {value: journal.keep(b"evil")}
        journal.append([changed])
    path = spec.parent / "j" / "rows.jsonl"
    path.write_text("\n".join(x for x in path.read_text().splitlines() if '"together"' not in x) + "\n")
    assert run(spec) == wanted
    assert not Path("/tmp/evil.cert").exists()
    assert not (spec.parent / "evil.cert").exists()


def test_a_network_of_another_name_is_written_nowhere_else(spec: Path) -> None:
    run(spec)
    journal = Journal(spec.parent / "j")
    for line in [x for x in lines(spec) if x.get("files")]:
        journal.append([line | {"files": line["files"] | {"../../evil.safetensors": journal.keep(b"evil")}}])
    run(spec)
    assert not list(spec.parent.parent.glob("*evil*"))


def test_rebuilding_makes_everything_again(spec: Path) -> None:
    """Also what a query says as a whole; and answers that were only proved are not remembered as if they were all."""
    wanted = run(spec)
    journal = Journal(spec.parent / "j")
    for line in [x for x in lines(spec) if x.get("together") == "r"]:
        rows = [x | {"answer": x["answer"] | {"radius": 777.0}} for x in line["rows"]]
        journal.append([line | {"rows": rows}])
    assert radii_of(run(spec)[1]) == [777.0] * 4
    assert run(spec, "--cache", "rebuild") == wanted
    assert run(spec) == wanted
    run(spec, "--cache-verify")
    assert run(spec) == wanted


def test_evidence_that_could_not_be_written_is_written_later(spec: Path) -> None:
    wanted = run(spec)
    shutil.rmtree(spec.parent / "j")
    name = next(n for n in wanted[2] if n.endswith(".cert"))
    (spec.parent / "c" / name).unlink()
    (spec.parent / "c" / name / "x").mkdir(parents=True)
    code = main(
        [str(spec), "--journal", str(spec.parent / "j"), "--certificates", str(spec.parent / "c"), "--witnesses", str(spec.parent / "w"), "--quiet"]
    )
    assert code == 2
    shutil.rmtree(spec.parent / "c" / name)
    assert run(spec) == wanted


def test_merging_takes_no_options_of_running(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(spec)
    for option in (
        ["--cache-verify"],
        ["--cache", "rebuild"],
        ["--no-journal"],
        ["--journal", "x"],
        ["--shard", "1/2"],
        ["--jobs", "2"],
        ["--cluster", "local:1"],
    ):
        assert main(["merge", str(spec.parent / "j"), "--spec", str(spec), *option]) == 2
        assert "does not go with merge" in capsys.readouterr().err


def test_an_index_of_other_rows_is_made_again(spec: Path) -> None:
    """Damaged, of other columns, empty, or of a file that was put over the one it is of."""
    wanted = run(spec)
    index, path = spec.parent / "j" / "index.sqlite", spec.parent / "j" / "rows.jsonl"
    whole = path.read_text().splitlines()
    for statements in (["DELETE FROM seen"], ["DROP TABLE lines", "CREATE TABLE lines (name TEXT)"], ["DROP TABLE seen"]):
        held = sqlite3.connect(index)
        for statement in statements:
            held.execute(statement)
        held.commit()
        held.close()
        assert run(spec, "--cache", "replay") == wanted
    content = bytearray(index.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    index.write_bytes(content)
    assert run(spec, "--cache", "replay") == wanted
    path.write_text("\n".join([*reversed(whole), "x" * 999]) + "\n")
    assert run(spec, "--cache", "replay") == wanted
