"""Certificates: written for every kind of network, norm, set and method, and accepted as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import vlang
from tests.vlang.vcheck.certificates import KINDS, certify, check, load, make_network, proved_by, refused, seal
from vlang.cli import main as vrun
from vlang.vcheck import certificate
from vlang.vcheck.cli import main as vcheck

#: Every method, the ones that make forms in the middle.
METHODS = ("interval", "lines", "planes", "quadratic", "sliced", "optimized")


@pytest.mark.parametrize(
    ("cell", "norm"),
    [*(("gru", norm) for norm in ("1", "3/2", "2", "4", "inf")), *((cell, norm) for cell in ("rnn", "relu", "lstm") for norm in ("2", "inf"))],
)
def test_every_method_is_proved_again(cell: str, norm: str, tmp_path: Path) -> None:
    metadata = {"activation": "relu"} if cell == "relu" else {}
    make_network(tmp_path / "net.safetensors", "rnn" if cell == "relu" else cell, seed=len(norm), **metadata)
    for method in METHODS if norm == "2" else METHODS[2:5] if cell != "lstm" and norm in ("1", "inf") else METHODS[2:4]:
        row = certify(tmp_path, f"frames = all, norm = {norm}", method, seed=METHODS.index(method))
        assert re.fullmatch("q-[0-9a-f]{12}.cert", row.certificate or ""), row.reason
        assert row.radius
        assert row.radius > 0.003
        assert check(tmp_path).startswith("class ")


def test_an_activation_of_what_is_read_out_is_proved_again(tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "gru")
    for method in ("planes", "quadratic"):
        said = ", layers = [gru, last, tanh, linear]"
        assert certify(tmp_path, "frames = all, norm = 2", method, said=said).certificate
        assert "last -> tanh -> linear (prefix out.)" in check(tmp_path)


@pytest.mark.parametrize(
    ("cell", "metadata"),
    [
        ("lstm", {"both": "yes", "layers": "2"}),
        ("gru", {"both": "yes", "readout": "mean"}),
        ("lstm", {"readout": "max"}),
        ("gru", {"both": "yes", "readout": "last_frame"}),
        ("rnn", {"head": '["relu"]'}),
        ("lstm", {"head": '["sigmoid"]'}),
        ("gru", {"head": '["tanh"]', "layers": "2"}),
    ],
)
def test_every_architecture_is_proved_again(cell: str, metadata: dict[str, str], tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", cell, **metadata)
    for method in ("planes", "quadratic"):
        assert certify(tmp_path, "frames = all, norm = 2", method, m=3).certificate
        check(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_every_precision_of_weights_is_read_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "lstm", dtype=dtype)
    assert certify(tmp_path, "frames = all, norm = 2", "quadratic").certificate
    check(tmp_path)


@pytest.mark.parametrize(
    "perturbation",
    [
        "frames = [1], norm = 2",
        "frames = [1, 2], norm = 2, weights = [1, 2, 1/3]",
        "frames = any(2), norm = 2",
        *(f"frames = all, norm = {norm}, clip = [0, 1]" for norm in ("1", "5/4", "2", "4", "inf")),
        "frames = any(2), norm = 2, clip = [0, 1], weights = [1, 1/2, 2]",
    ],
)
def test_every_kind_of_set_is_proved_again(perturbation: str, tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "gru")
    clipped = "clip" in perturbation and "inf" not in perturbation  # whose pieces have a test of their own: radii of them take their time
    for method in ("planes", "quadratic") if clipped else ("planes", "quadratic", "sliced"):
        assert certify(tmp_path, perturbation, method).certificate
        check(tmp_path)


@pytest.mark.parametrize(
    ("perturbation", "seed", "eps"),
    [
        ("frames = any(2), norm = 2, clip = [0, 1], weights = [1, 1/2, 2]", 0, "0.2572"),
        ("frames = all, norm = 1, clip = [0, 1]", 1, "2.17"),  # most of the ball's own span is outside the clip
    ],
)
def test_pieces_of_clipped_balls_are_proved_again(perturbation: str, seed: int, eps: str, tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "gru", seed=seed)
    assert certify(tmp_path, perturbation, "sliced", query="verify", extra=f", eps = {eps}", seed=seed).certificate
    assert len(load(tmp_path)[0]["pieces"]) > 1
    check(tmp_path)


@pytest.mark.parametrize(("n", "seed"), [(3, 0), (100, 5)])
def test_boxes_seen_from_their_middles_are_proved_again(n: int, seed: int, tmp_path: Path) -> None:
    """Number by number, or by a chart of theirs; and no other middle proves what this one does."""
    make_network(tmp_path / "net.safetensors", "rnn", n=n, seed=seed)
    assert certify(tmp_path, "frames = all, norm = inf, clip = [0, 1]", "quadratic", n=n, m=4, tolerance=0.01).certificate
    claim, arrays = load(tmp_path)
    assert claim["method"] == "quadratic"
    assert ("chart.basis" in arrays) == (n > 3)
    check(tmp_path)
    for lie in (-arrays["0.offset"], 1.1 * arrays["0.offset"], 0 * arrays["0.offset"]):
        seal(tmp_path, claim, arrays | {"0.offset": lie})
        assert refused(tmp_path)


def test_long_sequences_of_wild_states_are_proved_again(tmp_path: Path) -> None:
    """The enclosures of a walk widen at every frame, whatever the bounds do."""
    make_network(tmp_path / "net.safetensors", "gru", s=4, seed=2)
    tensors = load_file(tmp_path / "net.safetensors")
    tensors["rnn.weight_hh_l0"] *= 8
    save_file(tensors, tmp_path / "net.safetensors")
    assert certify(tmp_path, "frames = [0], norm = 2", "planes", m=24, query="verify", extra=", eps = 1e-3").certificate
    check(tmp_path)


@pytest.mark.parametrize(("cell", "name", "value"), [("rnn", "bias_hh_l0", 70.0), ("gru", "bias_ih_l0", 30.0), ("lstm", "bias_ih_l0", -30.0)])
def test_saturated_units_are_proved_again(cell: str, name: str, value: float, tmp_path: Path) -> None:
    """Slopes and values of 1e-30 and less are no rounding errors of the checker's."""
    make_network(tmp_path / "net.safetensors", cell)
    tensors = load_file(tmp_path / "net.safetensors")
    for k in (1, 4):
        tensors[f"rnn.{name}"][k % len(tensors[f"rnn.{name}"])] = value
    save_file(tensors, tmp_path / "net.safetensors", {"activation": "tanh"})
    for method in ("planes", "quadratic"):
        assert certify(tmp_path, "frames = all, norm = 2", method).certificate
        check(tmp_path)


