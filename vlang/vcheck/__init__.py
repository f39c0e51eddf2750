"""vcheck CERTIFICATE... --network FILE: checks proofs of robustness, believing nothing that it can work out itself.

A certificate (rspec-certificate/2, described in runtime/README.md) says: inside these balls around this input, the real-arithmetic network with
exactly these weights never prefers one of these classes to its label. It gives a box for every argument of a nonlinearity, planes, parabolas,
motions and multipliers. This program builds the network's graph from the weights (`network`) and checks each of them in ball arithmetic: planes and
parabolas on their boxes (`planes`, `parabolas`), boxes from earlier ones only (`statement`, `proof`), quadratic forms by Cholesky factors (`region`),
the pieces' cover, the margin, the hashes (`certificate`). It searches for nothing and shares no code with what wrote the file: this folder imports
nothing from outside it but python-flint, numpy, safetensors and the standard library, and runs wherever it is copied to (`python -m vcheck`).

Exit code: 0 every certificate is valid, 1 one is not, 2 one cannot be read.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # where numpy is not loaded yet: processes share the work, and threads beside them are in the way
