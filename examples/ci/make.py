"""Make this example's models: v1 as it was trained, and v2, which reads its inputs two and a half times too large.

python examples/ci/make.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
SPECS = HERE.parents[1] / "specs"
SCALE, SAMPLES = 2.5, 10


def main() -> None:
    trained = SPECS / "checkpoints" / "digits_gru.safetensors"
    tensors = load_file(trained)
    with safe_open(trained, "pt") as f:
        said = f.metadata()
    save_file(tensors, HERE / "models" / "v1.safetensors", said)
    worse = {k: v * SCALE if k.endswith("weight_ih_l0") else v for k, v in tensors.items()}
    save_file(worse, HERE / "models" / "v2.safetensors", said)
    with np.load(SPECS / "data" / "digits_test.npz") as data:
        np.savez_compressed(HERE / "data" / "digits.npz", inputs=data["inputs"][:SAMPLES], labels=data["labels"][:SAMPLES])


if __name__ == "__main__":
    main()
