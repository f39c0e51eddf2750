"""Complete answers against brute force: theta on grids, and every substitution of words, with torch's own modules.

    python -m tests.brute [--directions 100] [--points 100000] [--words 200]

Random networks, samples and sets; a certified set that holds a counterexample of the grid, an attack that is none, or a count of words that is not
the true one is an error. The suite runs a few of each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlang.lower.spec import compile_spec
from vlang.results import RadiusRow, Row, VerifyRow
from vlang.runtime.execute import execute
from vlang.text.source import Source

CELLS: tuple[Any, ...] = (nn.GRU, nn.LSTM, nn.RNN)
WORDS = ("gain", "offset", "drift", "shift", "noise_floor")
NORMS = ("1", "2", "inf", "5/2")
M, N, CLASSES = 4, 2, 3


class Net(nn.Module):
    def __init__(self, seed: int, tokens: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = CELLS[seed % 3](N, 4, batch_first=True)
        self.out = nn.Linear(4, CLASSES)
        if tokens:
            self.embedding = nn.Embedding(tokens, N)
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.out(self.rnn(x)[0][:, -1])
        return found


def net(folder: Path, seed: int, tokens: int = 0) -> Net:
    made = Net(seed, tokens)
    said = {"labels": json.dumps(["a", "b", "c"]), "activation": "tanh"} | ({"vocabulary": "\n".join(words(tokens))} if tokens else {})
    save_file(dict(made.state_dict()), folder / "net.safetensors", metadata=said)
    return made.double()


def words(tokens: int) -> list[str]:
    return [f"w{k}" for k in range(tokens)]


def rows(folder: Path, text: str, saved: dict[str, bytes] | None = None, shown: dict[str, bytes] | None = None) -> list[Row]:
    head = 'rspec 1\nnetwork net { checkpoint = "net.safetensors" }\n'
    plan = compile_spec(Source(str(folder / "q.rspec"), head + text))
    certs, witnesses = (None if held is None else held.__setitem__ for held in (saved, shown))
    return list(execute(plan, "test", save=certs, save_witness=witnesses).queries[0].rows)


# -- directions -------------------------------------------------------------------------------------------------------------


def moved(x: np.ndarray, said: list[tuple[str, int | None]], theta: np.ndarray) -> np.ndarray:
    """What a sample becomes, by the words' own definitions. shape: x [M, N], theta [P, d] -> [P, M, N]."""
    found = np.repeat(x[None], len(theta), 0)
    for j, (word, channel) in enumerate(said):
        t = theta[:, j, None, None]
        if word == "gain":
            delta = t * x
        elif word == "offset":
            delta = t * np.ones_like(x)
        elif word == "drift":
            delta = t * (np.arange(M) / (M - 1))[:, None] * np.ones_like(x)
        elif word == "shift":
            early, late = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
            delta = np.where(t > 0, t * (early - x), -t * (late - x))
        else:
            lowest = x.min() if channel is None else x[:, channel].min()
            delta = np.maximum(x, lowest + t) - x
        seen = np.ones(N) if channel is None else np.eye(N)[channel]
        found = found + delta * seen
    return found


def size(theta: np.ndarray, norm: str) -> np.ndarray:
    p = {"inf": math.inf, "5/2": 2.5}.get(norm) or float(norm)
    return np.linalg.norm(theta, p, axis=1)


def grid(d: int, points: int, reach: float) -> np.ndarray:
    side = np.linspace(-reach, reach, max(3, round(points ** (1 / d))))
    return np.stack([a.ravel() for a in np.meshgrid(*[side] * d)], 1)


def directions(folder: Path, seed: int, points: int, least: float = 0.9) -> float:
    """A random case; the share of the attack that is certified."""
    g = np.random.default_rng(seed)
    model, x = net(folder, seed), g.normal(size=(M, N)).astype(np.float32)
    np.save(folder / "x.npy", x[None])
    d = 1 + seed % 3
    said = [(str(w), [None, 0, 1][g.integers(3)]) for w in g.choice(WORDS, d, replace=False)]
    norm = str(g.choice(NORMS))
    listed = ", ".join(w if c is None else f"{w}({c})" for w, c in said)
    if seed % 5 == 4:  # given ones
        given = g.normal(size=(d, M, N))
        np.save(folder / "d.npy", given)
        listed = '"d.npy"'
    else:
        listed = f"[{listed}]"
    text = f"""dataset d {{ inputs = "x.npy" }}
radius q {{
  network = net, input = d, perturbation = {{ directions = {listed}, norm = {norm} }}
  engine = {{ method = {["auto", "complete"][seed % 2]}, tolerance = 0.01, max_radius = 8 }}
}}
"""
    (row,) = rows(folder, text)
    assert isinstance(row, RadiusRow)
    here = int(model(torch.from_numpy(x[None]).double()).argmax())
    theta = grid(d, points, 1.5 * (row.attacked or row.radius))
    where = x.astype(float) + np.einsum("pd,dmn->pmn", theta, given) if listed.startswith('"') else moved(x.astype(float), said, theta)
    with torch.no_grad():
        wrong = (model(torch.from_numpy(where)).argmax(-1) != here).numpy()
    nearest = size(theta[wrong], norm).min() if wrong.any() else math.inf
    assert row.radius < nearest, f"case {seed}: {listed}, norm {norm}: {row.radius} is certified, {nearest} is a counterexample"
    if row.attacked is None:
        assert row.capped, f"case {seed}: neither capped nor attacked: {row}"
        return 1.0
    share = row.radius / row.attacked
    assert 1 >= share >= least, f"case {seed}: {listed}, norm {norm}: {row}"
    return share


