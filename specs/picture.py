"""Draw the README's picture: the terminal's output of a spec, as SVG.

python specs/picture.py specs/qc_words.rspec specs/pictures/qc_words.svg
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from vlang import __version__
from vlang.formats.table import show
from vlang.judge.verdict import judge
from vlang.lower.spec import compile_spec, read_source
from vlang.runtime.execute import execute


def main() -> None:
    spec, picture = sys.argv[1:]
    plan = compile_spec(read_source(spec))
    report = judge(plan, execute(plan, __version__))
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=110, force_terminal=True, highlight=False, markup=False, file=nowhere)
        show(report, console)
    console.save_svg(picture, title=f"vrun {spec}")


if __name__ == "__main__":
    main()
