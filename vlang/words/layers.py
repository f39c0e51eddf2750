"""What stands above the recurrent layers: how frames become one vector, and what is between linear layers."""

from __future__ import annotations

#: Over the top layer's frames. `last`: each direction's own final state, as torch's h_n.
READOUTS = ("last", "mean", "max")
#: Between the head's linear layers.
ACTIVATIONS = ("relu", "tanh", "sigmoid", "none")
