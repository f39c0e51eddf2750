"""Outputs of several steps: rows ask about the right ones, certified sets keep their labels, and a phrase is only said if all of it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.vlang.vcheck.certificates import check, load, refused, seal
from vlang.lower.spec import compile_spec
from vlang.results import AttackRow, RadiusRow, Row, VerifyRow
from vlang.runtime.execute import execute
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source

FRAMES, CLASSES = 4, 3


class Tagger(nn.Module):
    """A class a frame."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.rnn = nn.GRU(2, 4, batch_first=True)
        self.out = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.out(self.rnn(x)[0])
        return found


@pytest.fixture
def model() -> Tagger:
    made = Tagger()
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(2)
    return made.double().eval()


@pytest.fixture
def folder(model: Tagger, tmp_path: Path) -> Path:
    save_file({k: v.float() for k, v in model.state_dict().items()}, tmp_path / "net.safetensors")
    x = np.random.default_rng(0).normal(size=(4, FRAMES, 2)).astype(np.float32)
    with torch.no_grad():
        np.savez(tmp_path / "d.npz", inputs=x, labels=model(torch.from_numpy(x).double()).argmax(-1).numpy())
    return tmp_path


def ask(folder: Path, query: str, more: str = "", saved: dict[str, bytes] | None = None) -> list[Row]:
    kind, rest = query.split(maxsplit=1)
    text = f"""rspec 1
network net {{ checkpoint = "net.safetensors", labels = [a, b, c]{more} }}
dataset d {{ source = "d.npz" }}
{kind} q {{ network = net, input = d, perturbation = {{ frames = all, norm = inf }}, {rest} }}
"""
    plan = compile_spec(Source(str(folder / "q.rspec"), text))
    return list(execute(plan, "test", save=None if saved is None else saved.__setitem__).queries[0].rows)


def samples(folder: Path) -> Tensor:
    return torch.from_numpy(np.load(folder / "d.npz")["inputs"]).double()


def moved(x: Tensor, radius: float) -> Tensor:
    g = torch.Generator().manual_seed(0)
    ends = torch.randint(0, 2, (3000, *x.shape), generator=g).double() * 2 - 1
    return x + radius * ends * torch.rand(3000, 1, 1, generator=g, dtype=torch.float64) ** 0.2


def test_each_step_keeps_its_label_and_its_attack_changes_that(folder: Path, model: Tagger) -> None:
    certs = ask(folder, "radius steps = each, engine = { method = quadratic, tolerance = 0.01 }")
    attacks = ask(folder, "attack steps = each, restarts = 4, iterations = 30")
    assert [(r.sample, r.step) for r in certs] == [(i, t) for i in range(4) for t in range(FRAMES)]
    inputs = samples(folder)
    for cert, attack in zip(certs, attacks, strict=True):
        assert isinstance(cert, RadiusRow)
        assert isinstance(attack, AttackRow)
        assert cert.step is not None
        x = inputs[cert.sample]
        label = int(model(x[None])[0, cert.step].argmax())
        assert cert.label == "abc"[label]
        assert bool((model(moved(x, cert.radius))[:, cert.step].argmax(-1) == label).all())
        assert attack.radius is not None
        assert 0.3 * attack.radius < cert.radius <= attack.radius
        there = model(torch.tensor(attack.witness, dtype=torch.float64)[None])[0, cert.step]
        assert float(there.max() - there[label]) > 0


def test_a_step_sees_what_came_before_it_alone(folder: Path) -> None:
    """Frames behind the step asked about may be anything."""
    with np.load(folder / "d.npz") as held:
        x, y = held["inputs"].copy(), held["labels"]
    first = ask(folder, "radius steps = [1], engine = { method = planes }")
    x[:, 2:] = 7
    np.savez(folder / "d.npz", inputs=x, labels=np.where(np.arange(FRAMES) < 2, y, 0))
    again = ask(folder, "radius steps = [1], engine = { method = planes }")
    assert [r.size for r in first] == pytest.approx([r.size for r in again], rel=2e-3)


def test_a_softmax_of_every_step_keeps_their_order(folder: Path) -> None:
    plain, softmax = (ask(folder, "radius steps = each, engine = { method = planes }", f", layers = [gru, linear{end}]") for end in ("", ", softmax"))
    assert [r.size for r in plain] == [r.size for r in softmax]


