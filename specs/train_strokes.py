"""Train the stroke classifier of the paper's second experiment: MNIST digits as the moves of a pen.

    python specs/train_strokes.py STROKES_FOLDER [--out specs]

STROKES_FOLDER holds mnist_strokes_train.npz and mnist_strokes_test.npz: `data` [moves, 4] (dx, dy, end of stroke, end of digit) of all
digits one after the other, `offsets` of each digit's first move, `labels`. The test set is only read for the accuracy that is printed; its
first digits go to specs/data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

HIDDEN, BATCH, KEPT, NOISE = 32, 128, 100, 0.1


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 10)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.rnn(packed)[1][0][-1])


class Digits:
    def __init__(self, path: Path) -> None:
        with np.load(path) as held:
            self.data, self.offsets, self.labels = held["data"], held["offsets"], torch.tensor(held["labels"], dtype=torch.long)

    def batch(self, chosen: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Moves padded with zeros at the end, lengths, classes."""
        rows = [torch.tensor(self.data[self.offsets[i] : self.offsets[i + 1]], dtype=torch.float32) for i in chosen]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(r) for r in rows]), self.labels[chosen]

    def batches(self, shuffled: bool) -> list[list[int]]:
        order = torch.randperm(len(self.labels)) if shuffled else torch.arange(len(self.labels))
        return [part.tolist() for part in order.split(BATCH)]


def train(digits: Digits, epochs: int, seed: int) -> Classifier:
    torch.manual_seed(seed)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * (len(digits.labels) // BATCH + 1))
    for _ in range(epochs):
        for chosen in digits.batches(shuffled=True):
            x, lengths, y = digits.batch(chosen)
            x = x + NOISE * torch.randn_like(x)
            loss = nn.functional.cross_entropy(model(x, lengths), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("checkpoints", "data"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    model, test = train(Digits(args.folder / "mnist_strokes_train.npz"), args.epochs, args.seed), Digits(args.folder / "mnist_strokes_test.npz")
    with torch.no_grad():
        hits = 0
        for chosen in test.batches(shuffled=False):
            x, lengths, y = test.batch(chosen)
            hits += int((model(x, lengths).argmax(1) == y).sum())
    score = hits / len(test.labels)
    end = int(test.offsets[KEPT])
    kept = {"inputs": test.data[:end], "offsets": test.offsets[: KEPT + 1], "labels": test.labels[:KEPT].numpy().astype(np.uint8)}
    np.savez_compressed(args.out / "data" / "strokes_test.npz", **kept)
    path = args.out / "checkpoints" / "strokes_lstm.safetensors"
    save_file(dict(model.state_dict()), path, metadata={"test_accuracy": f"{score:.4f}"})
    print(f"{path}: test accuracy {score:.1%}", flush=True)


if __name__ == "__main__":
    main()
