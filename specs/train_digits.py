"""Train the digit classifiers that ship in specs/checkpoints, and cut their test set.

    python specs/train_digits.py

Data: scikit-learn's load_digits (8 x 8 pixels, 0 .. 16), scaled to [0, 1] and cut into 4 frames of two rows each. The last 300
shuffled samples are the test set; the first 100 of them go to specs/data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

FRAMES, HIDDEN, EPOCHS, BATCH, KEPT = 4, 32, 60, 32, 100
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Classifier(nn.Module):
    def __init__(self, cell: str, size: int, classes: int) -> None:
        super().__init__()
        self.rnn = CELLS[cell](size, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


def train(cell: str, x: Tensor, y: Tensor, seed: int) -> Classifier:
    torch.manual_seed(seed)
    model = Classifier(cell, x.shape[2], int(y.max()) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=EPOCHS * (len(x) // BATCH + 1))
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            noisy = x[index] + 0.05 * torch.randn_like(x[index])
            loss = nn.functional.cross_entropy(model(noisy), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    digits = load_digits()
    order = np.random.default_rng(args.seed).permutation(len(digits.target))
    x = torch.tensor(digits.data[order] / 16, dtype=torch.float32).reshape(len(order), FRAMES, -1)
    y = torch.tensor(digits.target[order], dtype=torch.long)
    np.savez_compressed(args.out / "data" / "digits_test.npz", inputs=x[-300:][:KEPT].numpy(), labels=y[-300:][:KEPT].numpy().astype(np.uint8))
    for cell in CELLS:
        model = train(cell, x[:-300], y[:-300], args.seed)
        with torch.no_grad():
            score = float((model(x[-300:]).argmax(1) == y[-300:]).float().mean())
        path = args.out / "checkpoints" / f"digits_{cell}.safetensors"
        save_file(dict(model.state_dict()), path, metadata={"activation": "tanh", "test_accuracy": f"{score:.4f}"})
        print(f"{path}: test accuracy {score:.1%}", flush=True)


if __name__ == "__main__":
    main()
