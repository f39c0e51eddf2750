"""The checker: certificates are refused after any change.

Changes are sealed again (their digest is made right), so that the mathematics has to refuse them, and not the seal.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.vlang.vcheck.certificates import OFFSET_ROW, Arrays, Claim, certify, check, load, make_network, proved_by, refused, seal
from vlang.cli import main as vrun
from vlang.vcheck import certificate
from vlang.vcheck.cli import main as vcheck
from vlang.vcheck.errors import InvalidError, UnreadableError


def changed_network(kind: str) -> Callable[[Claim, Arrays], None]:
    def change(claim: Claim, arrays: Arrays) -> None:
        claim["network"]["sha256"] = kind * 64

    return change


def every(arrays: Arrays, what: str, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    for name in [k for k in arrays if k.endswith(f".{what}")]:
        arrays[name] = change(arrays[name].copy())


def claim_of(*path: str | int, value: Any) -> Callable[[Claim, Arrays], None]:
    def change(claim: Claim, arrays: Arrays) -> None:
        at: Any = claim
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value(at[path[-1]]) if callable(value) else value

    return change


def arrays_of(what: str, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Callable[[Claim, Arrays], None]:
    return lambda claim, arrays: every(arrays, what, change)


def drop(what: str) -> Callable[[Claim, Arrays], None]:
    def change(claim: Claim, arrays: Arrays) -> None:
        for name in [k for k in arrays if k.endswith(f".{what}")]:
            del arrays[name]

    return change


def lowered(row: int) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """One row of an array, one part in a thousand of its size less (the last row of a plane: its offset)."""

    def change(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        a[row] -= 1e-3 * (1 + np.abs(a[row]))
        return a

    return change


def raised(row: int) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    return lambda a: -lowered(row)(-a)


def scaled(factor: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    return lambda a: a * factor


def narrower(share: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    def change(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        middle = a.mean(0)
        return middle + (a - middle) * (1 - share)

    return change


def swapped(claim: Claim, arrays: Arrays) -> None:
    """Two nodes' planes in each other's place: steps in another order."""
    names = sorted(k for k in arrays if k.endswith(".upper"))
    pair = next((a, b) for a in names for b in names if a < b and arrays[a].shape == arrays[b].shape and not np.array_equal(arrays[a], arrays[b]))
    arrays[pair[0]], arrays[pair[1]] = arrays[pair[1]], arrays[pair[0]]


def all_named(what: str, value: float) -> Callable[[Claim, Arrays], None]:
    return arrays_of(what, lambda a: np.full_like(a, value))


CHANGES: dict[str, Callable[[Claim, Arrays], None]] = {
    "larger eps": claim_of("eps", value=lambda e: str(certificate.rational(e) * 11 / 10)),
    "another network": changed_network("0"),
    "another cell": claim_of("network", "layers", 0, "layer", value=lambda c: {"lstm": "gru", "gru": "lstm", "rnn_tanh": "rnn_relu"}[c]),
    "another label": claim_of("label", value=lambda c: (c + 1) % 3),
    "label among the others": claim_of("against", value=lambda a: [0, 1, 2]),
    "nobody to beat": claim_of("against", value=[]),
    "class that is not there": claim_of("against", value=[7]),
    "another norm": claim_of("perturbation", "norm", value=lambda p: "inf" if p == "2" else "7" if p == "1" else "1/2"),
    "heavier weights": claim_of("perturbation", "weights", value=lambda w: [str(certificate.rational(x) * 2) for x in w]),
    "negative weight": claim_of("perturbation", "weights", value=lambda w: ["-1", *w[1:]]),
    "a frame less": claim_of("perturbation", "weights", value=lambda w: w[1:]),
    "nothing at once": claim_of("perturbation", "at_most", value=0),
    "input hash": claim_of("input", "sha256", value="0" * 64),
    "tokens of no embedding": claim_of("input", "tokens", value=[0, 1, 2]),
    "format of tomorrow": claim_of("format", value="rspec-certificate/9"),
    "eps by another name": claim_of("eps", value="1e-3"),
    "eps over zero": claim_of("eps", value="1/0"),
    "eps of a million digits": claim_of("eps", value="9" * 10**6),
    "infinite layers": claim_of("network", "layers", 0, "layers", value=10**9),
    "no layers": claim_of("network", "layers", 0, "layers", value=0),
    "too many initial states": claim_of("network", "layers", 0, "initial", value=lambda names: [None, None, None]),
    "an initial state that is none": claim_of("network", "layers", 0, "initial", value=lambda names: ["out.weight"] * (len(names) or 1)),
    "readout nobody knows": claim_of("network", "layers", 1, "layer", value="first"),
    "an embedding that is none": claim_of("network", "embedding", value="out.bias"),
    "tokens counted from the end": claim_of("input", "tokens", value=[-1, -2, -3]),
    "a clip without the input": claim_of("perturbation", "clip", value=["5", "5"]),
    "a clip inside out": claim_of("perturbation", "clip", value=["9", "-9"]),
    "a lone surrogate": claim_of("network", "sha256", value="\ud800"),
    "a chart of nothing": lambda claim, arrays: arrays.update({"chart.basis": np.zeros((3, 0)), "chart.scale": np.ones(3)}),
    "a chart of too much": lambda claim, arrays: arrays.update({"chart.basis": np.zeros((3, 20000)), "chart.scale": np.ones(3)}),
    "no head": claim_of("network", "layers", value=lambda layers: layers[:-1]),
    "no network": claim_of("network", "layers", value=[]),
    "another readout": claim_of("network", "layers", 1, "layer", value="max"),
    "an activation more": claim_of("network", "layers", value=lambda layers: [*layers, {"layer": "relu", "of": [len(layers) - 1]}]),
    "an output that is below": claim_of("network", "layers", value=lambda layers: [*layers, {"layer": "none", "of": [1]}]),
    "two outputs": claim_of("network", "layers", 1, value={"layer": "none", "of": [0]}),
    "a layer of itself": claim_of("network", "layers", 2, "of", value=[2]),
    "directions without end": claim_of("network", "layers", 0, "directions", value=10**9),
    "upper offsets": arrays_of("upper", lowered(-1)),
    "lower offsets": arrays_of("lower", raised(-1)),
    "upper slopes": arrays_of("upper", lowered(0)),
    "lower slopes": arrays_of("lower", raised(0)),
    "boxes narrower": arrays_of("box", narrower(0.02)),
    "boxes moved": arrays_of("box", lambda a: a + 0.01),
    "boxes inside out": arrays_of("box", lambda a: a[::-1]),
    "box dropped": drop("box"),
    "planes in another order": swapped,
    "upper and lower exchanged": lambda claim, arrays: arrays.update(
        {k.replace("upper", "LOW"): v for k, v in arrays.items() if k.endswith("upper")}
        | {k.replace("lower", "upper"): v for k, v in arrays.items() if k.endswith("lower")}
        | {k.replace("upper", "lower"): v for k, v in arrays.items() if k.endswith("upper")}
    ),
    "shapes": arrays_of("box", lambda a: a[:, :-1]),
    "another input": lambda claim, arrays: (
        arrays.update(input=arrays["input"] * 4 + 1),
        claim["input"].update(sha256=hashlib.sha256((arrays["input"] * 1.0).astype("<f8").tobytes()).hexdigest()),
    )[0],
    "denormal offsets": all_named("upper", 5e-324),
}
PLANES = {"planes dropped": drop("upper")}
FORMS: dict[str, Callable[[Claim, Arrays], None]] = {
    "motions surer": arrays_of("motion", lambda a: a * [[1], [0.9], [1]]),
    "motions moved": arrays_of("motion", lambda a: np.add(a, [[0.01], [0], [0]])),
    "motions of boxes": arrays_of("motion", lambda a: a * [[1], [1], [0]]),
    "negative residuals": arrays_of("motion", lambda a: np.stack([a[0], -np.abs(a[1]) - 1e-3, a[2]])),
    "upper parabolas lower": arrays_of("above", lambda a: lowered(OFFSET_ROW[len(a)])(a)),
    "lower parabolas higher": arrays_of("below", lambda a: raised(OFFSET_ROW[len(a)])(a)),
    "upper parabolas steeper": arrays_of("above", raised(0)),
    "upper parabolas flatter": arrays_of("above", lowered(-1)),
    "lower parabolas flatter": arrays_of("below", raised(-1)),
    "parabolas without curvature": arrays_of("above", lambda a: np.concatenate([a[: OFFSET_ROW[len(a)] + 1], 0 * a[OFFSET_ROW[len(a)] + 1 :]])),
    "parabolas exchanged": lambda claim, arrays: arrays.update(
        {k.replace("above", "below"): v for k, v in arrays.items() if k.endswith(".above")}
        | {k.replace("below", "above"): v for k, v in arrays.items() if k.endswith(".below")}
    ),
    "parabolas dropped": drop("below"),
    "parabolas reshaped": arrays_of("above", lambda a: a[:-1]),
    "multipliers too small": arrays_of("multipliers", scaled(0.9)),
    "multipliers negative": arrays_of("multipliers", scaled(-1.0)),
    "multipliers of nothing": arrays_of("multipliers", scaled(0.0)),
    "multipliers dropped": drop("multipliers"),
    "multipliers reshaped": arrays_of("multipliers", lambda a: a[:, :-1] if a.shape[1] else a[:-1]),
    "multipliers of residuals too small": arrays_of("rest", scaled(0.9)),
    "multipliers of residuals dropped": drop("rest"),
}
PIECES: dict[str, Callable[[Claim, Arrays], None]] = {
    "a piece less": claim_of("pieces", value=lambda p: p[1:]),
    "a piece less at the other end": claim_of("pieces", value=lambda p: p[:-1]),
    "a gap": claim_of("pieces", 0, value=lambda p: [p[0], p[1] - 0.01 * (p[1] - p[0])]),
    "a piece wider": claim_of("pieces", 0, value=lambda p: [p[0], p[1] + 0.5 * (p[1] - p[0])]),
    "no direction": lambda claim, arrays: arrays.__delitem__("direction"),
    "another direction": lambda claim, arrays: arrays.update(direction=arrays["direction"][::-1] * 1.5),
    "another offset": arrays_of("offset", lambda a: a + 0.05),
    "pieces for one": claim_of("pieces", value=None),
    "NaN in JSON": claim_of("pieces", 0, value=[float("nan"), 1.0]),
    "no direction at all": lambda claim, arrays: (
        claim.update(pieces=[[5.0, 6.0]]),
        arrays.update(direction=np.zeros_like(arrays["direction"])),
    )[0],
    "pieces beyond the balls": lambda claim, arrays: claim.update(pieces=[[p[0] + 99, p[1] + 99] for p in claim["pieces"]]),
    "pieces twice": lambda claim, arrays: claim.update(pieces=[claim["pieces"][0]] * len(claim["pieces"])),
    "infinite piece": claim_of("pieces", value=[[float("-inf"), float("inf")]]),
}


@pytest.mark.parametrize(
    ("cell", "method"), [(c, m) for c in ("rnn", "lstm", "gru") for m in ("planes", "quadratic", "sliced") if m != "sliced" or c == "rnn"]
)
def test_no_changed_certificate_is_accepted(cell: str, method: str, tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", cell, s=5 if cell == "rnn" else 3, seed=3)
    claim, arrays = proved_by(method, tmp_path, "frames = all, norm = 2")
    changes = CHANGES | (PLANES if method == "planes" else FORMS) | (PIECES if claim["pieces"] else {})
    accepted, counts = [], Counter[bool]()
    for name, change in changes.items():
        altered, theirs = json.loads(json.dumps(claim)), dict(arrays)
        change(altered, theirs)
        seal(tmp_path, altered, theirs)
        bad = not refused(tmp_path)
        counts[bad] += 1
        accepted += [name] * bad
    assert not accepted
    seal(tmp_path, claim, arrays)
    check(tmp_path, "m.cert")


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_nothing_is_changed_alone(cell: str, tmp_path: Path) -> None:
    """One number of one unit of one node, a little: what is stated has no more room than rounding needs."""
    make_network(tmp_path / "net.safetensors", cell, s=3, seed=3)
    claim, arrays = proved_by("quadratic", tmp_path, "frames = all, norm = 2")
    rng, changes = np.random.default_rng(0), {"motion": [(0, 1), (0, -1), (1, -1)], "box": [(0, 1), (1, -1)], "upper": [(-1, -1)], "lower": [(-1, 1)]}
    for name in arrays:
        for row, sign in changes.get(name.split(".")[-1], []):
            theirs = {k: v.copy() for k, v in arrays.items()}
            theirs[name][row, rng.integers(theirs[name].shape[1])] += sign * 1e-6
            seal(tmp_path, claim, theirs)
            assert refused(tmp_path), (name, row, sign)


def test_what_the_checkpoint_says_of_itself_is_compared(tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "rnn", activation="relu")
    assert certify(tmp_path, "frames = all, norm = 2", "planes").certificate
    assert "NOTE" not in check(tmp_path)
    make_network(tmp_path / "net.safetensors", "rnn", activation="tanh")
    assert certify(tmp_path, "frames = all, norm = 2", "planes").certificate
    claim, arrays = load(tmp_path)
    tensors, _, sha256 = certificate.read(str(tmp_path / "net.safetensors"))
    seal(tmp_path, claim, arrays)
    other = {sha256: (tensors, {"activation": "relu", "readout": "mean", "head": '["relu"]'})}
    with pytest.raises(InvalidError, match="without saying so"):
        certificate.check(str(tmp_path / "m.cert"), other)
    claim["network"]["overrides"] = {"activation": "relu", "readout": "mean", "head": '["relu"]'}
    seal(tmp_path, claim, arrays)
    assert "NOTE: read otherwise than its metadata says" in certificate.check(str(tmp_path / "m.cert"), other)


def test_a_spec_that_overrides_metadata_says_so_in_its_certificates(tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "rnn", activation="relu", readout="mean")
    assert certify(tmp_path, "frames = all, norm = 2", "planes", said=", activation = tanh, readout = last").certificate
    assert "NOTE: read otherwise than its metadata says: {'readout': 'mean', 'activation': 'relu'}" in check(tmp_path)


def test_no_changed_byte_is_accepted(tmp_path: Path) -> None:
    """Without a new seal: every change of the file's bytes, and every truncation."""
    make_network(tmp_path / "net.safetensors", "rnn", s=3)
    assert certify(tmp_path, "frames = all, norm = 2", "quadratic", m=2).certificate
    content = (tmp_path / "c.cert").read_bytes()
    g = np.random.default_rng(0)
    places = {*g.choice(len(content), 300).tolist(), *range(64), len(content) - 1}
    for place in places:
        bit = 1 << int(g.integers(8))
        (tmp_path / "m.cert").write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        try:
            said = check(tmp_path, "m.cert")
        except (InvalidError, UnreadableError):
            continue
        # Some bytes mean nothing (white space between two JSON tokens): what is proved is then the same.
        assert said == check(tmp_path)
    for cut in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "m.cert").write_bytes(content[:cut])
        assert refused(tmp_path)
    (tmp_path / "m.cert").write_bytes(content + b"\0")
    assert refused(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_nan_or_infinity_is_accepted(value: float, tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "rnn", s=3)
    assert certify(tmp_path, "frames = all, norm = 2", "quadratic", m=2).certificate
    claim, arrays = load(tmp_path)
    for name in arrays:
        theirs = {k: v.copy() for k, v in arrays.items()}
        theirs[name].flat[0] = value
        seal(tmp_path, claim, theirs)
        assert refused(tmp_path), name


def test_a_changed_network_is_refused(tmp_path: Path) -> None:
    """A weight changed in the checkpoint, its hash put right in the certificate."""
    make_network(tmp_path / "net.safetensors", "lstm")
    assert certify(tmp_path, "frames = all, norm = 2", "planes").certificate
    claim, arrays = load(tmp_path)
    tensors, metadata, _ = certificate.read(str(tmp_path / "net.safetensors"))
    for name in (k for k in tensors if k.startswith("rnn")):  # the head's leave every bound but the margin's
        theirs = {k: v.astype(np.float32) for k, v in tensors.items()}
        theirs[name] = theirs[name] * np.float32(-1.5) + np.float32(0.1)
        save_file(theirs, tmp_path / "net.safetensors", metadata)
        claim["network"]["sha256"] = hashlib.sha256((tmp_path / "net.safetensors").read_bytes()).hexdigest()
        seal(tmp_path, claim, arrays)
        assert refused(tmp_path), name


def test_huge_headers_allocate_nothing(tmp_path: Path) -> None:
    make_network(tmp_path / "net.safetensors", "rnn")
    for head in (b'{"a":{"dtype":"F64","shape":[1000000000,1000000000],"data_offsets":[0,8000000000000000000]}}', b"[" * 100000, b"{" * 9):
        (tmp_path / "m.cert").write_bytes(len(head).to_bytes(8, "little") + head)
        assert refused(tmp_path)
    (tmp_path / "m.cert").write_bytes((2**63).to_bytes(8, "little") + b"{}")
    assert refused(tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """vrun --certificates, vcheck, and their exit codes."""
    make_network(tmp_path / "net.safetensors", "gru")
    make_network(tmp_path / "other.safetensors", "gru", seed=5)
    certify(tmp_path, "frames = all, norm = 2", "planes")
    spec = tmp_path / "q.rspec"
    spec.write_text(
        'rspec 1\nnetwork net { checkpoint = "net.safetensors" }\ndataset d { inputs = "x.npy" }\n'
        "radius q { network = net, input = d, perturbation = { frames = each, norm = 2 }, engine = { method = planes } }\n"
    )
    assert vrun(["run", str(spec), "--certificates", str(tmp_path / "proofs"), "--json", str(tmp_path / "r.json")]) == 0
    rows = json.loads((tmp_path / "r.json").read_text())["queries"][0]["rows"]
    assert len({r["certificate"] for r in rows}) == 3
    assert {p.name for p in (tmp_path / "proofs").iterdir()} == {r["certificate"] for r in rows}
    proofs = [str(tmp_path / "proofs" / r["certificate"]) for r in rows]
    net = ["--network", str(tmp_path / "net.safetensors")]
    assert vcheck([*proofs, *net, "--spec", str(spec)]) == 0
    assert vcheck([proofs[0], "--network", str(tmp_path / "other.safetensors")]) == 1
    assert vcheck([proofs[0], *net, "--spec", str(tmp_path / "x.npy")]) == 1
    assert vcheck([str(tmp_path / "x.npy"), *net]) == 2
    assert vcheck([str(tmp_path / "absent"), *net]) == 2
    assert vcheck([net[1], *net]) == 2
    assert vcheck([proofs[0], "--network", str(tmp_path / "x.npy")]) == 2
    claim, arrays = certificate.read(proofs[0])[1], certificate.read(proofs[0])[0]
    seal(tmp_path, json.loads(claim["certificate"]) | {"eps": "9"}, arrays)
    assert vcheck([str(tmp_path / "m.cert"), *net]) == 1
    said = capsys.readouterr().out
    assert said.count("valid: class") == 3
    assert "INVALID: " in said
