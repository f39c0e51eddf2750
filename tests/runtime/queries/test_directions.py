"""Sets of few dimensions: complete answers against grids, and certificates in boxes of which every part is needed."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.brute import directions, moved, net, rows
from tests.vlang.vcheck.certificates import Arrays, Claim, check, load, refused, seal
from vlang.lower.spec import compile_spec
from vlang.results import AttackRow, RadiusRow, VerifyRow
from vlang.runtime.attacks.witness import Limits, contains
from vlang.runtime.evidence.witness_files import RefutedError, UnreadableError, examine
from vlang.runtime.graph.concrete import logits
from vlang.runtime.network.load import network as load_network
from vlang.runtime.sets.directed import Directed
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source
from vlang.vcheck.directions import Directions
from vlang.vcheck.network import Graph

SAID: list[tuple[str, int | None]] = [("gain", None), ("drift", 1), ("offset", 0), ("shift", None), ("noise_floor", 1)]
DATA = 'dataset d { inputs = "x.npy" }\n'


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_those_of_a_grid(seed: int, tmp_path: Path) -> None:
    directions(tmp_path, seed, 4000)


def test_words_move_a_sample_as_they_say(tmp_path: Path) -> None:
    """The runtime's graph against the definitions in numpy, and the checker's nodes beside its."""
    x, theta = np.random.default_rng(0).normal(size=(4, 2)), np.random.default_rng(1).normal(size=(20, 5))
    model = net(_data(tmp_path, x), 0)
    text = 'rspec 1\nnetwork net { checkpoint = "net.safetensors" }\n' + DATA
    text += f"bounds b {{ network = net, input = d, perturbation = {_set()}, eps = 0 }}\n"
    plan = compile_spec(Source(str(tmp_path / "q.rspec"), text)).queries[0].variants[0].network
    graph = load_network(plan, torch.float64, torch.device("cpu")).unroll(4)
    seen = Directed(tuple(SAID)).graph(graph, torch.from_numpy(x))
    assert torch.allclose(logits(seen, torch.from_numpy(theta)[:, None]), model(torch.from_numpy(moved(x, SAID, theta))), atol=1e-9)
    checked = Graph({})
    Directions(x, SAID, None).frames(checked)
    assert [n.width for n in checked.nodes] == [n.width for n in seen.nodes[: len(checked.nodes)]]


def _set(norm: str = "inf") -> str:
    return f"{{ directions = [gain, drift(1), offset(0), shift, noise_floor(1)], norm = {norm} }}"


def _data(folder: Path, x: np.ndarray) -> Path:
    np.save(folder / "x.npy", x[None])
    return folder


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Claim, Arrays]:
    """A certificate in several boxes, of a 2-norm ball, some boxes outside it."""
    folder = _data(tmp_path_factory.mktemp("boxes"), np.random.default_rng(3).normal(size=(4, 2)).astype(np.float32))
    net(folder, 3)
    saved: dict[str, bytes] = {}
    text = "radius r { network = net, input = d, perturbation = { directions = [gain, shift], norm = 2 }, engine = { tolerance = 0.02 } }\n"
    (row,) = rows(folder, DATA + text, saved)
    assert isinstance(row, RadiusRow)
    assert row.method == "complete"
    assert row.attacked is not None
    assert 0.97 * row.attacked < row.radius <= row.attacked
    (content,) = saved.values()
    (folder / "c.cert").write_bytes(content)
    claim, arrays = load(folder)
    assert sum(node[0] == "proved" for node in claim["boxes"]) > 4
    assert any(node[0] == "outside" for node in claim["boxes"])
    return folder, claim, arrays


def test_a_certificate_in_boxes_is_valid(boxes: tuple[Path, Claim, Arrays]) -> None:
    assert "along gain, shift" in check(boxes[0])


def lies(claim: Claim) -> list[tuple[str, Claim]]:
    """Claims that say more than their boxes prove, each changed in one place."""
    tree, p = claim["boxes"], claim["perturbation"]
    cut = next(i for i, n in enumerate(tree) if n[0] == "cut")
    proved = [i for i, n in enumerate(tree) if n[0] == "proved"]
    outside = next(i for i, n in enumerate(tree) if n[0] == "outside")

    def at(i: int, node: list[object]) -> Claim:
        return claim | {"boxes": [*tree[:i], node, *tree[i + 1 :]]}

    *head, left, right = tree[cut]
    return [
        ("eps", claim | {"eps": "2"}),
        ("norm", claim | {"perturbation": p | {"norm": "inf"}}),
        ("a word", claim | {"perturbation": p | {"directions": [["gain", None], ["drift", None]]}}),
        ("a channel", claim | {"perturbation": p | {"directions": [["gain", 0], ["shift", None]]}}),
        ("an order", claim | {"perturbation": p | {"directions": [["shift", None], ["gain", None]]}}),
        ("fewer", claim | {"perturbation": p | {"directions": [["gain", None]]}}),
        ("a leaf left out", at(proved[0], ["outside"])),
        ("another's proof", at(proved[0], ["proved", tree[proved[-1]][1]])),
        ("no proof", at(outside, ["proved", 10**6])),
        ("a place", at(cut, [*head[:3], head[3] + 0.5 if head[3] < 0 else head[3] - 0.5, left, right])),
        ("one side", at(cut, [*head, right, right])),
        ("a loop", at(cut, [*head, cut, right])),
        ("another axis", at(cut, [head[0], head[1], 1 - head[2], head[3], left, right])),
        ("no tree", {k: v for k, v in claim.items() if k != "boxes"}),
        ("both", claim | {"pieces": [[-1.0, 1.0]]}),
        ("weights", claim | {"perturbation": p | {"weights": ["1/2"]}}),
        ("a scale", claim | {"perturbation": p | {"scale": [["1"]]}}),
        ("nothing", claim | {"boxes": []}),
    ]


@pytest.mark.parametrize("which", range(18))
def test_lies_about_boxes_are_refused(which: int, boxes: tuple[Path, Claim, Arrays]) -> None:
    folder, claim, arrays = boxes
    what, changed = lies(claim)[which]
    seal(folder, changed, arrays)
    assert refused(folder), what


def test_lies_about_what_proves_a_box_are_refused(boxes: tuple[Path, Claim, Arrays]) -> None:
    folder, claim, arrays = boxes
    g = np.random.default_rng(0)
    for name in g.choice(sorted(k for k in arrays if k.endswith(".box")), 6, replace=False):
        box = arrays[name]
        seal(folder, claim, arrays | {name: box + np.array([[1.0], [-1.0]]) * 0.6 * (box[1] - box[0])})  # turned inside out
        assert refused(folder), name


def test_given_directions_are_bound_to_their_hash(tmp_path: Path) -> None:
    net(_data(tmp_path, np.random.default_rng(5).normal(size=(4, 2)).astype(np.float32)), 2)
    np.save(tmp_path / "d.npy", np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32))
    saved: dict[str, bytes] = {}
    text = 'verify v { network = net, input = d, perturbation = { directions = "d.npy", norm = 1 }, eps = 0.01 }\n'
    (row,) = rows(tmp_path, DATA + text, saved)
    assert row.verdict == "certified"
    (tmp_path / "c.cert").write_bytes(*saved.values())
    assert "3 given directions" in check(tmp_path)
    claim, arrays = load(tmp_path)
    other = arrays | {"directions": 2 * arrays["directions"]}
    seal(tmp_path, claim, other)
    assert refused(tmp_path)
    seal(tmp_path, claim, arrays | {"directions": 0.5 * arrays["directions"]})  # of which all that is said may hold, but not what it is of
    assert refused(tmp_path)
    said = hashlib.sha256(other["directions"].tobytes()).hexdigest()
    seal(tmp_path, claim | {"perturbation": claim["perturbation"] | {"directions": said}, "eps": "1"}, other)
    assert refused(tmp_path)


def test_counterexamples_are_replayed_along_their_directions(tmp_path: Path) -> None:
    net(_data(tmp_path, np.random.default_rng(3).normal(size=(4, 2)).astype(np.float32)), 3)
    shown: dict[str, bytes] = {}
    (row,) = rows(tmp_path, DATA + f"attack a {{ network = net, input = d, perturbation = {_set('2')} }}\n", None, shown)
    assert isinstance(row, AttackRow)
    assert row.witness is not None
    assert len(row.witness) == 1
    assert len(row.witness[0]) == 5
    (content,) = shown.values()
    (tmp_path / "w.witness").write_bytes(content)
    assert "along its directions" in examine(str(tmp_path / "w.witness"), [str(tmp_path / "net.safetensors")])
    for old, new in ((b'"shift", null', b'"drift", null'), (b'"gain", null', b'"gain", 1'), (b'"weights": ["1"]', b'"weights": ["9"]')):
        text = content.replace(old.replace(b'"', b'\\"'), new.replace(b'"', b'\\"'))
        assert text != content
        (tmp_path / "m.witness").write_bytes(_resized(text, content))
        with pytest.raises((RefutedError, UnreadableError)):
            examine(str(tmp_path / "m.witness"), [str(tmp_path / "net.safetensors")])


def _resized(text: bytes, before: bytes) -> bytes:
    """A safetensors file whose header has grown or shrunk."""
    length = int.from_bytes(before[:8], "little") + len(text) - len(before)
    return length.to_bytes(8, "little") + text[8:]


def test_a_sample_that_is_wrong_itself_is_its_own_witness(tmp_path: Path) -> None:
    """theta = 0, which replay knows for one."""
    net(_data(tmp_path, np.zeros((4, 2), dtype=np.float32)), 3)
    np.save(tmp_path / "y.npy", np.array([0]))
    for label in range(3):
        np.save(tmp_path / "y.npy", np.array([label]))
        for query in ("attack a {{ {} }}", "verify v {{ {}, eps = 0.1 }}"):
            shown: dict[str, bytes] = {}
            data = 'dataset d { inputs = "x.npy", labels = "y.npy" }\n'
            asked = "network = net, input = d, perturbation = { directions = [offset, shift], norm = 2 }"
            (row,) = rows(tmp_path, data + query.format(asked) + "\n", None, shown)
            if row.label != row.predicted:
                assert isinstance(row, AttackRow | VerifyRow)
                assert row.witness == ((0.0, 0.0),)
                (tmp_path / "w.witness").write_bytes(*shown.values())
                examine(str(tmp_path / "w.witness"), [str(tmp_path / "net.safetensors")])


def test_sets_of_directions_are_swept_and_told_apart(tmp_path: Path) -> None:
    net(_data(tmp_path, np.random.default_rng(4).normal(size=(4, 2)).astype(np.float32)), 3)
    np.save(tmp_path / "d.npy", np.ones((1, 4, 2), dtype=">f4"))
    said = "network = net, input = d, perturbation = { directions = [gain], norm = 2 }"
    found = rows(tmp_path, DATA + f'bounds b {{ {said}, eps = 0.1, sweep perturbation.directions in [[gain], [shift], "d.npy"] }}\n')
    assert [r.norm for r in found] == ["2 along [gain]", "2 along [shift]", f"2 along the 1 of {tmp_path / 'd.npy'}"]
    assert len({r.question for r in found}) == 3


def test_verify_decides_on_both_sides_of_the_boundary(tmp_path: Path) -> None:
    net(_data(tmp_path, np.random.default_rng(3).normal(size=(4, 2)).astype(np.float32)), 3)
    said = "network = net, input = d, perturbation = { directions = [gain, shift], norm = 2 }"
    (radius,) = rows(tmp_path, DATA + f"radius r {{ {said}, engine = {{ method = complete, tolerance = 1e-3 }} }}\n")
    assert isinstance(radius, RadiusRow)
    assert radius.attacked is not None
    for eps, verdict in ((0.995 * radius.radius, "certified"), (1.005 * radius.attacked, "falsified")):
        (row,) = rows(tmp_path, DATA + f"verify v {{ {said}, eps = {eps}, engine = {{ method = complete }} }}\n")
        assert isinstance(row, VerifyRow)
        assert row.verdict == verdict


def test_balls_of_few_numbers_are_decided_completely(tmp_path: Path) -> None:
    """One frame of two numbers, clipped: the corners of the box and the attack's."""
    net(_data(tmp_path, np.random.default_rng(4).random(size=(4, 2)).astype(np.float32)), 1)
    for norm, clip in (("inf", ", clip = [0, 1]"), ("2", ""), ("1", "")):
        said = f"network = net, input = d, perturbation = {{ frames = [2], norm = {norm}{clip} }}, engine = {{ method = complete, max_radius = 20 }}"
        (row,) = rows(tmp_path, DATA + f"radius r {{ {said} }}\n")
        assert isinstance(row, RadiusRow)
        assert row.capped or (row.attacked is not None and row.radius > 0.99 * row.attacked)
        saved: dict[str, bytes] = {}
        (row,) = rows(tmp_path, DATA + f"verify v {{ {said}, eps = {0.9 * row.radius} }}\n", saved)
        assert row.verdict == "certified"
        (tmp_path / "c.cert").write_bytes(*saved.values())
        check(tmp_path)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("directions = [gain], norm = 2, frames = all", "'frames' does not apply"),
        ("directions = [gain], norm = 2, clip = [0, 1]", "'clip' does not apply"),
        ("directions = [gain], norm = 2, scale = [1, 1]", "'scale' does not apply"),
        ("directions = [gain]", "perturbation needs 'norm'"),
        ("norm = 2", "perturbation needs 'frames'"),
        ("directions = [gane], norm = 2", "gane"),
        ("directions = [gain(2)], norm = 2", "the channel of gain"),
        ("directions = [gain(0, 1)], norm = 2", "gain"),
        ("directions = [gain, gain], norm = 2", "gain"),
        ("directions = [], norm = 2", "directions"),
        ("directions = 3, norm = 2", "directions"),
        ('directions = "short.npy", norm = 2', "directions have the shape"),
        ('directions = "none.npy", norm = 2', "none.npy"),
        ('directions = [gain], words = "s.json"', "does not apply"),
        ("words = nearest(2), frames = all", "the input is not a text"),
    ],
)
def test_what_is_no_set_of_directions_is_refused(said: str, message: str, tmp_path: Path) -> None:
    net(_data(tmp_path, np.zeros((4, 2))), 0)
    np.save(tmp_path / "short.npy", np.zeros((2, 3, 2)))
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(SpecError) as e:
        rows(tmp_path, DATA + f"radius r {{ network = net, input = d, perturbation = {{ {said} }} }}\n")
    assert any(message in str(x.message) for x in e.value.diagnostics), [x.message for x in e.value.diagnostics]


