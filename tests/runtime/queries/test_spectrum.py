"""spectrum and derived networks, as a user meets them: specs, gates, tables, JSON, pictures, reports, proofs that do not apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from safetensors.numpy import load_file

from vlang.cli import main

SPEC = """rspec 1
network rnn { checkpoint = "rnn.safetensors" }
network stable { from = rnn, normalize = spectral_radius(0.9) }
network lstm { checkpoint = "lstm.safetensors" }
dataset data { source = "data.npz" }
"""


def run(world: Path, body: str, *options: str) -> tuple[int, dict[str, Any]]:
    (world / "s.rspec").write_text(SPEC + body)
    code = main(["run", str(world / "s.rspec"), "--json", str(world / "s.json"), *options])
    return code, json.loads((world / "s.json").read_text()) if code in (0, 1, 4) else {}


def test_a_matrix_and_its_quantities(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run(world, "spectrum w { of = rnn.weight_hh, eps = [0.01, 0.1]\n expect spectral_radius > 0\n expect kreiss >= 1\n}\n")
    assert code == 0
    (row,) = report["spectra"][0]["rows"]
    w = load_file(world / "rnn.safetensors")["rnn.weight_hh_l0"].astype(np.float64)
    values = np.linalg.eigvals(w)
    assert row["of"] == "rnn.weight_hh"
    assert row["spectral_radius"] == pytest.approx(abs(values).max())
    assert row["power_radius"] == pytest.approx(row["spectral_radius"], rel=1e-4)
    assert row["spectral_norm"] == pytest.approx(np.linalg.norm(w, 2))
    assert sorted(abs(complex(*v)) for v in row["eigenvalues"]) == pytest.approx(sorted(abs(values)))
    _, left, right = scipy.linalg.eig(w, left=True)
    conditions = 1 / abs((left.conj() * right).sum(0))
    assert sorted(row["eigenvalue_conditions"]) == pytest.approx(sorted(conditions))
    assert max(row["eigenvalue_conditions"]) == row["eigenvalue_condition"]
    assert [p["eps"] for p in row["pseudospectra"]] == [0.01, 0.1]
    assert row["pseudospectra"][1]["radius"] >= row["spectral_radius"] + 0.1 - 1e-9
    out = capsys.readouterr().out
    assert "departure from normality" in out
    assert "not proved" in out


def test_gates_of_gated_cells_in_a_sweep(world: Path) -> None:
    gates = ", ".join(f"lstm.gate({g}).weight_hh" for g in "ifgo")
    code, report = run(world, f"spectrum w {{\n sweep of in [{gates}]\n expect max(spectral_norm) > 100\n warn min(henrici) > 100\n}}\n")
    assert code == 1
    (spectrum,) = report["spectra"]
    w = load_file(world / "lstm.safetensors")["rnn.weight_hh_l0"].astype(np.float64)
    norms = [np.linalg.norm(w[4 * k : 4 * k + 4], 2) for k in range(4)]
    assert [r["spectral_norm"] for r in spectrum["rows"]] == pytest.approx(norms)
    assert [e["verdict"] for e in spectrum["expectations"]] == ["failed", "warned"]
    assert spectrum["rows"][1]["sweep"] == {"of": "lstm.gate(f).weight_hh"}


def test_what_is_only_bounded_leaves_gates_undecided(world: Path) -> None:
    """The nearest defective matrix found is an upper bound: that it is far cannot be decided, that one is near can."""
    code, report = run(world, "spectrum w { of = rnn.weight_hh\n expect defective > 1e-9\n}\n")
    assert code == 4
    assert report["spectra"][0]["expectations"][0]["verdict"] == "unknown"
    assert run(world, "spectrum w { of = rnn.weight_hh\n expect defective < 1e9\n}\n")[0] == 0


def test_jacobians_and_growth_along_a_trajectory(world: Path) -> None:
    code, report = run(world, "spectrum w { of = lstm.jacobian(data[1], 2)\n expect product_growth >= 1\n}\n")
    assert code == 0
    assert report["spectra"][0]["rows"][0]["size"] == 8
    assert report["spectra"][0]["rows"][0]["of"] == "lstm.jacobian(data[1], 2)"


def test_a_derived_network_is_another_one(world: Path) -> None:
    body = """
