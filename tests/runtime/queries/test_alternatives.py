"""Words that become others: answers against trying every substitution, and certificates of which every one is looked at."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.brute import M, N, net, rows, substitutions
from tests.vlang.vcheck.certificates import check, load, refused, seal
from vlang.plan import DataError
from vlang.results import RadiusRow, VerifyRow
from vlang.runtime.evidence.witness_files import RefutedError, UnreadableError, examine
from vlang.runtime.queries.choices import nearest
from vlang.runtime.searches import substitutions as searched
from vlang.runtime.sets.hull import Hull
from vlang.text.diagnostics import SpecError

TEXT = 'input q { text = "w0 w3 w5 w3 w1" }\n'


@pytest.mark.parametrize("seed", range(30))
def test_answers_are_those_of_trying_every_substitution(seed: int, tmp_path: Path) -> None:
    substitutions(tmp_path, seed)


@pytest.mark.parametrize("seed", range(12, 20))
def test_sets_that_are_ruled_out_together_change_no_answer(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where hardly any substitution is looked at alone."""
    monkeypatch.setattr(searched, "WORTH_BOUNDING", 1)
    substitutions(tmp_path, seed)


def test_a_hull_bounds_every_step(tmp_path: Path) -> None:
    """Against all of them, one by one: so many frames at once, each by one of its steps or by none."""
    g = torch.Generator().manual_seed(0)
    for at_most in (1, 2, 3):
        steps = torch.randn(5, 3, 4, 2, generator=g, dtype=torch.float64)
        steps[:, 1, 2:] = 0
        hull = Hull(steps, steps.abs().amax(2), torch.full((5,), at_most))
        a = {k: torch.randn(5, 7, 2, generator=g, dtype=torch.float64) for k in range(3)}
        gains = torch.stack([torch.cat([torch.zeros(5, 7, 1), a[k] @ steps[:, k].mT], -1).amax(-1) for k in range(3)], -1)
        truth = gains.sort(-1, descending=True).values[..., :at_most].sum(-1)
        found = hull.support(a)
        assert bool((found >= truth).all())
        assert torch.allclose(found, truth, rtol=1e-9, atol=1e-12)
        assert all(bool((hull.reach(k) >= steps[:, k].abs().amax((1, 2))[:, None]).all()) for k in range(3))


Saved = dict[str, bytes] | None


def ask(folder: Path, query: str, saved: Saved = None, shown: Saved = None, seed: int = 1) -> RadiusRow | VerifyRow:
    net(folder, seed, 9)
    (row,) = rows(folder, TEXT + query, saved, shown)
    assert isinstance(row, RadiusRow | VerifyRow)
    return row


NEAREST = "network = net, input = q, perturbation = { words = nearest(3), frames = any(2) }"


def certified(folder: Path) -> VerifyRow:
    for seed in range(20):
        saved: dict[str, bytes] = {}
        row = ask(folder, f"verify v {{ {NEAREST} }}\n", saved, seed=seed)
        if row.verdict == "certified":
            (folder / "c.cert").write_bytes(*saved.values())
            assert isinstance(row, VerifyRow)
            return row
    raise AssertionError("none is certified")


def test_a_certificate_is_checked_substitution_by_substitution(tmp_path: Path) -> None:
    row = certified(tmp_path)
    assert row.eps == 2
    assert "106 texts" in check(tmp_path)  # 1 + 5 3 + 10 9
    claim, arrays = load(tmp_path)
    p = claim["perturbation"]
    every = list(range(9))
    for what, said in (
        ("more words", p | {"alternatives": [every] * 5, "at_most": 5}),
        ("no token", p | {"alternatives": [[9], *p["alternatives"][1:]]}),
        ("fewer frames", p | {"alternatives": p["alternatives"][1:]}),
        ("no number", p | {"at_most": "2"}),
        ("below 0", p | {"at_most": -1}),
        ("a norm", p | {"norm": "2"}),
    ):
        seal(tmp_path, claim | {"perturbation": said}, arrays)
        assert refused(tmp_path), what
    for what, changed in (
        ("another class", claim | {"label": claim["against"][0], "against": [claim["label"], claim["against"][1]]}),
        ("other words", claim | {"input": claim["input"] | {"tokens": [1, 3, 5, 3, 1]}}),
        ("no words", claim | {"input": claim["input"] | {"tokens": None}}),
    ):
        seal(tmp_path, changed, arrays)
        assert refused(tmp_path), what


