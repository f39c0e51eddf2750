"""Train the digit classifiers of the paper's first experiment: MNIST cut into frames, every cell and width.

    python specs/train_mnist.py MNIST_FOLDER [--out specs/checkpoints] [--cells rnn lstm] [--frames 4 7 14] [--hidden 32 64 128]

MNIST_FOLDER holds the four public idx files, packed (train-images-idx3-ubyte.gz, ...). Pixels are scaled to [0, 1] and the image, row by row, is
cut into frames of equal length. The test set is only read for the accuracy that is printed; its first 100 images go to specs/data.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

BATCH, KEPT, NOISE = 128, 100, 0.05
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM}
RATES = {"rnn": 1e-3, "lstm": 3e-3}


class Classifier(nn.Module):
    def __init__(self, cell: str, size: int, hidden: int) -> None:
        super().__init__()
        self.rnn = CELLS[cell](size, hidden, batch_first=True)
        if cell == "rnn":
            nn.init.orthogonal_(self.rnn.weight_hh_l0)
        self.out = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


def read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and labels. shape: [N, 784], [N]."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    return torch.tensor(images, dtype=torch.float32) / 255, torch.tensor(labels, dtype=torch.long)


def train(cell: str, hidden: int, x: Tensor, y: Tensor, epochs: int, seed: int) -> Classifier:
    torch.manual_seed(seed)
    model = Classifier(cell, x.shape[2], hidden)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATES[cell], weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATES[cell], total_steps=epochs * (len(x) // BATCH + 1))
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(BATCH):
            noisy = x[index] + NOISE * torch.randn_like(x[index])
            loss = nn.functional.cross_entropy(model(noisy), y[index])
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
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--frames", nargs="+", type=int, default=[4, 7, 14])
    parser.add_argument("--hidden", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    (x, y), (test_x, test_y) = read(args.folder, "train"), read(args.folder, "t10k")
    for name in ("checkpoints", "data"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out / "data" / "mnist_test.npz", inputs=test_x[:KEPT].numpy(), labels=test_y[:KEPT].numpy().astype(np.uint8))
    for frames in args.frames:
        for hidden in args.hidden:
            for cell in args.cells:
                model = train(cell, hidden, x.reshape(len(x), frames, -1), y, args.epochs, args.seed)
                with torch.no_grad():
                    score = float((model(test_x.reshape(len(test_x), frames, -1)).argmax(1) == test_y).float().mean())
                path = args.out / "checkpoints" / f"mnist_{cell}_{frames}f_{hidden}h.safetensors"
                save_file(dict(model.state_dict()), path, metadata={"activation": "tanh", "test_accuracy": f"{score:.4f}"})
                print(f"{path}: test accuracy {score:.1%}", flush=True)


if __name__ == "__main__":
    main()
