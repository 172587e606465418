"""The house: which room may import from which, and how large a file, a function and a room may be."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "udml"
# Data flows down this list: a room imports from those before it only.
ROOMS = (
    "config", "data", "learning", "search", "collection", "evaluation", "judgement", "report", "export",
    "registry", "monitor", "notifying", "serving", "cli",
)  # fmt: skip
# What may be used from a later room all the same, and why.
LENT = {
    ("learning", "udml.evaluation.labelfree"): "training picks its checkpoint by the figures it reports",
}
MOST_LINES_A_FILE, MOST_FILES_A_FOLDER, MOST_LINES_OF_NINE_IN_TEN_FUNCTIONS = 300, 14, 23


def python_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(module: str) -> str | None:
    """The room of a dotted name, `udml.search.index` -> `search`; None beside the rooms."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "udml" and parts[1] in ROOMS else None


def imports(path: Path) -> Iterator[str]:
    """Every udml module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_imports(path: Path, module: str) -> list[str]:
    """What a module imports from a later room, in words."""
    own = room_of(module)
    found = []
    for name in imports(path):
        other = room_of(name)
        lent = any(own == lender and name.startswith(what) for lender, what in LENT)
        if own is None and other is not None and module not in ("udml", "udml.__main__"):
            found.append(f"{module}, which every room may use, imports {name}")
        elif own is not None and other is not None and not lent and ROOMS.index(other) > ROOMS.index(own):
            found.append(f"{module} imports {name}")
    return found


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def test_rooms_import_only_from_those_before_them() -> None:
    assert {path.name for path in SOURCE.iterdir() if path.is_dir()} >= set(ROOMS)
    wrong = [line for path in python_files() for line in wrong_imports(path, module_of(path))]
    assert wrong == []


def test_a_wrong_import_is_seen(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        "def f():\n    from udml.serving import serve\nimport udml.evaluation.labelfree\n"
    )
    assert wrong_imports(tmp_path / "x.py", "udml.learning.x")[0] == "udml.learning.x imports udml.serving"
    assert wrong_imports(tmp_path / "x.py", "udml.files")
    assert not [w for w in wrong_imports(tmp_path / "x.py", "udml.learning.x") if "labelfree" in w]


def test_flows_are_on_top_and_nothing_imports_them() -> None:
    assert [path for path in python_files() if any(n.split(".")[0] == "flows" for n in imports(path))] == []


def test_files_are_small() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in python_files()}
    assert {str(path): size for path, size in sizes.items() if size > MOST_LINES_A_FILE} == {}


@pytest.mark.parametrize("tree", ["src/udml", "tests", "flows", "benchmarks"])
def test_folders_hold_few_files(tree: str) -> None:
    folders = {path.parent for path in (ROOT / tree).rglob("*.py")}
    counts = {str(folder): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: n for folder, n in counts.items() if n > MOST_FILES_A_FOLDER} == {}


def function_lines(path: Path) -> Iterator[int]:
    """Lines of each function, its docstring left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            said = ast.get_docstring(node, clean=False) is not None
            docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if said else 0
            yield (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def test_functions_fit_on_a_screen() -> None:
    lengths = [lines for path in python_files() for lines in function_lines(path)]
    assert quantiles(lengths, n=10)[-1] <= MOST_LINES_OF_NINE_IN_TEN_FUNCTIONS