def test_counterexamples_are_replayed_among_the_alternatives(tmp_path: Path) -> None:
    for seed in range(20):
        shown: dict[str, bytes] = {}
        row = ask(tmp_path, f"verify v {{ {NEAREST} }}\n", None, shown, seed)
        if row.verdict == "falsified":
            break
    assert isinstance(row, VerifyRow)
    assert row.replaced is not None
    assert 1 <= sum(map(bool, row.replaced)) <= 2
    (content,) = shown.values()
    (tmp_path / "w.witness").write_bytes(content)
    there = [str(tmp_path / "net.safetensors")]
    assert "its words become others" in examine(str(tmp_path / "w.witness"), there)
    header = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + header]
    at_most = b'at_most\\": 2'
    for lie in (*(text.replace(at_most, b'at_most\\": ' + new) for new in (b"0", b"true", b"-1", b"Infinity")), _without_alternatives(text)):
        assert lie != text
        (tmp_path / "m.witness").write_bytes(len(lie).to_bytes(8, "little") + lie + content[8 + header :])
        with pytest.raises((RefutedError, UnreadableError)):
            examine(str(tmp_path / "m.witness"), there)


def _without_alternatives(text: bytes) -> bytes:
    held = json.loads(text)
    claim = json.loads(held["__metadata__"]["witness"])
    claim["perturbation"]["alternatives"] = [[] for _ in claim["perturbation"]["alternatives"]]
    held["__metadata__"]["witness"] = json.dumps(claim)
    return json.dumps(held).encode()


def test_the_nearest_words_are_those_of_the_embedding() -> None:
    table = torch.tensor([[0.0], [1.0], [1.0], [-3.0], [0.5], [0.1]], dtype=torch.float64)
    words = ("a", "b", "c", "d", "<unk>", "[PAD]")
    assert nearest(table, 0, words, 3) == (1, 2, 3)
    assert nearest(table, 3, words, 2) == (0, 1)
    assert nearest(table, 0, words, 99) == (1, 2, 3)


def test_where_a_radius_ends_is_no_end_of_what_is_verified(tmp_path: Path) -> None:
    """max_radius is of searches: a verify looks at every substitution all the same."""
    met = set()
    for seed in range(8):
        plain = ask(tmp_path, f"verify v {{ {NEAREST} }}\n", seed=seed)
        for most in ("1/2", "1"):
            limited = ask(tmp_path, f"verify v {{ {NEAREST}, engine = {{ max_radius = {most} }} }}\n", seed=seed)
            assert (limited.verdict, limited.size) == (plain.verdict, plain.size)
        met.add(plain.verdict)
    assert "falsified" in met


def test_words_are_found_however_they_are_written(tmp_path: Path) -> None:
    """As written, then in small letters; a row says how many have alternatives, so that none at all is seen."""
    for table, words in (({"W0": ["w1"]}, 1), ({"w0": ["w1"], "W3": ["w2"]}, 3), ({"w8": ["w1"]}, 0), ({"w0": ["w0"], "w3": []}, 0)):
        (tmp_path / "s.json").write_text("\ufeff" + json.dumps(table), encoding="utf-8")
        row = ask(tmp_path, 'verify v { network = net, input = q, perturbation = { words = "s.json", frames = all } }\n')
        assert row.verdict == "falsified" or row.reason == f"{words} of 5 words have alternatives"
        count = ask(tmp_path, 'radius r { network = net, input = q, perturbation = { words = "s.json", frames = all } }\n')
        assert words or count.reason == "no word has an alternative"
    row = ask(tmp_path, "radius r { network = net, input = q, perturbation = { words = nearest(1), frames = all }, engine = { max_radius = 1 } }\n")
    assert (row.size or 0.0) <= 1


def test_a_count_of_words_ends_at_those_asked_about(tmp_path: Path) -> None:
    row = ask(tmp_path, "radius r { network = net, input = q, perturbation = { words = nearest(1), frames = [4] } }\n", seed=0)
    assert isinstance(row, RadiusRow)
    assert row.radius in (0, 1)
    assert row.capped == (row.radius == 1)


