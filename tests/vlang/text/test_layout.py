"""The layout of specs changes nothing but white space and needless commas, and is the same once more."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlang.cli import main
from vlang.text.layout import comments, laid_out, meaning
from vlang.text.parser import parse
from vlang.text.source import Source
from vlang.vcheck.spec import comes_from, words

#: 10,000 for a release: RSPEC_EXAMPLES=10000 python -m pytest -n0 tests/vlang/text/test_layout.py
EXAMPLES = int(os.environ.get("RSPEC_EXAMPLES", "150"))
ROOT = Path(__file__).parents[3]

MESSY = """

rspec 1 # version


param a:number=8/255
param   b : number = 8 / 255 *-2  ,
query   q { a = f([
 1 ]), aa = [1,
 2, # two
 3], in = 5,, b = d [ 0 : 3 ] , c = sample( 10,seed = 1 )

 expect min( radius )>=-1.5e-3 and(50% < 90  s or not -(2+ 3)>a.b)   because   "x,  y # no"
 r = { frames = [
   1,
      2 ,], norm = 2,
   # inner
 }
   #last

}
query z { }"""
NEAT = """rspec 1  # version

param a: number = 8/255
param b: number = 8 / 255 * -2
query q {
  a = f([
    1
  ]), aa = [1,
    2,  # two
    3], in = 5, b = d[0:3], c = sample(10, seed=1)

  expect min(radius) >= -1.5e-3 and (50% < 90  s or not -(2 + 3) > a.b) because "x,  y # no"
  r = {
    frames = [
      1,
      2
    ], norm = 2
    # inner
  }
  #last
}
query z {}
"""


def test_a_messy_spec() -> None:
    assert laid_out(Source("x.rspec", MESSY)) == NEAT


# -- any spec: words with any blanks, comments, line breaks and commas between them that the grammar allows ------------------

names = st.sampled_from(["a", "norm", "frames", "net", "min", "é", "x_1", "any"])
atoms = st.sampled_from(["1", "8/255", "8 / 255", "1e-3", "5%", "90 s", "2  min", '"a # b, c"', '"\\"{"', "net", "inf", "[]", "[0:3]", "[:]"])
blank = st.sampled_from(["", " ", "  ", "\t"])
#: Inside of ( ) and [ ].
gap = st.sampled_from(["", " ", "\n", "\n\n ", "  # why, [\n", "\n# {\n"])
#: Between entries, and at the ends of blocks.
end = st.sampled_from(["\n", ",", " , \n", "\n\n\n", "  # so }\n", ",  # so\n # and\n", ",,", "\n,\n"])
edge = st.sampled_from(["", " ", "\n", "\n\n", " # here\n", ","])


def listed(of: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def joined(parts: tuple[list[str], list[str], bool]) -> str:
        items, gaps, tail = parts
        return "".join(g + x + ("," if k + 1 < len(items) or tail else "") for k, (x, g) in enumerate(zip(items, gaps, strict=False))) + gaps[-1]

    return st.tuples(st.lists(of, min_size=1, max_size=3), st.lists(gap, min_size=4, max_size=4), st.booleans()).map(joined)


def compound(of: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sign = st.sampled_from(["+", "-", "*", "/", " - ", " and ", " or ", "<=", " == ", "\t>"])
    return st.one_of(
        listed(of).map("[{}]".format),
        listed(of).map("f({})".format),
        st.tuples(names, blank, of).map(lambda t: f"f({t[0]}{t[1]}={t[2]})"),
        st.tuples(blank, of, blank, sign, of).map(lambda t: f"({t[0]}({t[1]}){t[2]}{t[3]}({t[4]}))"),
        st.tuples(st.sampled_from(["-", "- ", "not ", "+"]), of).map(lambda t: f"({t[0]}({t[1]}))"),
        st.tuples(names, blank, names).map(lambda t: f"({t[0]}.{t[1]}{t[2]}{t[1]}[{t[1]}0{t[1]}:{t[1]}2])"),
        blocks(entries(of)),
    )


def entries(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    gate = st.tuples(st.sampled_from(["expect", "warn"]), blank, values, st.sampled_from(["", ' because "so"']))
    return st.one_of(
        st.tuples(names, blank, blank, values).map(lambda t: f"{t[0]}{t[1]}={t[2]}{t[3]}"),
        gate.map(lambda t: f"{t[0]} {t[1]}{t[2]}{t[3]}"),
        st.tuples(names, blank, values).map(lambda t: f"sweep {t[0]}.{t[1]}norm in{t[1]} {t[2]}"),
    )


def blocks(of: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def joined(parts: tuple[str, list[tuple[str, str]], str]) -> str:
        first, inner, last = parts
        return "{" + first + "".join(e if k == 0 else f"{s}{e}" for k, (e, s) in enumerate(inner)) + last + "}"

    return st.tuples(edge, st.lists(st.tuples(of, end), max_size=3), edge).map(joined)


values = st.recursive(atoms, compound, max_leaves=6)
declared = st.tuples(names, blank, names, blank, blocks(entries(values))).map(lambda t: f"{t[0]} {t[1]}{t[2]}{t[3]}{t[4]}")
params = st.tuples(names, blank, values).map(lambda t: f"param {t[0]}{t[1]}:{t[1]}number ={t[1]}{t[2]}")
specs = st.tuples(edge, st.lists(st.tuples(st.one_of(declared, params, entries(values)), end), max_size=4)).map(
    lambda t: t[0] + "rspec 1\n" + "".join(x + e for x, e in t[1])
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs)
def test_any_spec_is_the_same_laid_out(text: str) -> None:
    source = Source("x.rspec", text)
    before, errors = parse(source)
    assert not errors, errors
    after = laid_out(source)
    tree, errors = parse(Source("x.rspec", after))
    assert not errors
    assert meaning(tree) == meaning(before)
    assert comments(after) == comments(text)
    assert laid_out(Source("x.rspec", after)) == after
    assert Source("x.rspec", after).words_sha256 == source.words_sha256
    assert hashlib.sha256("\n".join(words(text)).encode()).hexdigest() == source.words_sha256
    assert all(line == line.rstrip() for line in after.split("\n"))


def test_other_words_have_another_digest(tmp_path: Path) -> None:
    """What vcheck compares: whatever changes the tree changes it."""
    path = tmp_path / "s.rspec"
    path.write_text(NEAT)
    said = {"sha256": "", "words": Source("x", NEAT).words_sha256}
    assert comes_from(said, str(path))
    path.write_text(MESSY)
    assert comes_from(said, str(path))
    tight = 'rspec 1\nradius q { expect min(radius) > 0because "x", budget = 90s }\n'
    path.write_text(laid_out(Source("x", tight.replace("90s", "90 s"))))
    assert path.read_text() != tight
    assert comes_from({"sha256": "", "words": Source("x", tight).words_sha256}, str(path))
    for old, new in (
        ("8/255", "8/254"),
        ("x,  y", "x, y"),
        ("[0:3]", "[0,3]"),
        ("# no", "# na"),
        ("3], in", "3, in"),
        ("> a.b", "> a, b"),
        ("1\n", "1, 1\n"),
    ):
        path.write_text(NEAT.replace(old, new))
        assert path.read_text() != NEAT
        assert not comes_from(said, str(path))
    assert not comes_from({"sha256": ""}, str(path))


def test_fmt_writes_shows_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "s.rspec", tmp_path / "link.rspec"
    path.write_bytes(b"\xef\xbb\xbfrspec 1\r\nquery  q {}\r\n")
    path.chmod(0o754)
    link.symlink_to(path)
    assert main(["fmt", "--check", str(path)]) == 1
    capsys.readouterr()
    assert main(["fmt", "--diff", str(path)]) == 0
    patch = capsys.readouterr().out
    assert "+query q {}" in patch
    assert patch.startswith(f"--- {path}\n+++ {path}\n@@ ")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert main(["fmt", str(link)]) == 0
    assert path.read_bytes() == b"rspec 1\nquery q {}\n"
    assert (path.stat().st_mode & 0o777, link.is_symlink()) == (0o754, True)
    assert main(["fmt", "--check", str(tmp_path)]) == 0
    path.write_text("rspec  1\n")
    path.chmod(0o444)
    assert main(["fmt", str(path)]) == 2
    assert path.read_text() == "rspec  1\n"
    path.unlink()
    path.write_text("rspec 1\n")
    bad = tmp_path / "bad.rspec"
    bad.write_text("rspec 1\nquery  q {\n")
    capsys.readouterr()
    assert main(["fmt", str(path), str(bad)]) == 2
    assert "error[R102]" in capsys.readouterr().err
    assert bad.read_text() == "rspec 1\nquery  q {\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"rspec 1\nquery  q {}")))
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == "rspec 1\nquery q {}\n"


def test_specs_that_ship_are_laid_out() -> None:
    for path in [*(ROOT / "specs").glob("?*.rspec"), *(ROOT / "examples").rglob("*.rspec")]:
        assert laid_out(Source(str(path), path.read_text())) == path.read_text(), path
