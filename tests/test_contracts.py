"""The contracts every part obeys: import order, where heavy libraries live, a light command line."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import behavio

PACKAGE = Path(behavio.__file__).parent
ORDER = (
    "__init__ errors durations files words sensitive kernels log sequences engine sources encoding "
    "simulate estimator process distances contrasts touches journeys treatment holdout conformance "
    "patterns models segments stages pressure perceptions suggest view accounts value goals card report "
    "targets checks manifest job run folder audience erase api cli __main__"
).split()
HOMES = {
    "pyspark": ("engine",),
    "pm4py": ("process",),
    "r4pm": ("process", "sources"),
    "torch": ("models",),
    "gensim": ("models",),
    "lifelines": ("treatment",),
    "click": ("cli",),
    "rich": ("cli",),
}
MODULES = sorted(p for p in PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Every imported module name, and whether it is imported when the module is (not inside a function)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    typing_only = {
        id(n)
        for i in ast.walk(tree)
        if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test)
        for n in ast.walk(i)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        at_once = id(node) not in lazy | typing_only
        if isinstance(node, ast.Import):
            found += [(a.name, at_once) for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"behavio.{a.name}" for a in node.names] if node.module == "behavio" else [node.module]
            found += [(n, at_once) for n in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_up_the_list_of_rooms(path: Path) -> None:
    room = room_of(path)
    assert room in ORDER, f"{room} has no place in the order of rooms"
    if path == PACKAGE / "__init__.py":
        return
    for name, _ in imports_of(path):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if top == "behavio" and target and target != "__version__":
            assert ORDER.index(target) <= ORDER.index(room), f"{path.name} imports {name} from below"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_stay_in_their_room(path: Path) -> None:
    for name, at_once in imports_of(path):
        top = name.partition(".")[0]
        if top in HOMES:
            assert room_of(path) in HOMES[top], f"{top} is imported in {path.name}"
        if top in ("pm4py", "r4pm", "torch", "gensim", "lifelines"):
            assert not at_once or room_of(path) == "models", f"{path.name} imports {top} before it is needed"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, behavio.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy','polars','pandas','torch','numba','pm4py','gensim','sklearn','rich','pyarrow'}\n"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "" and "graph" in done.stdout
