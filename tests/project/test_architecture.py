"""The folders show the architecture: imports go down, in no circle, and nothing imports a command.

What is read are the sources: an import inside a function counts, and so does one for types alone,
since who reads a module needs to know what it names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import fastlin

ROOT = Path(fastlin.__file__).parent

FLOORS = (
    ("errors",),
    (
        *("advice", "blas", "interruption", "parameter_checks"),
        *("results.array_file", "results.output_file"),
        *("results.loss_log", "results.notebook", "results.snapshot"),
    ),
    ("results.plotting",),
    (
        "rows",
        *(
            f"results.{name}"
            for name in ("history", "model_checks", "model_file", "npz_model_file", "onnx_file")
        ),
    ),
    ("kernels",),
    ("solvers",),
    ("batches", "callbacks", "replacement", "results.checkpoint", "results.scores", "train"),
    ("training_set",),
    ("fitting", "run_identity"),
    ("estimator",),
    ("regularization_path",),
    ("dask", "datasets", "storage"),
    ("bench", "report", "selftest"),
    ("cli",),
    ("__main__",),
)
"""Rooms and modules from the ground up. Each imports itself and what is on the floors below."""

APPLICATIONS = ("dask", "datasets", "storage", "bench", "report", "selftest", "cli", "__main__")

KNOWN_CIRCLES: tuple[set[str], ...] = ()
"""What is still to be cut; nothing may be added."""

KNOWN_UPWARD: set[tuple[str, str]] = set()
"""Imports of a floor above that are still to be turned round; nothing may be added."""

MOST_QUESTIONS_OF_SPARSENESS = 0
"""Rows are one interface. What they are is asked twice, without this question: by
``rows.conversion`` of arrays from outside, and by ``kernels.record`` to choose a kernel."""


def module_name(path: Path) -> str:
    """Return a module's name without ``fastlin.``; a package has its folder's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path.read_text() for path in sorted(ROOT.rglob("*.py"))}


def imports(source: str, modules: Mapping[str, object]) -> Iterator[str]:
    """Give the modules of fastlin that a source imports, those named as text included.

    A name that ``fastlin`` itself looks up on first use stands for the module it is in. What else
    is imported from ``fastlin``, its version, needs no other module.
    """
    by_text = "import_module" in source
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif by_text and isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        for name in names:
            package, _, inside = name.partition(".")
            if package != "fastlin":
                continue
            inside = fastlin._HOME.get(inside, f"fastlin.{inside}").removeprefix("fastlin.")
            while inside and inside not in modules:
                inside = inside.rpartition(".")[0]
            if inside:
                yield inside


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the groups of modules of which each is reached from each (Warshall's algorithm)."""
    reached = {name: set(others) for name, others in graph.items()}
    for middle in reached:
        for others in reached.values():
            if middle in others:
                others |= reached[middle]
    found: list[set[str]] = []
    for name, others in reached.items():
        circle = {other for other in others if name in reached[other]}
        if name in others and circle not in found:
            found.append(circle)
    return found


GRAPH = {name: set(imports(source, SOURCES)) - {name} for name, source in SOURCES.items() if name}


def floor(module: str) -> int:
    """Return the floor of a module, which its own name gives, or that of the room it is in."""
    while module:
        for number, rooms in enumerate(FLOORS):
            if module in rooms:
                return number
        module = module.rpartition(".")[0]
    return -1


def room(module: str) -> str:
    return module.partition(".")[0]


def test_imports_go_in_no_circle() -> None:
    assert len(GRAPH) > 80
    unknown = [
        sorted(circle)
        for circle in circles(GRAPH)
        if not any(circle <= known for known in KNOWN_CIRCLES)
    ]
    assert unknown == [], "cut the circle; an import inside a function only hides it"


def test_each_module_has_its_floor() -> None:
    without = [name for name in GRAPH if floor(name) < 0 and name != "results"]
    assert without == [], "enter new rooms in FLOORS"
    gone = [name for rooms in FLOORS for name in rooms if name not in GRAPH]
    assert gone == []


def test_imports_go_down() -> None:
    upward = {
        (name, other)
        for name, others in GRAPH.items()
        for other in others
        if floor(other) >= floor(name)
        and not (room(other) == room(name) and floor(other) == floor(name))
    }
    assert upward - KNOWN_UPWARD == set()


def test_nothing_imports_an_application() -> None:
    for name, others in GRAPH.items():
        if room(name) not in APPLICATIONS:
            assert not [other for other in others if room(other) in APPLICATIONS], name


def questions_of_sparseness(source: str) -> list[int]:
    """Return the lines that ask whether rows are sparse."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        asks: list[ast.AST] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asks = list(node.args[1:])
        elif isinstance(node, ast.Compare) and ast.unparse(node).startswith("type("):
            asks = list(node.comparators)
        elif isinstance(node, ast.MatchClass):
            asks = [node.cls]
        lines += [node.lineno for one in asks if "CsrRows" in ast.unparse(one)]
    return lines


def test_few_places_ask_whether_rows_are_sparse() -> None:
    places = [
        f"{name}:{line}"
        for name, source in SOURCES.items()
        for line in questions_of_sparseness(source)
    ]
    assert len(places) <= MOST_QUESTIONS_OF_SPARSENESS, places


# ------------------------------------------------------------------ what the tests would see


@pytest.mark.parametrize(
    "line",
    [
        "import fastlin.rows.labels",
        "from fastlin.rows.labels import locate",
        "from fastlin.rows import labels",
        "def f():\n    from fastlin.rows import labels",
        "if TYPE_CHECKING:\n    from fastlin.rows.labels import locate",
        "importlib.import_module('fastlin.rows.labels')",
    ],
)
def test_an_import_is_seen(line: str) -> None:
    assert set(imports(line, SOURCES)) == {"rows.labels"}


def test_what_the_package_looks_up_is_seen() -> None:
    source = "from fastlin import LogisticRegression, __version__"
    assert set(imports(source, SOURCES)) == {"estimator"}


def test_a_circle_is_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"a"}}
    assert circles(graph) == [{"a", "b", "c"}]
    assert circles({"a": {"b"}, "b": set()}) == []


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(samples.rows, CsrRows)",
        "isinstance(rows, (Rows, arguments.CsrRows))",
        "type(rows) is CsrRows",
        "match rows:\n    case CsrRows():\n        pass",
    ],
)
def test_a_question_of_sparseness_is_seen(line: str) -> None:
    assert len(questions_of_sparseness(line)) == 1