@pytest.mark.parametrize(
    ("said", "engine", "message"),
    [
        ("frames = all, norm = 2", "method = complete", "complete"),
        ("frames = any(1), norm = 2", "method = complete", "complete"),
        ("directions = [gain], norm = 2", "semantics = deployed32", "deployed32"),
    ],
)
def test_what_cannot_be_searched_completely_says_so(said: str, engine: str, message: str, tmp_path: Path) -> None:
    net(tmp_path, 0)
    np.save(tmp_path / "x.npy", np.zeros((1, 5, 2)))
    with pytest.raises(SpecError) as e:
        rows(tmp_path, DATA + f"radius r {{ network = net, input = d, perturbation = {{ {said} }}, engine = {{ {engine} }} }}\n")
    assert any(message in str(x.message) for x in e.value.diagnostics)


def test_theta_is_held_to_its_ball_exactly() -> None:
    limits, zero = Limits((Fraction(1),), Fraction(2), None, None), torch.zeros(1, 2, dtype=torch.float64)
    assert contains(limits, zero, torch.tensor([[0.6, 0.8]], dtype=torch.float64), Fraction(1) + Fraction(1, 10**15))
    assert not contains(limits, zero, torch.tensor([[0.6, 0.8000001]], dtype=torch.float64), Fraction(1))
