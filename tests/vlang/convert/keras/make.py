"""Makes the Keras files beside it, and what Keras says of some inputs (Keras 3 with the backend torch; not needed to run the tests).

KERAS_BACKEND=torch python tests/vlang/convert/keras/make.py
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers as k

HERE = Path(__file__).parent
M, N = 6, 3

MODELS = {
    "gru": [k.GRU(4), k.Dense(3)],
    "gru_before": [k.GRU(4, reset_after=False), k.Dense(3, activation="softmax")],
    "lstm_both": [k.Bidirectional(k.LSTM(4, return_sequences=True)), k.Bidirectional(k.LSTM(3)), k.Dense(5, activation="relu"), k.Dense(2)],
    "rnn": [k.SimpleRNN(4, activation="relu", return_sequences=True), k.SimpleRNN(3), k.Dense(2, use_bias=False)],
    "conv": [
        k.Conv1D(4, 3, padding="same"),
        k.BatchNormalization(),
        k.Activation("relu"),
        k.MaxPooling1D(2),
        k.GRU(4, return_sequences=True),
        k.LayerNormalization(),
        k.Dropout(0.3),
        k.GlobalAveragePooling1D(),
        k.Dense(3),
    ],
    "dense": [k.Flatten(), k.Dense(5, activation="elu"), k.LeakyReLU(negative_slope=0.2), k.Dense(3)],
}


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, M, N)).astype(np.float32)
    outputs = {"inputs": x}
    for name, layers in MODELS.items():
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((M, N)), *layers])
        model.set_weights(
            [
                rng.standard_normal(w.shape) * 0.5 if "variance" not in v.path else rng.random(w.shape) + 0.5
                for v, w in zip(model.weights, model.get_weights(), strict=True)
            ]
        )
        outputs[name] = np.asarray(model(x).detach())
        model.save(HERE / f"{name}.keras")
        model.save(HERE / f"{name}.h5")
    np.savez_compressed(HERE / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
