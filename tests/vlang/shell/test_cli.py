"""The command line as a user meets it: exit codes, streams, reports, speed."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlang.cli import main

ROOT = Path(__file__).parents[3]
HEAD = """rspec 1
param floor: number = 0
network net { checkpoint = "lstm.safetensors" }
network text { checkpoint = "text.safetensors" }
dataset data { source = "data.npz", pick = first(3) }
input words { text = "What is the name" }
"""


def spec(world: Path, body: str, name: str = "cli.rspec") -> str:
    path = world / name
    path.write_text(HEAD + body)
    return str(path)


def ask(extra: str = "", kind: str = "radius", p: str = "{ frames = all, norm = 2 }", of: str = "network = net, input = data") -> str:
    engine = "" if "engine" in extra else ", engine = { method = interval, tolerance = 0.05 }"
    return f"{kind} q {{ {of}, perturbation = {p}{engine}\n {extra} }}\n"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (ask("expect min(radius) >= 0"), 0),
        (ask("warn min(radius) >= 1000"), 0),
        (ask("expect min(radius) >= 1000"), 1),
        (ask("expect min(radius) > floor + 1000"), 1),
        (ask("expect min(raduis) > 0"), 2),
        (ask("eps = 0.5", kind="verify"), 0),
        (ask("eps = 1e-9\n expect rate(certified) >= 0", kind="verify"), 0),
        (ask("engine = { tolerance = 1e-9, budget = 1 ms }"), 4),
        ("", 5),
    ],
)
def test_exit_codes(body: str, code: int, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "eps = 0.5" in body:
        body = body.replace("eps = 0.5", "eps = 100")
    assert main([spec(world, body)]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_unknown_rows_without_expectations_are_inconclusive(world: Path) -> None:
    """eps between what interval bounds certify and what an attack falsifies."""
    body = ask("engine = { method = interval }\n target = each\n sweep eps in [1e-9, 1e-1, 2e-1, 3e-1, 0.5, 0.7, 1, 1.5]", kind="verify")
    path = spec(world, body)
    report = world / "verify.json"
    code = main([path, "--json", str(report)])
    rows = json.loads(report.read_text())["queries"][0]["rows"]
    assert {r["verdict"] for r in rows} >= {"certified", "unknown"}
    assert code == 4
    for r in rows:
        assert ("witness" in r) == (r["verdict"] == "falsified")
        assert r["verdict"] != "unknown" or r["reason"]


def test_precedence_over_several_files(world: Path) -> None:
    good, failed = spec(world, ask(), "good.rspec"), spec(world, ask("expect min(radius) > 1000"), "failed.rspec")
    bad, empty = spec(world, ask("expect 1"), "bad.rspec"), spec(world, "", "empty.rspec")
    assert main([good, failed, empty]) == 1
    assert main([good, failed, bad]) == 2
    assert main([good, empty]) == 5


def test_report(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = ask(
        'sweep engine.method in [lines, planes]\n expect min(radius) > 0 because "so"',
        p="{ frames = each, norm = inf }",
        of="network = text, input = words",
    )
    assert main([spec(world, body), "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == ["schema", "verdict", "spec", "engine", "networks", "data", "queries"]
    assert report["engine"]["dtype"] == "float64"
    (query,) = report["queries"]
    assert len(query["rows"]) == 8
    row = query["rows"][1]
    assert row["frames"] == [1]
    assert row["tokens"] == ["is"]
    assert row["norm"] == "inf"
    assert row["sweep"] == {"engine.method": "lines"}
    assert row["radius"] > 0
    assert not {"eps", "lower", "upper"} & set(row), "fields that do not apply are absent"
    (gate,) = query["expectations"]
    assert (gate["verdict"], gate["because"], gate["line"]) == ("passed", "so", 9)
    assert (gate["end_line"], gate["end_column"]) == (9, gate["column"] + len('expect min(radius) > 0 because "so"'))
    (network,) = report["networks"]
    assert network["sha256"] == hashlib.sha256((world / "text.safetensors").read_bytes()).hexdigest()
    assert [x["layer"] for x in network["reading"]["layers"]] == ["lstm", "last", "linear"]
    assert gate["actual"].startswith("min(radius) = ")


def test_params_and_queries_from_the_command_line(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec(world, ask("expect min(radius) >= floor") + ask("expect min(radius) >= 0").replace(" q ", " r "))
    assert main([path]) == 0
    assert main([path, "-p", "floor=8/2"]) == 1
    assert main([path, "-p", "floor=4", "-q", "r"]) == 0
    assert main([path, "-p", "floor=4", "-q", "r", "-q", "q"]) == 1  # no gate is lost
    for bad in (["-p", "flor=1"], ["-p", "floor"], ["-p", "floor=="], ["-p", "floor=abc"], ["-q", "nothing"], ["--jsn", "x"], ["--device", "tpu"]):
        capsys.readouterr()
        assert main([path, *bad]) == 2
        err = capsys.readouterr().err
        assert "error[R" in err
        assert "hint:" in err
    assert main([]) == 2
    assert main([str(world / "cli.rspce")]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main([str(world / "check.rspec")]) == 2
    assert "file not found" in capsys.readouterr().err
    for late in (["chek", path], [path, "plan"]):
        assert main(late) == 2
        out, err = capsys.readouterr()
        assert "did you mean vrun" in err
        assert out == ""


def test_samples_left_out_are_told(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Networks that are compared may have lost other samples."""
    body = """network scaled { from = net, normalize = spectral_radius(5) }
dataset right { source = "data.npz", where = correct }
radius q { network = net, input = right, perturbation = { frames = all, norm = 2 }, engine = { method = interval }, sweep network in [net, scaled] }
report page { of = q, rows = network }
"""
    path = spec(world, body)
    assert main([path]) == 0
    out = capsys.readouterr().out
    assert main([path, "--json", "-"]) == 0
    (query,) = json.loads(capsys.readouterr().out)["queries"]
    rows = {n: [r["sample"] for r in query["rows"] if r["sweep"]["network"] == n] for n in ("net", "scaled")}
    assert query["left_out"]
    for x in query["left_out"]:
        assert x["samples"] + len(rows[x["network"]]) == x["of"]
        assert f"{x['samples']} of {x['of']} samples left out: {x['network']} classifies them wrongly" in out
    assert out.rstrip().split("\n")[-1].startswith("PASSED")  # after the report that has no file
    assert out.count("report page") == 1


