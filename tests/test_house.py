"""The house's rules: which side imports what, what the wheel holds, that documents' examples run."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The rooms from the ground up: each may import what stands before it, and its own. Files beside the rooms stand where they are named.
LANGUAGE = (
    "words",
    "numbers",
    "text",
    "expression",
    "property",
    "typed",
    "picture",
    "known",
    "array",
    "perturbation",
    "plan",
    "results",
    "revision",
    "cost",
    "convert",
    "lower",
    "report",
    "judge",
    "formats",
    "store",
    "shell",
    "editor",
    "cli",
    "child",
    "export",
    "api",
    "robust",
    "pytest_plugin",
)
RUNTIME = (
    "rounding",
    "late",
    "products",
    "elementary",
    "relaxations",
    "graph",
    "network",
    "device",
    "pace",
    "sets",
    "bounds",
    "methods",
    "attacks",
    "searches",
    "spectra",
    "robust",
    "queries",
    "evidence",
    "tasks",
    "resume",
    "workers",
    "execute",
    "cluster",
)
#: The only modules of the language that the runtime may import: values, and words.
VALUES = (
    "vlang.array",
    "vlang.cost",
    "vlang.plan",
    "vlang.perturbation",
    "vlang.property",
    "vlang.picture",
    "vlang.results",
    "vlang.revision",
    "vlang.words",
    "vlang.convert",
)
HEAVY = {"torch", "numpy", "safetensors"}


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules imported, and whether at the top of the module."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(a.name, id(node) in top) for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, id(node) in top))
            found += [(f"{node.module}.{a.name}", id(node) in top) for a in node.names if node.module in ("vlang", "vlang.runtime")]
    return found


def modules(folder: str) -> list[Path]:
    return [
        p for p in (ROOT / folder).rglob("*.py") if not (folder == "vlang" and {"runtime", "grammar"} & set(p.relative_to(ROOT / "vlang").parts[:1]))
    ]


def room(path: Path, folder: str) -> str:
    return path.relative_to(ROOT / folder).parts[0].removesuffix(".py")


@pytest.mark.parametrize(("folder", "rooms"), [("vlang", LANGUAGE), ("runtime", RUNTIME)])
def test_a_room_stands_above_what_it_imports(folder: str, rooms: tuple[str, ...]) -> None:
    package = "vlang.runtime." if folder == "runtime" else "vlang."
    for path in modules(folder):
        own = room(path, folder)
        if own in ("__init__", "vcheck"):
            continue
        assert own in rooms, f"{path} is in no room"
        for name, _ in imports(path):
            other = name.removeprefix(package).split(".")[0]
            if name.startswith(package) and other in rooms:
                assert rooms.index(other) <= rooms.index(own), f"{path} imports {name}, which stands above it"


def test_words_import_nothing_of_the_rest() -> None:
    for path in (ROOT / "vlang" / "words").glob("*.py"):
        assert all(n.startswith("vlang.words") for n, _ in imports(path) if n.startswith("vlang")), path


def test_no_module_imports_one_that_imports_it() -> None:
    """Inside rooms, too (imports for type checking and inside functions aside)."""
    paths = {
        (package + ".".join(path.relative_to(ROOT / folder).with_suffix("").parts)).removesuffix(".__init__"): path
        for folder, package in (("vlang", "vlang."), ("runtime", "vlang.runtime."))
        for path in modules(folder)
    }
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        tops = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        # A module taken from its package is imported, not the package.
        found = {module if (module := f"{node.module}.{a.name}") in paths else str(node.module) for node in tops for a in node.names}
        graph[name] = found - {name}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle: {' -> '.join([*above, name])}"
        if name not in done:
            for other in graph[name] & graph.keys():
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_runtime_knows_no_syntax() -> None:
    for path in modules("runtime"):
        for name, _ in imports(path):
            if name.startswith("vlang") and not name.startswith("vlang.runtime") and name != "vlang":
                assert name.startswith(VALUES), f"{path} imports {name}"
            assert name.split(".")[0] != "lark", f"{path} imports lark"


def test_the_language_imports_no_torch_but_lazily_in_the_shell() -> None:
    for path in modules("vlang"):
        if path.parent.name == "vcheck":  # a program of its own
            continue
        if room(path, "vlang") == "robust":  # for those who train: torch is there
            continue
        bridge = room(path, "vlang") in ("shell", "convert", "export", "api", "pytest_plugin")
        for name, top in imports(path):
            assert not name.startswith("vlang.vcheck"), f"{path} imports {name}"
            if name.split(".")[0] in HEAVY or name.startswith("vlang.runtime"):
                assert bridge, f"{path} imports {name}"
                assert not top, f"{path} imports {name}"


def test_the_checker_imports_nothing_but_itself_and_three_libraries() -> None:
    folder = ROOT / "vlang" / "vcheck"
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                if node.level:
                    assert node.level == 1, f"{path} imports from outside its folder"
                    assert (folder / f"{node.module}.py").exists()
                    continue
            else:
                continue
            assert {n.split(".")[0] for n in names} <= {"flint", "numpy", "safetensors"} | sys.stdlib_module_names, f"{path} imports {names}"


def test_the_checker_runs_wherever_it_is_copied_to(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "vlang" / "vcheck", tmp_path / "vcheck", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "vcheck", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    assert "--network" in done.stdout


def test_cells_hold_no_bounding_code_and_relaxations_know_no_cell() -> None:
    for path in (ROOT / "runtime" / "network" / "cells").glob("*.py"):
        assert not any("relaxations" in n or "bounds" in n or "ball" in n for n, _ in imports(path))
    for path in (ROOT / "runtime" / "relaxations").glob("*.py"):
        assert not any("cells" in n or "graph" in n or "network" in n for n, _ in imports(path))


@pytest.mark.parametrize("folder", ["vlang", "runtime"])
def test_no_mutable_module_state(folder: str) -> None:
    """Module-level names are functions, classes, or constants in capitals."""
    for path in modules(folder):
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            for target in targets:
                if isinstance(target, ast.Name):
                    name = target.id
                    assert name.isupper() or name.startswith("_") or name[0].isupper() or path.name == "elementary.py", f"{path}: {name}"


def test_the_wheel_holds_only_vlang_and_every_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"vlang"}
    packed = {n for n in names if n.endswith(".py")}
    here = {str(p.relative_to(ROOT)) for p in modules("vlang")}
    here |= {f"vlang/{p.relative_to(ROOT)}" for folder in ("runtime", "grammar") for p in modules(folder)}
    assert packed == here
    assert "vlang/grammar/rspec.lark" in names
    assert "vlang/py.typed" in names


def test_the_readmes_test_command_is_what_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^    (python3\.11 .*)$", readme, re.M)
    assert len(commands) == 2
    assert "vrun specs/qc_word3.rspec" in commands[0]
    assert "pytest" in commands[1]
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def spec_blocks(document: str) -> list[str]:
    return re.findall(r"```rspec\n(.*?)```", (ROOT / document).read_text(), re.S)


@pytest.mark.parametrize(
    ("document", "number"), [(d, i) for d in ("README.md", "grammar/README.md") if (ROOT / d).exists() for i in range(len(spec_blocks(d)))]
)
def test_every_example_in_the_documents_checks(document: str, number: int, tmp_path: Path) -> None:
    """Examples are whole specs in specs/; paths are relative to that folder."""
    from vlang.lower.spec import compile_spec
    from vlang.text.source import Source

    text = spec_blocks(document)[number]
    compile_spec(Source(str(ROOT / "specs" / "example.rspec"), text))


#: How shipped specs that take longer than a test may are run: smaller, in part, or only checked.
SMALLER = {
    "table5.rspec": ["check"],
    "planes_lines_full.rspec": ["check"],
    "table5_quick.rspec": ["run", "-p", "samples=1", "-p", "steps=10"],
    "planes_lines.rspec": ["run", "-p", "samples=1", "-q", "four_frames"],
    "strokes.rspec": ["run", "-p", "digit=39", "-p", "tolerance=1", "-p", "restarts=1"],
    "digits_table.rspec": ["run", "-p", "samples=2"],
    "questions.rspec": ["run", "-p", "batches=10", "-p", "restarts=2", "-p", "tolerance=0.2"],
    "spectra.rspec": ["run", "-p", "samples=2", "-q", "digits_matrix", "-q", "digits_certified", "-q", "digits_attacked"],
    "news.rspec": ["run", "-q", "cert"],
}


@pytest.mark.parametrize("spec", sorted(p.name for p in (ROOT / "specs").glob("?*.rspec")))
def test_every_shipped_spec_passes(spec: str, tmp_path: Path) -> None:
    from vlang.cli import main

    shutil.copytree(ROOT / "specs", tmp_path / "specs")  # reports are written beside the spec
    command, *options = SMALLER.get(spec, ["run"])
    assert main([command, str(tmp_path / "specs" / spec), *options]) == 0


def test_checkpoints_are_small() -> None:
    for path in (ROOT / "specs").rglob("*"):
        assert not path.is_file() or path.stat().st_size < 2 * 2**20


def test_ruff_and_mypy_are_clean() -> None:
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_light_install_checks_and_says_what_computing_needs(world: Path, tmp_path: Path) -> None:
    """Nothing but lark can be imported, as after pip install rspec-verify without the extra."""
    spec = tmp_path / "s.rspec"
    spec.write_text(f"""rspec 1
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(1) }}
radius q {{ network = net, input = data, perturbation = {{ frames = [1], norm = 2 }}
  expect min(radius) > 0 because "so" }}
