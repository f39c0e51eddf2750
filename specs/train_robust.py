"""Train digit classifiers for what is certified: the first experiment's LSTM and tanh RNN on MNIST in 4 frames, l-infinity within [0, 1].

    python specs/train_robust.py MNIST_FOLDER [--cells lstm rnn] [--eps 0.03] [--epochs 10]

The loss mixes the plain one with that of bounds by intervals, of small boxes about attacked points (`vlang.robust`), while eps grows; then planes
certify more of the ball than was trained for. MNIST_FOLDER as in train_mnist.py; the test set is only read for what is printed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from train_mnist import BATCH, Classifier, read

from vlang import robust

FRAMES, HIDDEN, RATE = 4, 32, 3e-3
#: Epochs without bounds, and the share of training in which eps grows.
WARM, GROWS = 1, 0.7


def train(cell: str, x: Tensor, y: Tensor, eps: float, share: float, weight: float, epochs: int, seed: int) -> Classifier:
    """weight: of the loss that is certified, in the end."""
    torch.manual_seed(seed)
    model = Classifier(cell, x.shape[2], HIDDEN)
    reading = robust.read(model, x[:8])
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    steps = epochs * (len(x) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    begin, end, step = WARM * steps // epochs, int(GROWS * steps), 0
    for epoch in range(epochs):
        started, total = time.monotonic(), 0.0
        for index in torch.randperm(len(x)).split(BATCH):
            now, given, labels = robust.ramp(step, begin, end, 1.0), x[index], y[index]
            loss = nn.functional.cross_entropy(model(given), labels)
            if now > 0:
                bound = robust.certified_loss(
                    model, given, labels, eps=now * eps, norm="inf", clip=(0, 1), method="interval", share=share, reading=reading
                )
                loss = (1 - now * weight) * loss + now * weight * bound
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            total += float(loss.detach())
        print(f"{cell}: epoch {epoch + 1}, loss {total / (len(x) // BATCH + 1):.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return model


def certified(model: Classifier, x: Tensor, y: Tensor, eps: float) -> float:
    """The share of samples that planes certify at eps (in float32, to look at while training; `vrun` proves it)."""
    with torch.no_grad():
        return float((robust.margins(model, x, y, eps=eps, norm="inf", clip=(0, 1), method="planes") > 0).all(1).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--cells", nargs="+", default=["lstm", "rnn"])
    parser.add_argument("--eps", type=float, default=0.03)
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--weight", type=float, default=0.7)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    (x, y), (test_x, test_y) = read(args.folder, "train"), read(args.folder, "t10k")
    x, test_x = x.reshape(len(x), FRAMES, -1), test_x.reshape(len(test_x), FRAMES, -1)
    for cell in args.cells:
        model = train(cell, x, y, args.eps, args.share, args.weight, args.epochs, args.seed)
        with torch.no_grad():
            score = float((model(test_x).argmax(1) == test_y).float().mean())
        path = args.out / "checkpoints" / f"mnist_{cell}_{FRAMES}f_{HIDDEN}h_robust.safetensors"
        save_file(dict(model.state_dict()), path, metadata={"activation": "tanh", "test_accuracy": f"{score:.4f}"})
        shares = ", ".join(f"{certified(model, test_x[: args.samples], test_y[: args.samples], e):.1%} at {e}" for e in (0.01, 0.02, 0.03))
        print(f"{path}: test accuracy {score:.1%}; certified {shares}", flush=True)


if __name__ == "__main__":
    main()