def test_a_radius_that_may_be_larger_than_max_radius_decides_nothing_above(world: Path) -> None:
    engine = "engine = { method = planes, max_radius = 1e-6 }"
    assert main([spec(world, ask(f"{engine}\n expect max(radius) >= 9e-7"))]) == 0
    assert main([spec(world, ask(f"{engine}\n expect max(radius) > 1"))]) == 4
    assert main([spec(world, ask(engine))]) == 0


@pytest.mark.parametrize("target", ["missing/report.json", "folder", "locked/report.json"])
def test_a_report_that_cannot_be_written_is_refused_before_computing(target: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([spec(world, ask()), "--json", str(world / target)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "R308" in err


def test_reports_are_whole_or_absent(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    assert main([spec(world, ask()), "--json", str(tmp_path / "r.json")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_check_and_plan_agree_with_run(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec(world, ask("sweep perturbation.norm in [1, inf]\n expect min(radius) >= 0"))
    assert main(["check", path]) == 0
    assert "ok, 1 query, 6 rows" in capsys.readouterr().out
    assert main(["plan", path]) == 0
    out = capsys.readouterr().out
    for part in ("radius q", "where perturbation.norm = inf", "3 samples of 4 frames", "graph nodes", "FLOP", "expect min(radius) >= 0"):
        assert part in out
    words = spec(world, "radius w { network = text, input = words, perturbation = { frames = [0, 3], norm = 2 } }")
    assert main(["plan", words]) == 0
    assert "frames 0:What, 3:name" in capsys.readouterr().out


def test_check_and_plan_need_neither_torch_nor_numpy(world: Path) -> None:
    path = spec(world, ask("expect min(radius) >= 0"))
    for command in ("check", "plan"):
        code = (
            f"import sys\nfrom vlang.cli import main\ncode = main([{command!r}, {path!r}])\n"
            "assert not {'torch', 'numpy', 'safetensors', 'rich'} & set(sys.modules), 'heavy import'\nsys.exit(code)"
        )
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert time.perf_counter() - start < 3  # a guard; 0.35 s when nothing else runs


def test_internal_errors_are_short_and_exit_3(world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    path = spec(world, ask())
    monkeypatch.setattr("vlang.shell.commands.compile_spec", broken)
    assert main([path]) == 3
    err = capsys.readouterr().err
    assert "internal error" in err
    assert "Traceback" not in err
    with pytest.raises(ZeroDivisionError):
        main(["run", path, "--debug"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_what_is_certified(number: signal.Signals, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes while the first query's second group is searched: its rows are cut short, the other query's are left undone."""
    from vlang.runtime.queries import radius

    search, calls, before = radius.certified_radii, [], signal.getsignal(number)

    def interrupted(*args: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(number)
        return search(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(radius, "certified_radii", interrupted)
    engine = "engine = { method = planes }"
    body = ask(f"{engine}\n sweep target in [random(seed=0), any]") + ask(engine).replace("radius q", "radius later")
    path, report = spec(world, body), world / "signal.json"
    assert main([path, "--json", str(report)]) == 4
    first, later = json.loads(report.read_text())["queries"]
    assert signal.getsignal(number) is before
    ended, cut, undone = first["rows"][0], first["rows"][3], later["rows"][0]  # the world's other samples are misclassified
    assert ended.get("complete", True)
    assert ended["radius"] > 0
    assert not cut["complete"]
    assert not undone["complete"]
    assert "interrupted" in undone["reason"]


def test_interrupt_exits_4(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vlang.runtime.execute.execute", stopped)
    assert main([spec(world, ask())]) == 4


def test_a_reader_that_stops_early_is_no_error(world: Path) -> None:
    path = spec(world, ask())
    done = subprocess.run(
        f"{sys.executable} -m vlang.cli {path} | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        executable="/bin/bash",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_binary_and_strange_specs(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("bin", b"\xff\xfe\x00rspec"), ("nul", b"rspec 1\n\x00"), ("none", b""), ("comment", b"# nothing\n")):
        path = world / f"{name}.rspec"
        path.write_bytes(content)
        assert main([str(path)]) == 2
        assert "hint:" in capsys.readouterr().err
    bom = world / "bom.rspec"
    bom.write_bytes(b"\xef\xbb\xbf" + (HEAD + ask()).replace("\n", "\r\n").encode())
    assert main([str(bom)]) == 0
    assert main([str(world / "folder")]) == 2


def test_an_old_report_is_left_alone_by_a_wrong_spec_and_does_not_outlive_a_run(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = world / "old.json"
    assert main([spec(world, ask()), "--json", str(report)]) == 0
    before = report.read_bytes()
    assert main([spec(world, ask("expect min(raduis) > 0")), "--json", str(report)]) == 2
    assert report.read_bytes() == before

    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("vlang.runtime.execute.execute", broken)
    assert main([spec(world, ask()), "--json", str(report)]) == 3
    assert not report.exists()


@pytest.mark.parametrize("name", ["cli.rspec", "lstm.safetensors", "data.npz", "gru.safetensors", "other.rspec"])
def test_nothing_that_a_spec_names_is_overwritten(name: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor anything else that is no report."""
    path, _ = spec(world, ask()), spec(world, ask(), "other.rspec")
    before = (world / name).read_bytes()
    assert main([path, "--json", str(world / name)]) == 2
    said = capsys.readouterr().err
    assert "the spec reads it" in said or "is no report" in said
    assert (world / name).read_bytes() == before


def test_several_specs_give_a_list_and_no_query_gives_an_empty_report(world: Path) -> None:
    report = world / "several.json"
    good, empty = spec(world, ask(), "one.rspec"), spec(world, "", "none.rspec")
    main([good, spec(world, "x", "broken.rspec"), "--json", str(report)])
    assert isinstance(json.loads(report.read_text()), list)
    assert main([empty, "--json", str(report)]) == 5
    assert json.loads(report.read_text())["verdict"] == "empty"


def test_the_report_says_which_params_it_was_about(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec(world, ask("engine = { method = interval }\n expect min(radius) >= floor\n sweep engine.tolerance in [1/100, 1e-3]"))
    assert main([path, "-p", "floor=1/1000", "--json", str(world / "p.json")]) in (0, 1)
    report = json.loads((world / "p.json").read_text())
    assert report["spec"]["params"] == {"floor": "0.001"}
    assert report["queries"][0]["rows"][0]["sweep"] == {"engine.tolerance": "0.01"}
    assert "params floor = 0.001" in capsys.readouterr().out


def test_the_hash_is_of_the_bytes(world: Path) -> None:
    import hashlib

    path = world / "crlf.rspec"
    path.write_bytes((HEAD + ask()).replace("\n", "\r\n").encode())
    assert main([str(path), "--json", str(world / "h.json")]) == 0
    assert json.loads((world / "h.json").read_text())["spec"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_numbers_are_printed_so_that_they_stay_certified() -> None:
    from fractions import Fraction

    from vlang.numbers import down, up

    for value in (0.1234567, 1.9999999, 123456.7, 1e-9 / 3, -0.1234567, 5e300 / 7):
        assert Fraction(down(value)) <= Fraction(value) <= Fraction(up(value))
        assert Fraction(down(value, 3)) <= Fraction(value) <= Fraction(up(value, 3))
