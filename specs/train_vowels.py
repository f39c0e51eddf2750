"""Train the speaker classifier of the spectra: a tanh RNN on the first seven frames of spoken Japanese vowels.

    python specs/train_vowels.py JAPANESE_VOWELS.npz [--out specs]

The file holds train_data [frames, 12] (cepstrum coefficients) of all utterances one after the other, train_offsets of each one's first frame,
train_labels (nine speakers), and the same for test. Every utterance has at least seven frames. The test set is only read for the accuracy that is
printed; every fourth of its utterances, up to 90, goes to specs/data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

FRAMES, HIDDEN, EPOCHS, BATCH, EVERY, KEPT, NOISE = 7, 32, 150, 32, 4, 90, 0.1


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(12, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


def utterances(path: Path, part: str) -> tuple[Tensor, Tensor]:
    with np.load(path) as held:
        data, starts = held[f"{part}_data"], held[f"{part}_offsets"][:-1]
        labels = torch.tensor(held[f"{part}_labels"], dtype=torch.long)
    return torch.tensor(np.stack([data[s : s + FRAMES] for s in starts])), labels


def train(x: Tensor, y: Tensor, seed: int) -> Classifier:
    torch.manual_seed(seed)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=EPOCHS * (len(x) // BATCH + 1))
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            loss = nn.functional.cross_entropy(model(x[index] + NOISE * torch.randn_like(x[index])), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("checkpoints", "data"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    model, (x, y) = train(*utterances(args.file, "train"), args.seed), utterances(args.file, "test")
    with torch.no_grad():
        score = float((model(x).argmax(1) == y).float().mean())
    kept = slice(0, EVERY * KEPT, EVERY)
    np.savez_compressed(args.out / "data" / "vowels_test.npz", inputs=x[kept].numpy(), labels=y[kept].numpy().astype(np.uint8))
    path = args.out / "checkpoints" / "vowels_rnn.safetensors"
    save_file(dict(model.state_dict()), path, metadata={"test_accuracy": f"{score:.4f}", "activation": "tanh"})
    print(f"{path}: test accuracy {score:.1%}", flush=True)


if __name__ == "__main__":
    main()