perturbation p { frames = all, norm = 2 }
radius cert { input = data, perturbation = p, target = any, engine = { method = planes }, sweep network in [rnn, stable] }
attack pgd { input = data, perturbation = p, target = any, sweep network in [rnn, stable] }
spectrum w {
  sweep of in [rnn.weight_hh, stable.weight_hh]
  expect max(spectral_radius) < 100
}
report both {
  of = [cert, pgd, w]
  rows = [network, matrix]
  cell = { accuracy = rate(cert.correct), rho = max(w.spectral_radius), certified = median(cert.radius), attack = median(pgd.radius) }
  format = [html, csv, text, svg], path = "both"
  expect all(w.spectral_radius < 100)
}
"""
    code, report = run(world, body)
    assert code == 0
    table = report["reports"][0]
    assert [line[:2] for line in table["lines"]] == [["rnn", "rnn.weight_hh"], ["stable", "stable.weight_hh"]]
    assert float(table["lines"][1][3]) == pytest.approx(0.9)
    assert table["lines"][0][3] != table["lines"][1][3]
    radii = [{r["radius"] for r in report["queries"][0]["rows"] if r["sweep"]["network"] == n} for n in ("rnn", "stable")]
    assert not radii[0] & radii[1] - {0.0}
    assert radii[1] > {0.0}
    page = (world / "both.html").read_text()
    assert "Pseudospectra" in page
    assert page.count("<svg") >= 1
    assert "scaled to a spectral radius of 0.9" in page
    assert (world / "both.svg").read_text().startswith("<?xml")


def test_pictures_are_written(world: Path) -> None:
    code, _ = run(world, 'spectrum w { of = rnn.weight_hh, picture = "pictures/w.png", points = 20 }\n')
    assert code == 0
    assert (world / "pictures" / "w.png").read_bytes().startswith(b"\x89PNG")
    code, _ = run(
        world, 'spectrum w { of = rnn.weight_hh, picture = "w.svg", points = 20 }\nspectrum v { of = stable.weight_hh, picture = "w.svg" }\n'
    )
    assert code == 2


def test_a_picture_that_cannot_be_written_is_blamed_on_its_line(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "taken.svg").mkdir()
    code, _ = run(world, 'spectrum w {\n of = rnn.weight_hh\n picture = "taken.svg"\n}\n')
    assert code == 2
    assert "s.rspec:8:12: error[R308]" in capsys.readouterr().err


def test_a_report_of_matrices_alone(world: Path) -> None:
    body = 'spectrum w { sweep of in [rnn.weight_hh, stable.weight_hh] }\nreport r { of = w, format = [html, markdown, svg], path = "alone" }\n'
    code, report = run(world, body)
    assert code == 0
    assert [line[0] for line in report["reports"][0]["lines"]] == ["rnn.weight_hh", "stable.weight_hh"]
    code, report = run(world, "spectrum w { of = rnn.weight_hh }\nreport r { of = w }\n")
    assert [line[:2] for line in report["reports"][0]["lines"]] == [["rnn", "rnn.weight_hh"]]


def test_derived_networks_have_witnesses(world: Path) -> None:
    body = """
perturbation p { frames = all, norm = 2 }
attack pgd { network = stable, input = data[0], perturbation = p, target = any }
"""
    code, report = run(world, body, "--witnesses", str(world / "found"))
    assert code == 0
    name = report["queries"][0]["rows"][0]["witness_file"]
    assert main(["replay", str(world / "found" / name)]) == 0


def test_plan_and_check_say_what_is_asked(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "s.rspec").write_text(SPEC + "spectrum w { of = lstm.jacobian(data[0], 1), eps = 0.1 }\n")
    assert main(["plan", str(world / "s.rspec")]) == 0
    assert "lstm.jacobian(data[0], 1), 8 x 8, eps 0.1" in capsys.readouterr().out
    assert main(["check", str(world / "s.rspec")]) == 0
    assert "1 query, 1 row" in capsys.readouterr().out
