"""The command line."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import InvalidError, UnreadableError

if TYPE_CHECKING:
    from .certificate import Network

#: Of a certificate and all networks.
MOST_BYTES = 8 * 2**30


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `vcheck`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="vcheck", description="Check certificates of robustness in ball arithmetic.")
    parser.add_argument("certificates", nargs="+", metavar="CERT")
    parser.add_argument("--network", action="append", required=True, metavar="FILE", help="the checkpoint that they are about (may be given again)")
    parser.add_argument("--spec", metavar="FILE", help="the spec that they come from: what it says is compared too (what -p set aside)")
    args = parser.parse_args(argv)
    try:
        from .certificate import check, read
    except ModuleNotFoundError as e:
        print(f"vcheck needs numpy, python-flint and safetensors ({e.name} is missing): pip install 'rspec-verify[vcheck]'", file=sys.stderr)
        return 2
    networks: dict[str, Network] = {}
    worst, room = 0, MOST_BYTES
    for path, proof in [*((path, False) for path in args.network), *((path, True) for path in args.certificates)]:
        start = time.perf_counter()
        try:
            size = os.path.getsize(path)
            if size > room:
                raise UnreadableError(f"with it the files would be larger than {MOST_BYTES >> 30} GiB: check fewer at a time")
            room -= 0 if proof else size  # networks stay, certificates go
            if not proof:
                tensors, metadata, sha256 = read(path)
                networks[sha256] = tensors, metadata
                continue
            said, code = f"valid: {check(path, networks, args.spec, multiprocessing.cpu_count())}", 0
        except InvalidError as e:
            said, code = f"INVALID: {e}", 1
        except (UnreadableError, OSError) as e:
            said, code = f"cannot be read: {e}", 2
        print(f"{ascii(path)[1:-1]}: {ascii(said)[1:-1]} ({time.perf_counter() - start:.1f} s)")
        worst = max(worst, code)
    return worst