def test_an_input_at_a_rounded_end_of_its_clip_is_proved_again(tmp_path: Path) -> None:
    """The float64 that 0.9 is read as lies above 9/10; the certificate is about a range that holds it."""
    make_network(tmp_path / "net.safetensors", "lstm")
    x = np.full((1, 3, 3), 0.9)
    assert Fraction(float(x[0, 0, 0])) > Fraction(9, 10)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "q.rspec").write_text("""rspec 1
network net { checkpoint = "net.safetensors" }
dataset d { inputs = "x.npy" }
radius q { network = net, input = d, perturbation = { frames = all, norm = 2, clip = [0, 0.9] }, engine = { method = planes } }
""")
    assert vrun(["run", str(tmp_path / "q.rspec"), "--certificates", str(tmp_path / "proofs")]) == 0
    assert vcheck([str(*(tmp_path / "proofs").glob("q-*.cert")), "--network", str(tmp_path / "net.safetensors")]) == 0


@pytest.mark.parametrize("norm", ["2", "inf"])
def test_wide_frames_are_proved_again(norm: str, tmp_path: Path) -> None:
    """Frames of 40 numbers read by 4 units: the forms see a chart of them (where the coordinates themselves are too many)."""
    n = 100 if norm == "inf" else 40
    make_network(tmp_path / "net.safetensors", "rnn", n=n, seed=2)
    _, arrays = proved_by("quadratic", tmp_path, f"frames = all, norm = {norm}", n)
    assert "chart.basis" in arrays
    check(tmp_path)


