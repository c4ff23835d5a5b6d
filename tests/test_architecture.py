"""The shape of the package: who imports whom, what it costs, what is public."""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import stochq

PACKAGE = Path(stochq.__file__).parent
SOURCES = Path(__file__).parents[1] / "stochq"

#: A module may import from its own line and from those above it.
LAYERS = [
    {"errors", "jit", "storage"},
    {"arrays"},
    {"envelopes", "functions", "states", "structure", "weights"},
    {"channels"},
    {"equations", "superoperator"},
    {"model"},
    {"spaces", "unravelings", "streams", "lowering", "references"},
    {"schemes"},
    {"averages", "descriptions", "recording"},
    {"bias"},
    {"records", "signals", "statistics"},
    {"counting"},
    {"atoms"},
    {"choice", "conserved", "extras"},
    {"checkpoints"},
    {"running"},
    {"replay", "strata"},
    {"coupled", "setting"},
    {"ensemble"},
    {"assembly", "resources"},
    {"costs", "driver"},
    {"simulation"},
    {"faults", "folders"},
    {"evidence"},
    {"advisor", "mlmc", "orders", "problems", "verdict"},
    {"verification"},
    {"trials"},
    {"claims", "frames", "selftests", "testing"},
    {"captions", "documents", "execute", "files", "formulas", "plots", "runfile"}
    | {"catalog", "report", "tables"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

#: Stricter than the layers.
ONLY = {
    "references": {
        "errors",
        "arrays",
        "channels",
        "envelopes",
        "model",
        "references",
        "spaces",
        "states",
        "superoperator",
        "weights",
    },
    "counting": {"arrays", "counting", "errors", "records", "weights"},
    "structure": {"arrays"},
    "functions": {"errors", "arrays", "functions"},
    "spaces": {"errors", "arrays"},
    "streams": {"arrays", "jit"},
    "storage": set(),
    "errors": set(),
    "jit": set(),
}


def family(path: Path) -> str:
    """Return the stage that a file belongs to: its folder or its name."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(path: Path) -> set[str]:
    """Return the stages that a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} must import by absolute names"
            names = [node.module or ""]
            if node.module == "stochq":
                names = [f"stochq.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("stochq.")}
    return found


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def test_files_are_found():
    assert {"model", "schemes", "verdict"} <= {family(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_leftwards(path):
    own = family(path)
    assert own in LEVEL, f"{own} must have a place in LAYERS"
    for other in imported(path):
        assert other in LEVEL, f"{path.name} imports the unknown {other}"
        assert LEVEL[other] <= LEVEL[own], f"{own} must not import {other}"
        assert other in ONLY.get(own, LEVEL), f"{own} must not import {other}"
        assert other != "cli" or own in {"cli", "__main__"}


def test_stages_do_not_import_each_other_in_circles():
    graph = {}
    for path in FILES:
        graph.setdefault(family(path), set()).update(imported(path) - {family(path)})
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {n for n, needs in graph.items() if n not in done and needs <= done}
        assert ready, f"a circle among {sorted(set(graph) - done)}"
        done |= ready


def run_python(code: str) -> str:
    """Run code in a fresh interpreter that sees the same package."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
        timeout=60,
    )
    return done.stdout.strip()


def test_importing_the_package_is_cheap():
    heavy = ["numba", "scipy", "matplotlib", "pandas", "joblib", "numpy"]
    code = f"import sys, stochq; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(code) == "[]"


def test_public_names_are_functions_and_classes_with_docstrings():
    assert sorted(stochq.__all__) == list(stochq.__all__)
    assert dir(stochq) == sorted(stochq.__all__)
    for name in stochq.__all__:
        value = getattr(stochq, name)
        assert not isinstance(value, ModuleType), f"{name} must not be a module"
        assert value.__doc__, f"{name} must have a docstring"
        assert value.__module__.startswith("stochq.")


@pytest.mark.parametrize(
    "code",
    [
        "from stochq import *",
        "from stochq import Verdict, verify",
        "import stochq.claims; from stochq import verify",
        "import stochq.verdict; from stochq import verify",
    ],
)
def test_public_names_do_not_depend_on_what_was_imported_before(code):
    assert run_python(f"{code}; print(type(verify).__name__)") == "function"


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = stochq.nonsense


def test_the_imported_package_is_the_one_under_test():
    """An installed copy must be these sources, byte for byte."""
    ours = {p.relative_to(SOURCES): p.read_bytes() for p in SOURCES.rglob("*.py")}
    theirs = {p.relative_to(PACKAGE): p.read_bytes() for p in PACKAGE.rglob("*.py")}
    assert theirs == ours
