"""Which program answers: a digest of the code that does, so that no answer of another one is taken for its own."""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
#: What answers depend on: rooms, and files beside them.
ROOMS, FILES = ("runtime", "words", "convert"), ("array.py", "cost.py", "perturbation.py", "picture.py", "plan.py", "property.py", "results.py")
#: Libraries whose arithmetic answers are made of.
LIBRARIES = ("torch", "numpy", "scipy", "safetensors", "python-flint")


@cache
def revision() -> str:
    """Of this installation: the engine's own files, and its libraries' versions."""
    paths = sorted(p for room in ROOMS for p in (HERE / room).rglob("*.py")) + [HERE / name for name in FILES]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(HERE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    for name in LIBRARIES:
        digest.update(f"{name} {version_of(name)}\0".encode())
    return digest.hexdigest()[:24]


def version_of(library: str) -> str:
    """Of an installed library, without importing it."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"
