"""Train the question classifiers that ship in specs/checkpoints.

    python specs/train_questions.py train_5500.label TREC_10.label --out specs/checkpoints

The two files are the TREC / UIUC question classification set (Li and Roth, 2002): lines 'COARSE:fine question ?', already
tokenised. One tenth of the training file chooses the epoch; the test file is only read for the accuracy that is printed.
The vocabulary and the class names are stored in the checkpoint's metadata, the questions are not.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

UNKNOWN = "<unk>"
EMBEDDING, HIDDEN, EPOCHS, BATCH = 32, 32, 40, 32
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


@dataclass(frozen=True)
class Recipe:
    rate: float
    dropout: float
    decay: float


RECIPES = {"lstm": Recipe(3e-3, 0.5, 0.05), "gru": Recipe(3e-3, 0.5, 0.05), "rnn": Recipe(1e-3, 0.2, 0.01)}

Question = tuple[list[str], str]


class Classifier(nn.Module):
    def __init__(self, cell: str, tokens: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, EMBEDDING)
        self.rnn = CELLS[cell](EMBEDDING, HIDDEN, batch_first=True)
        if cell == "rnn":  # gradients reach the first words
            nn.init.orthogonal_(self.rnn.weight_hh_l0)
        self.out = nn.Linear(HIDDEN, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(self.dropout(self.embedding(ids)), lengths, batch_first=True, enforce_sorted=False)
        _, final = self.rnn(packed)
        hidden = final[0] if isinstance(final, tuple) else final
        return self.out(self.dropout(hidden[-1]))


def read(path: Path) -> list[Question]:
    questions = []
    for line in path.read_text(encoding="latin-1").splitlines():
        label, *words = line.split()
        questions.append((words, label.split(":")[0]))
    return questions


def batch(questions: list[Question], index: dict[str, int], labels: list[str], drop: float) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, lengths, classes; `drop`: the share of words that become unknown, so that the unknown word is learnt."""
    rows = [[index.get(w.lower(), 0) if random.random() >= drop else 0 for w in words] for words, _ in questions]
    lengths = torch.tensor([len(r) for r in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids, lengths, torch.tensor([labels.index(label) for _, label in questions])


def accuracy(model: Classifier, questions: list[Question], index: dict[str, int], labels: list[str]) -> float:
    model.eval()
    with torch.no_grad():
        ids, lengths, y = batch(questions, index, labels, 0.0)
        return float((model(ids, lengths).argmax(1) == y).float().mean())


def train(cell: str, questions: list[Question], index: dict[str, int], labels: list[str], seed: int) -> Classifier:
    random.seed(seed)
    torch.manual_seed(seed)
    questions = random.sample(questions, len(questions))
    held, used = questions[: len(questions) // 10], questions[len(questions) // 10 :]
    recipe = RECIPES[cell]
    model = Classifier(cell, len(index), len(labels), recipe.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=EPOCHS * (len(used) // BATCH + 1))
    best, best_score = copy.deepcopy(model.state_dict()), 0.0
    for _epoch in range(EPOCHS):
        model.train()
        random.shuffle(used)
        for start in range(0, len(used), BATCH):
            ids, lengths, y = batch(used[start : start + BATCH], index, labels, 0.05)
            loss = nn.functional.cross_entropy(model(ids, lengths), y, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        score = accuracy(model, held, index, labels)
        if score >= best_score:
            best, best_score = copy.deepcopy(model.state_dict()), score
    model.load_state_dict(best)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoints")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    questions, test = read(args.train), read(args.test)
    counts = collections.Counter(w.lower() for words, _ in questions for w in words)
    vocabulary = [UNKNOWN, *sorted(w for w, n in counts.items() if n >= 2)]
    index = {w: i for i, w in enumerate(vocabulary)}
    labels = sorted({label for _, label in questions})
    for cell in args.cells:
        model = train(cell, questions, index, labels, args.seed)
        score = accuracy(model, test, index, labels)
        path = args.out / f"questions_{cell}.safetensors"
        metadata = {"labels": json.dumps(labels), "vocabulary": "\n".join(vocabulary), "activation": "tanh", "test_accuracy": f"{score:.4f}"}
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path, metadata=metadata)
        print(f"{path}: test accuracy {score:.1%}, {path.stat().st_size / 2**20:.2f} MiB", flush=True)


if __name__ == "__main__":
    main()
