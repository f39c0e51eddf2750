"""Train the forecaster and the tagger on made-up series, so that nobody's data are needed: a GRU on hourly load, an LSTM on bursts of a sensor.

    python specs/train_series.py [--out specs]

Load: a day's rhythm, weather and noise; of 24 hours (load, temperature, two numbers for the hour) the next hour's load. Bursts: two channels in which
rises and falls come and go; every one of 12 frames is quiet, a rise or a fall. The first samples of each test set go to specs/data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

HOURS, FRAMES, KEPT, EPOCHS, BATCH, NOISE = 24, 12, 20, 60, 64, 0.02
TAGS = ("quiet", "rise", "fall")


class Stepwise(nn.Module):
    """What a linear layer says of the last frame, or of every one."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], inputs: int, hidden: int, outputs: int, last: bool) -> None:
        super().__init__()
        self.rnn, self.out, self.last = cell(inputs, hidden, batch_first=True), nn.Linear(hidden, outputs), last

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.rnn(x)[0])
        return y[:, -1] if self.last else y


def load(rng: np.random.Generator, samples: int) -> tuple[Tensor, Tensor]:
    """In units of their own spread. shape: [N, 24, 4], [N, 1]."""
    hours = 24 * samples + HOURS + 1
    t = np.arange(hours)
    weather = np.convolve(rng.normal(size=hours + 48), np.exp(-np.arange(49) / 12), "valid")
    temperature = 0.8 * np.sin(2 * np.pi * (t - 9) / 24) + 0.25 * weather
    demand = 0.9 * np.sin(2 * np.pi * (t - 7) / 24) + 0.3 * np.sin(4 * np.pi * t / 24) - 0.5 * temperature + 0.05 * rng.normal(size=hours)
    frames = np.stack([demand, temperature, np.sin(2 * np.pi * t / 24), np.cos(2 * np.pi * t / 24)], 1).astype(np.float32)
    starts = np.arange(samples) * 24 + rng.integers(0, 24, samples)
    x = np.stack([frames[s : s + HOURS] for s in starts])
    return torch.from_numpy(x), torch.from_numpy(frames[starts + HOURS, :1])


def bursts(rng: np.random.Generator, samples: int) -> tuple[Tensor, Tensor]:
    """shape: [N, 12, 2], [N, 12]."""
    tags = np.zeros((samples, FRAMES), dtype=np.int64)
    for row in tags:
        at = 0
        while at < FRAMES:
            length = int(rng.integers(2, 5))
            row[at : at + length] = rng.integers(0, 3)
            at += length
    drive = np.where(tags == 1, 1.0, np.where(tags == 2, -1.0, 0.0))
    x = np.stack([drive + 0.15 * rng.normal(size=tags.shape), np.abs(drive) * 0.7 + 0.15 * rng.normal(size=tags.shape)], -1)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(tags)


def train(model: Stepwise, x: Tensor, y: Tensor, loss: nn.Module) -> Stepwise:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=EPOCHS * (len(x) // BATCH + 1))
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            found = model(x[index] + NOISE * torch.randn_like(x[index]))
            error = loss(found if model.last else found.flatten(0, 1), y[index] if model.last else y[index].flatten())
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            schedule.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("checkpoints", "data"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    torch.manual_seed(args.seed)
    forecaster = train(Stepwise(nn.GRU, 4, 16, 1, last=True), *load(rng, 2000), nn.MSELoss())
    tagger = train(Stepwise(nn.LSTM, 2, 12, 3, last=False), *bursts(rng, 2000), nn.CrossEntropyLoss())
    (x, y), (u, v) = load(rng, 500), bursts(rng, 500)
    with torch.no_grad():
        error = float((forecaster(x) - y).abs().mean())
        score = float((tagger(u).argmax(-1) == v).float().mean())
    np.savez_compressed(args.out / "data" / "load_test.npz", inputs=x[:KEPT].numpy())
    np.savez_compressed(args.out / "data" / "bursts_test.npz", inputs=u[:KEPT].numpy(), labels=v[:KEPT].numpy().astype(np.uint8))
    kept = args.out / "checkpoints"
    save_file(dict(forecaster.state_dict()), kept / "load_gru.safetensors", metadata={"test_error": f"{error:.4f}"})
    save_file(dict(tagger.state_dict()), kept / "bursts_lstm.safetensors", metadata={"test_accuracy": f"{score:.4f}", "labels": "\n".join(TAGS)})
    print(f"load_gru: mean error {error:.3f} of a spread of {float(y.std()):.2f}; bursts_lstm: {score:.1%} of frames", flush=True)


if __name__ == "__main__":
    main()