""")
    light = """
import sys, sysconfig
class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in ("vlang", "lark", *sys.stdlib_module_names) and not top.startswith("_"):
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
sys.meta_path.insert(0, Only())
from vlang.cli import main
sys.exit(main(sys.argv[1:]))
"""

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", light, *args], capture_output=True, text=True, cwd=ROOT)

    reports = [x for word in ("sarif", "junit", "json", "csv") for x in ("--report", f"{word}:{tmp_path}/r.{word}")]
    path = str(spec)
    for args in (
        ["check", path, *reports],
        ["lint", path],
        ["fmt", "--diff", path],
        ["plan", path],
        ["explain", "R213"],
        ["init", f"{world}/lstm.safetensors", "--output", "-"],
    ):
        found = call(*args)
        assert found.returncode == 0, (args, found.stderr)
    for args in (["run", path], ["plan", "--json", path], ["replay", path]):
        found = call(*args)
        assert found.returncode == 2, (args, found.stderr)
        assert "error[R506]" in found.stderr
        assert "pip install 'rspec-verify[run]'" in found.stderr
        assert "Traceback" not in found.stderr
    checked = subprocess.run(
        [sys.executable, "-c", light.replace("vlang.cli", "vlang.vcheck.cli"), "a", "--network", "b"], capture_output=True, text=True, cwd=ROOT
    )
    assert checked.returncode == 2
    assert "pip install 'rspec-verify[vcheck]'" in checked.stderr