def test_steps_together_are_as_near_as_the_nearest(folder: Path) -> None:
    def sizes(steps: str) -> list[float]:
        return [r.size or 0.0 for r in ask(folder, f"radius steps = {steps}, engine = {{ method = planes, tolerance = 1e-3 }}")]

    each = np.array(sizes("each")).reshape(4, FRAMES)
    assert sizes("all") == pytest.approx(each.min(1).tolist(), rel=3e-3)
    assert sizes("[1:3]") == pytest.approx(each[:, 1:3].min(1).tolist(), rel=3e-3)
    assert sizes("[3]") == pytest.approx(each[:, 3].tolist(), rel=3e-3)
    assert sizes("last") == pytest.approx(each[:, 3].tolist(), rel=3e-3)


def test_a_phrase_is_said_only_if_all_of_it_is(folder: Path, model: Tagger) -> None:
    """Certified where one of its words is surely not the best; counterexamples say all of it."""
    inputs, met = samples(folder), set()
    wanted = model(inputs[1][None])[0, 1:3].argmax(-1).tolist()  # what one sample says
    phrase = ", ".join("abc"[k] for k in wanted)
    for eps in ("0.1", "0.6", "3"):
        found = ask(folder, f"verify steps = [1:3], target = [{phrase}], eps = {eps}, engine = {{ method = quadratic }}")
        for row in found:
            assert isinstance(row, VerifyRow)
            met.add(row.verdict)
            x = inputs[row.sample]
            if row.verdict == "certified":
                said = model(moved(x, float(eps)))[:, 1:3].argmax(-1)
                assert not bool((said == torch.tensor(wanted)).all(-1).any())
            if row.verdict == "falsified":
                there = model(torch.tensor(row.witness, dtype=torch.float64)[None])[0, 1:3]
                assert all(float(there[t, w]) >= float(there[t].max()) - 1e-9 for t, w in enumerate(wanted))
    assert {"certified", "falsified"} <= met


def test_certificates_of_steps_and_phrases(folder: Path) -> None:
    saved: dict[str, bytes] = {}
    ask(folder, "verify steps = [1:3], target = [a, b], eps = 0.1, engine = { method = quadratic }", saved=saved)
    ask(folder, "radius steps = each, engine = { method = planes, tolerance = 0.1 }", saved=saved)
    some = 0
    for content in saved.values():
        (folder / "c.cert").write_bytes(content)
        check(folder)
        claim, arrays = load(folder)
        if claim["some"]:
            some += 1
            seal(folder, claim | {"some": False}, arrays)  # that no word of it is said at all
            assert refused(folder)
        seal(folder, claim | {"some": "yes"}, arrays)
        assert refused(folder)
        shifted = [{**p, "output": [[(i + CLASSES) % (FRAMES * CLASSES), c] for i, c in p["output"]]} for p in claim["property"]]
        seal(folder, claim | {"property": shifted, "eps": str(100)}, arrays)
        assert refused(folder)
    assert some


@pytest.mark.parametrize(
    ("query", "more", "why"),
    [
        ("radius steps = [9]", "", "R404"),
        ("radius steps = each", ", readout = mean", "gives one output"),
        ("radius steps = each", ", readout = last", "gives one output"),
        ("radius steps = each", ", layers = [gru, last, linear]", "gives one output"),
        ("radius steps = each, property = within(1)", ", layers = [gru, linear, softmax]", "softmax"),
        ("radius target = any", ", layers = [gru, linear]", "steps = last, all, each"),
        ("radius steps = [1:3], target = [a, b, c]", "", "names 3 classes for 2 steps"),
        ("radius steps = each, target = [a, b]", "", "names 2 classes for no steps"),
        ("radius steps = [2, 0], target = [a, b]", "", "in another"),
        ("radius steps = some", "", "some"),
        ("radius steps = 3", "", "last, all, each, a list"),
        ("radius steps = []", "", "last, all, each, a list"),
        ("attack steps = 5, iterations = 5", "", "iterations"),
    ],
)
def test_what_cannot_be_asked_about_steps_is_said(query: str, more: str, why: str, folder: Path) -> None:
    if "mean" in more or "last" in more or "attack" in query or "steps" not in query:
        with np.load(folder / "d.npz") as held:
            np.savez(folder / "d.npz", inputs=held["inputs"], labels=held["labels"][:, -1])
    with pytest.raises(SpecError) as caught:
        ask(folder, query, more)
    assert any(why in x.code + x.message + x.hint for x in caught.value.diagnostics), caught.value.diagnostics


def test_bounds_of_targets_with_other_numbers_of_rows(folder: Path) -> None:
    """A class that is the label at some steps is asked about at the others alone."""
    found = ask(folder, "bounds steps = all, target = each, eps = 0.05")
    alone = ask(folder, "verify steps = all, target = each, eps = 0.05, engine = { method = planes }")
    assert [(r.sample, r.target) for r in found] == [(r.sample, r.target) for r in alone]
    for bounds, verify in zip(found, alone, strict=True):
        assert bounds.verdict == "certified" or verify.verdict != "certified"