# -- words ------------------------------------------------------------------------------------------------------------------


def substitutions(folder: Path, seed: int) -> tuple[str, ...]:
    """A random text, and what its words may become, asked about by `radius` and `verify`: both must be what trying all of them says."""
    g = np.random.default_rng(seed)
    tokens = 9
    model, text = net(folder, seed, tokens), [int(k) for k in g.integers(0, tokens, 5)]
    table = {f"w{k}": [f"w{j}" for j in g.choice(tokens, g.integers(0, 4), replace=False)] for k in range(tokens)}
    (folder / "s.json").write_text(json.dumps(table))
    k = int(g.integers(1, 4))
    head = f'input q {{ text = "{" ".join(f"w{i}" for i in text)}" }}\nperturbation p {{ words = "s.json", frames = any({k}) }}\n'
    (radius,) = rows(folder, head + "radius r { network = net, input = q, perturbation = p }\n")
    (verify,) = rows(folder, head + "verify v { network = net, input = q, perturbation = p }\n")
    assert isinstance(radius, RadiusRow)
    assert isinstance(verify, VerifyRow)
    others = [[int(w[1:]) for w in table[f"w{i}"] if w != f"w{i}"] for i in text]
    open_ = [i for i in range(len(text)) if others[i]]
    truth, most = 0, min(k, len(open_))
    with torch.no_grad():
        label = int(model(model.embedding(torch.tensor([text]))).argmax())
        for count in range(1, most + 1):
            changed = [
                [dict(zip(frames, new, strict=True)).get(i, w) for i, w in enumerate(text)]
                for frames in itertools.combinations(open_, count)
                for new in itertools.product(*(others[i] for i in frames))
            ]
            if bool((model(model.embedding(torch.tensor(changed))).argmax(-1) != label).any()):
                break
            truth = count
    assert radius.radius == truth, f"case {seed}: {radius}, and the truth is {truth}"
    assert verify.verdict == ("certified" if truth == most else "falsified"), f"case {seed}: {verify}, of {truth} of {most} words"
    _as_numbers(folder, seed, model.embedding.weight.detach().numpy(), text, others, k, label, (radius, verify))
    return verify.verdict, f"{truth} of {most}"


def _as_numbers(
    folder: Path, seed: int, table: np.ndarray, text: list[int], others: list[list[int]], k: int, label: int, wanted: tuple[RadiusRow, VerifyRow]
) -> None:
    """The same question about the same network on the embeddings, whose alternatives are an array, short rows filled up with the own frame."""
    net(folder, seed)
    full = [[*row, *[i] * 4][:4] for i, row in zip(text, others, strict=True)]
    given = np.stack([np.stack([table[j] for j in row]) for row in full])
    np.save(folder / "x.npy", table[text][None])
    np.save(folder / "a.npy", given if seed % 2 else given[None])
    head = f'dataset d {{ inputs = "x.npy" }}\nperturbation p {{ alternatives = "a.npy", frames = any({k}) }}\n'
    for query, words in zip(("radius", "verify"), wanted, strict=True):
        (found,) = rows(folder, head + f"{query} q {{ network = net, input = d, perturbation = p }}\n")
        assert (found.verdict, found.size) == (words.verdict, words.size), f"case {seed}: {found}, and of words {words}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directions", type=int, default=100)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shares = [directions(Path(folder), seed, args.points, 0.0) for seed in range(args.directions)]
        if shares:
            of = f"least {min(shares):.4f}, median {np.median(shares):.4f}"
            print(f"directions: {len(shares)} cases of {args.points:,} points; certified of the attack: {of}")
        found = [substitutions(Path(folder), seed)[0] for seed in range(args.words)]
        print(f"words: {len(found)} cases, {found.count('certified')} certified, {found.count('falsified')} falsified, all as by trying each")


if __name__ == "__main__":
    main()
