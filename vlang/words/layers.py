"""What stands above the recurrent layers: how frames become one vector, and what is between linear layers."""

from __future__ import annotations

#: Over the top layer's frames. `last`: each direction's own final state, as torch's h_n; `last_frame`: what both directions say of the last frame,
#: as torch's output[:, -1]. With one direction they are the same.
READOUTS = ("last", "last_frame", "mean", "max")
#: Between the head's linear layers, and before the first.
ACTIVATIONS = ("relu", "tanh", "sigmoid", "none")
#: The other words of `layers`.
EMBEDDING, LINEAR = "embedding", "linear"