@pytest.mark.parametrize(
    ("table", "query", "message"),
    [
        ('{"w0": ["w1"]}', "verify v { network = net, input = q, perturbation = p, eps = 1 }", "'eps' does not apply"),
        ('{"w0": ["w1"]}', "attack a { network = net, input = q, perturbation = p }", "a set of words in attack"),
        ('{"w0": ["w1"]}', "bounds b { network = net, input = q, perturbation = p, eps = 1 }", "a set of words in bounds"),
        ('{"w0": ["w1"]}', "radius r { network = net, input = q, perturbation = p, engine = { method = quadratic } }", "method = quadratic"),
        ('{"w0": ["w1"]}', "radius r { network = net, input = q, perturbation = p, engine = { semantics = deployed32 } }", "deployed32"),
        ('{"w0": ["neither"]}', "radius r { network = net, input = q, perturbation = p }", "'neither', for 'w0', is not in the vocabulary"),
        ('{"w0": ["w1 w2"]}', "radius r { network = net, input = q, perturbation = p }", "is 2 words"),
        ('{"w0": "w1"}', "radius r { network = net, input = q, perturbation = p }", "no list of words"),
        ('{"w0": ["w1"], "w0": ["w2"]}', "radius r { network = net, input = q, perturbation = p }", "stands in it twice"),
        ('{"new york": ["w1"]}', "radius r { network = net, input = q, perturbation = p }", "'new york' is 2 words"),
        ("[]", "radius r { network = net, input = q, perturbation = p }", "no record of words"),
        ("{", "radius r { network = net, input = q, perturbation = p }", "file of alternatives"),
    ],
)
def test_what_is_no_set_of_words_is_refused(table: str, query: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(table)
    with pytest.raises(SpecError) as e:
        ask(tmp_path, f'perturbation p {{ words = "s.json", frames = any(2) }}\n{query}\n')
    assert any(message in str(x.message) for x in e.value.diagnostics), [x.message for x in e.value.diagnostics]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("words = nearest(9), frames = all", "k in nearest(k)"),
        ("words = nearest(0), frames = all", "k in nearest(k)"),
        ("words = nearest, frames = all", "words"),
        ("words = farthest(2), frames = all", "farthest"),
        ("words = nearest(2)", "perturbation needs 'frames'"),
        ("words = nearest(2), frames = all, norm = 2", "'norm' does not apply"),
        ("words = nearest(2), frames = all, weights = [1, 1, 1, 1, 1]", "'weights' does not apply"),
        ("directions = [gain], norm = 2", "a text has no numbers that could drift"),
    ],
)
def test_what_is_not_said_of_words_is_refused(said: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as e:
        ask(tmp_path, f"radius r {{ network = net, input = q, perturbation = {{ {said} }} }}\n")
    assert any(message in str(x.message) for x in e.value.diagnostics), [x.message for x in e.value.diagnostics]


# -- frames of numbers ------------------------------------------------------------------------------------------------------


def numbers(folder: Path, seed: int, query: str = "verify", frames: str = "any(2)", **held: Saved) -> RadiusRow | VerifyRow:
    """Two samples of 4 frames, each of which may become one of 3; the second is asked about."""
    net(folder, seed)
    g = np.random.default_rng(seed)
    np.save(folder / "x.npy", g.normal(size=(2, M, N)).astype(np.float32))
    np.save(folder / "a.npy", g.normal(size=(2, M, 3, N)).astype(np.float32) / 2)
    said = f'perturbation = {{ alternatives = "a.npy", frames = {frames} }}'
    row, *_ = rows(folder, f'dataset d {{ inputs = "x.npy" }}\n{query} q {{ network = net, input = d[1], {said} }}\n', **held)
    assert isinstance(row, RadiusRow | VerifyRow)
    return row


def test_certificates_of_frames_that_become_others(tmp_path: Path) -> None:
    """Every substitution is looked at; other rows, other arrays, and rows that are none are refused."""
    for seed in range(20):
        saved: dict[str, bytes] = {}
        if numbers(tmp_path, seed, saved=saved).verdict == "certified":
            break
    (tmp_path / "c.cert").write_bytes(*saved.values())
    said = check(tmp_path)
    assert "67 texts" in said  # 1 + 4 3 + 6 9
    assert "of its frames become others" in said
    claim, arrays = load(tmp_path)
    p, given = claim["perturbation"], arrays["alternatives"]
    assert np.array_equal(given.reshape(M, 3, N), np.load(tmp_path / "a.npy")[1])
    far = 40 * given
    lies: list[tuple[dict[str, Any], np.ndarray[Any, Any]]] = [
        (p | {"alternatives": [[*range(3 * M)]] * M, "at_most": M, "table": hashlib.sha256(far.tobytes()).hexdigest()}, far),
        (p, far),
        (p | {"table": None}, given),
        ({k: v for k, v in p.items() if k != "table"}, given),
        (p | {"alternatives": [[3 * M], [], [], []]}, given),
        (p | {"alternatives": [[-1], [], [], []]}, given),
        (p | {"alternatives": p["alternatives"][1:]}, given),
    ]
    for changed, array in lies:
        seal(tmp_path, claim | {"perturbation": changed}, arrays | {"alternatives": array})
        assert refused(tmp_path), changed
    seal(tmp_path, claim, {k: v for k, v in arrays.items() if k != "alternatives"})
    assert refused(tmp_path)


def test_counterexamples_of_frames_that_become_others(tmp_path: Path) -> None:
    for seed in range(20):
        shown: dict[str, bytes] = {}
        row = numbers(tmp_path, seed, shown=shown)
        if row.verdict == "falsified":
            break
    assert isinstance(row, VerifyRow)
    assert row.reason is not None
    assert "is its alternative" in row.reason
    assert row.witness is not None
    x, a = np.load(tmp_path / "x.npy")[1], np.load(tmp_path / "a.npy")[1]
    changed = [k for k in range(M) if not np.array_equal(row.witness[k], x[k])]
    assert 1 <= len(changed) <= 2
    assert all(any(np.array_equal(row.witness[k], other) for other in a[k]) for k in changed)
    (content,) = shown.values()
    (tmp_path / "w.witness").write_bytes(content)
    there = [str(tmp_path / "net.safetensors")]
    assert "its frames become others" in examine(str(tmp_path / "w.witness"), there)
    tensors, claim = load_file(tmp_path / "w.witness"), json.loads(_text(content))
    p = claim["perturbation"]
    for changed_, moved in (
        (p | {"alternatives": [[]] * M}, {}),
        (p | {"at_most": 0}, {}),
        (p, {"alternatives": tensors["alternatives"] * 2}),
        (p | {"table": "0"}, {}),
        ({k: v for k, v in p.items() if k != "table"}, {}),
        (p, {"witness": tensors["witness"] + 1}),
    ):
        save_file(tensors | moved, tmp_path / "m.witness", {"witness": json.dumps(claim | {"perturbation": changed_})})
        with pytest.raises((RefutedError, UnreadableError)):
            examine(str(tmp_path / "m.witness"), there)


def _text(content: bytes) -> str:
    held = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return str(held["__metadata__"]["witness"])


def test_each_frame_alone_is_a_row(tmp_path: Path) -> None:
    net(tmp_path, 1)
    np.save(tmp_path / "x.npy", np.ones((1, M, N)))
    np.save(tmp_path / "a.npy", np.zeros((M, 1, N)))
    text = 'dataset d {{ inputs = "x.npy" }}\nradius q {{ network = net, input = d, perturbation = {{ alternatives = "a.npy", frames = {} }} }}\n'
    assert [r.frames for r in rows(tmp_path, text.format("each"))] == [(k,) for k in range(M)]
    assert [r.frames for r in rows(tmp_path, text.format("[1:3]"))] == [(1, 2)]


@pytest.mark.parametrize(
    ("shape", "said", "message"),
    [
        ((M, 3), "frames = all", "have the shape"),
        ((M + 1, 3, N), "frames = all", "have the shape"),
        ((M, 3, N + 1), "frames = all", "have the shape"),
        ((M, 0, N), "frames = all", "have the shape"),
        ((2, M, 3, N), "frames = all", "alternatives of 2 samples"),
        ((M, 3, N), "frames = all, norm = 2", "'norm' does not apply"),
        ((M, 3, N), "frames = all, clip = [0, 1]", "'clip' does not apply"),
        ((M, 3, N), "frames = all, words = nearest(2)", "does not apply"),
        ((M, 3, N), "directions = [gain], norm = 2, frames = all", "does not apply"),
    ],
)
def test_alternatives_that_do_not_fit_are_refused(shape: tuple[int, ...], said: str, message: str, tmp_path: Path) -> None:
    net(tmp_path, 1)
    np.save(tmp_path / "x.npy", np.ones((1, M, N)))
    np.save(tmp_path / "a.npy", np.zeros(shape))
    text = f'dataset d {{ inputs = "x.npy" }}\nradius q {{ network = net, input = d, perturbation = {{ alternatives = "a.npy", {said} }} }}\n'
    with pytest.raises(SpecError) as caught:
        rows(tmp_path, text)
    assert any(message in x.message for x in caught.value.diagnostics)


def test_alternatives_are_finite(tmp_path: Path) -> None:
    net(tmp_path, 1)
    np.save(tmp_path / "x.npy", np.ones((1, M, N)))
    np.save(tmp_path / "a.npy", np.full((M, 1, N), np.nan))
    with pytest.raises(DataError):
        rows(
            tmp_path,
            'dataset d { inputs = "x.npy" }\nradius q { network = net, input = d, perturbation = { alternatives = "a.npy", frames = all } }\n',
        )