def test_forms_of_many_coordinates_leave_a_checker_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker measures its balls of matrices by row sums: beside spectral norms that is much at a hundred coordinates."""
    specs = Path(__file__).parents[3] / "specs"
    network, spec = specs / "checkpoints" / "mnist_rnn_4f_32h.safetensors", tmp_path / "q.rspec"
    spec.write_text(f"""rspec 1
network net {{ checkpoint = "{network}" }}
dataset d {{ source = "{specs}/data/mnist_test.npz", frames = 4, pick = first(1) }}
radius q {{ network = net, input = d, perturbation = {{ frames = all, norm = 2 }}, engine = {{ method = quadratic, tolerance = 0.1 }} }}
""")

    def proved() -> int:
        assert vrun(["run", str(spec), "--quiet", "--certificates", str(tmp_path / "proofs")]) == 0
        return vcheck([*map(str, (tmp_path / "proofs").glob("q-*.cert")), "--network", str(network)])

    assert proved() == 0
    monkeypatch.setattr("vlang.runtime.rounding.CHECKED", 0.0)
    assert proved() == 1


def test_a_verified_row_is_proved_at_the_exact_eps(tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "lstm")
    row = certify(tmp_path, "frames = all, norm = 2", "auto", query="verify", extra=", eps = 1/30")
    assert row.certificate
    assert load(tmp_path)[0]["eps"] == "1/30"
    check(tmp_path)


@pytest.mark.parametrize("kind", ["torch", "bfloat16", "derived"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_networks_that_vcheck_does_not_read_are_saved_beside_their_proofs(
    cell: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the weights that were run, and no others: their certificates are about that file."""
    source, proofs = tmp_path / ("net.pt" if kind == "torch" else "net.safetensors"), tmp_path / "proofs"
    torch.manual_seed(0)
    bidirectional = kind == "torch"
    model = KINDS[cell](3, 4, num_layers=2, bias=cell != "gru", bidirectional=bidirectional, batch_first=True)
    state = {f"rnn.{k}": v.detach() for k, v in model.state_dict().items()} | {"h0": 0.1 * torch.randn(4 if bidirectional else 2, 4)}
    if cell == "lstm":
        state["c0"] = 0.1 * torch.randn(4 if bidirectional else 2, 4)
    state |= {"out.0.weight": torch.randn(5, 8 if bidirectional else 4), "out.2.weight": torch.randn(3, 5), "out.2.bias": torch.randn(3)}
    if kind == "torch":
        torch.save(state, source)
    else:
        from safetensors.torch import save_file as save

        save({k: v.to(torch.bfloat16 if kind == "bfloat16" else torch.float32).contiguous() for k, v in state.items()}, source)
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(1, 3, 3)))
    said = (", activation = tanh" if cell == "rnn" else "") + (", readout = last" if bidirectional else "")
    (tmp_path / "q.rspec").write_text(f"""rspec 1
network net {{ checkpoint = "{source.name}", head = [relu]{said} }}
network stable {{ from = net, normalize = spectral_radius(1/2) }}
dataset d {{ inputs = "x.npy" }}
engine quick {{ method = planes, tolerance = 0.2 }}
radius q {{ network = {"stable" if kind == "derived" else "net"}, input = d, perturbation = {{ frames = all, norm = 2 }}, engine = quick }}
""")
    for _ in range(2):
        assert vrun(["run", str(tmp_path / "q.rspec"), "--certificates", str(proofs)]) == 0
    (saved,) = proofs.glob("*.safetensors")
    capsys.readouterr()
    assert vcheck([str(*proofs.glob("q-*.cert")), "--network", str(saved)]) == 0
    weights = certificate.read(str(saved))[0]
    unscaled = {k: v for k, v in weights.items() if kind != "derived" or "weight_hh" not in k}
    kept = {k: v.to(torch.bfloat16 if kind == "bfloat16" else torch.float32).double().numpy() for k, v in state.items()}
    assert all(np.array_equal(v, kept.get(k, np.zeros(1))) or not v.any() for k, v in unscaled.items())
    assert set(kept) <= set(weights)
    if kind == "derived":
        for block in np.split(weights["rnn.weight_hh_l0"], len(weights["rnn.weight_hh_l0"]) // 4):
            assert abs(np.linalg.eigvals(block)).max() == pytest.approx(0.5)
    capsys.readouterr()
    assert vcheck([str(*proofs.glob("q-*.cert")), "--network", str(source)]) == (1 if kind == "derived" else 2)
    assert (saved.name if kind == "derived" else "cannot be read") in capsys.readouterr().out


def test_what_has_no_certificate_is_said_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_network(tmp_path / "net.safetensors", "gru")
    certify(tmp_path, "frames = all, norm = 2", "planes")
    spec = tmp_path / "q.rspec"
    spec.write_text(
        'rspec 1\nnetwork net { checkpoint = "net.safetensors" }\ndataset d { inputs = "x.npy" }\n'
        "radius q { network = net, input = d, perturbation = { frames = all, norm = 2 }, engine = { semantics = deployed32 } }\n"
    )
    assert vrun(["run", str(spec), "--certificates", str(tmp_path / "proofs")]) == 2
    assert "R504" in capsys.readouterr().err
    assert vrun(["run", str(spec), "--certificates", str(spec)]) == 2
    assert vrun(["run", str(spec), str(spec), "--certificates", str(tmp_path / "proofs")]) == 2
    assert "one spec at a time" in capsys.readouterr().err


def test_a_full_disk_leaves_no_half_certificate(tmp_path: Path) -> None:
    """Files may grow to 1,000 bytes: no certificate, nothing in its place, a word on it and exit 2."""
    make_network(tmp_path / "net.safetensors", "gru")
    certify(tmp_path, "frames = all, norm = 2", "planes")
    (tmp_path / "q.rspec").write_text(
        'rspec 1\nnetwork net { checkpoint = "net.safetensors" }\ndataset d { inputs = "x.npy" }\n'
        "radius q { network = net, input = d, perturbation = { frames = all, norm = 2 }, engine = { method = planes } }\n"
    )
    code = (
        "import resource, signal, sys; from vlang.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", code, "run", "q.rspec", "--certificates", "proofs", "--json", "r.json"]
    path = os.pathsep.join([str(Path(vlang.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 2
    assert "R308" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "proofs").iterdir()) == []
    assert not (tmp_path / "r.json").exists()


def test_radii_are_ordered_in_the_norm_and_proved_of_sets_that_hold_them(tmp_path: Path) -> None:
    """p near 1, 2 and infinity loses nothing to them: its balls are bounded as slightly larger ones, and the certificate is of those."""
    make_network(tmp_path / "net.safetensors", "rnn", seed=3, s=4)
    radii, said = [], []
    for p in ("1", "10001/10000", "2", "2.001", "1000000", "inf"):
        radii.append(certify(tmp_path, f"frames = all, norm = {p}", "quadratic", tolerance=1e-3).radius)
        said.append(check(tmp_path))
    assert all(a >= b * (1 - 2e-3) for a, b in pairwise(radii))
    assert radii[0] <= radii[1] * 1.002
    assert radii[4] == pytest.approx(radii[5], rel=2e-3)
    assert "inf-norm" in said[4]


def test_a_clip_that_cuts_nothing_off_changes_nothing(tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "gru", seed=3, s=4)
    for method in ("planes", "quadratic"):
        far, near = (certify(tmp_path, f"frames = all, norm = inf, clip = [-{c}, {c}]", method).radius for c in (1000, 20))
        assert near == far
        assert "all numbers in" not in check(tmp_path)  # it is proved of the whole ball
