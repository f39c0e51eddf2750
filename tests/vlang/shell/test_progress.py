"""Lines of progress where nobody watches a bar: seldom, and with an estimate that does not jump."""

from __future__ import annotations

import random
import re

import pytest

from vlang.shell.progress import EVERY, lines


def told(times: list[tuple[float, int]], total: int, capsys: pytest.CaptureFixture[str]) -> list[tuple[int, float]]:
    """Rows done and the estimated seconds left, of every line, when so many rows are done at so many seconds."""
    clock = [0.0]
    progress = lines(lambda: clock[0])
    for clock[0], done in times:
        progress("q", done, total)
    units = {"s": 1, "min": 60, "h": 3600}
    found = re.findall(r"q: (\d+) of \d+ rows(?:, about (\d+) (s|min|h) left)?", capsys.readouterr().err)
    return [(int(done), float(left) * units[unit] if left else -1) for done, left, unit in found]


def test_lines_are_seldom_and_end_with_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    found = told([(0.5 * k, k) for k in range(201)], 200, capsys)
    assert len(found) == round(100 / EVERY) - 1
    assert all(abs(left - (200 - done) * 0.5) <= max(60, 0.3 * left) for done, left in found)
    assert told([(1.0 * k, k) for k in range(9)], 8, capsys) == []


def test_what_was_there_already_makes_nothing_look_fast(capsys: pytest.CaptureFixture[str]) -> None:
    found = told([(0.0, 900), *((12.0 * k, 900 + k) for k in range(1, 60))], 1000, capsys)
    assert all(0.6 <= left / (12 * (1000 - done)) <= 1.6 for done, left in found)


@pytest.mark.parametrize("seed", range(5))
def test_an_estimate_does_not_jump(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows in batches of any size, whose times differ by a factor of three."""
    g = random.Random(seed)
    at, done, times = 0.0, 0, [(0.0, 0)]
    while done < 500:
        batch = min(g.choice((1, 8, 30)), 500 - done)
        at, done = at + sum(g.uniform(0.5, 1.5) for _ in range(batch)), done + batch
        times.append((at, done))
    found = told(times, 500, capsys)
    ends = [left + time for (_, left), time in zip(found, [t for t, d in times if any(d == x for x, _ in found)], strict=False)]
    assert max(ends) / min(ends) < 2.5
