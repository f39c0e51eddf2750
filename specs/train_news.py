"""Train the classifier of news titles of the paper's third experiment.

    python specs/train_news.py test_data_pytorch.csv GLOVE_FOLDER [--out specs/checkpoints]

The file is the published test part of the TagMyNews titles (lines 'id,title,description,class'; the training part is not public): four fifths of
it, shuffled, are trained on, the last fifth is only read for the accuracy that is printed. The vocabulary and the class names are stored in the
checkpoint's metadata, the titles are not. GLOVE_FOLDER holds glove.6B.50d.subset.npz (`vectors`) and vocab.txt: embeddings begin there, for the
words that it has.
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import random
import re
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

UNKNOWN = "<unk>"
LABELS = ["sport", "world", "us", "business", "health", "entertainment", "sci_tech"]  # by their titles: the file has numbers only
HIDDEN, EPOCHS, BATCH, RATE, LEAST = 32, 12, 64, 3e-3, 3

Title = tuple[list[str], int]


class Classifier(nn.Module):
    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(vectors, freeze=False)
        self.rnn = nn.LSTM(vectors.shape[1], HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, len(LABELS))
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(self.dropout(self.embedding(ids)), lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.dropout(self.rnn(packed)[1][0][-1]))


def words(title: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:['.-][a-z0-9]+)*", title.lower())


def read(path: Path) -> list[Title]:
    with path.open(encoding="utf-8", errors="replace", newline="") as f:
        return [(words(row[1]), int(row[3])) for row in csv.reader(f) if len(row) == 4 and words(row[1])]


def batch(titles: list[Title], index: dict[str, int], drop: float) -> tuple[Tensor, Tensor, Tensor]:
    rows = [[index.get(w, 0) if random.random() >= drop else 0 for w in found] for found, _ in titles]
    lengths = torch.tensor([len(r) for r in rows])
    ids = nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)
    return ids, lengths, torch.tensor([label for _, label in titles])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("glove", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    titles = read(args.file)
    random.shuffle(titles)
    used, test = titles[: len(titles) * 4 // 5], titles[len(titles) * 4 // 5 :]
    counts = collections.Counter(w for found, _ in used for w in found)
    vocabulary = [UNKNOWN, *sorted(w for w, n in counts.items() if n >= LEAST)]
    index = {w: i for i, w in enumerate(vocabulary)}
    known = {w: i for i, w in enumerate((args.glove / "vocab.txt").read_text(encoding="utf-8").splitlines())}
    with np.load(args.glove / "glove.6B.50d.subset.npz") as held:
        table = torch.tensor(held["vectors"], dtype=torch.float32)
    vectors = torch.stack([table[known[w]] if w in known else 0.3 * torch.randn(table.shape[1]) for w in vocabulary])
    model = Classifier(vectors)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * (len(used) // BATCH + 1))
    for _ in range(EPOCHS):
        model.train()
        random.shuffle(used)
        for start in range(0, len(used), BATCH):
            ids, lengths, y = batch(used[start : start + BATCH], index, 0.05)
            loss = nn.functional.cross_entropy(model(ids, lengths), y, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        ids, lengths, y = batch(test, index, 0.0)
        score = float((model(ids, lengths).argmax(1) == y).float().mean())
    path = args.out / "news_lstm.safetensors"
    metadata = {"labels": json.dumps(LABELS), "vocabulary": "\n".join(vocabulary), "test_accuracy": f"{score:.4f}"}
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path, metadata=metadata)
    print(f"{path}: test accuracy {score:.1%}, {len(vocabulary)} words, {path.stat().st_size / 2**20:.2f} MiB", flush=True)


if __name__ == "__main__":
    main()
