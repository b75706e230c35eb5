"""Measures of the code itself: repeated bodies, length of functions and files, typed arguments, names of files.

`python tools/check_bodies.py [ROOT]` prints what is wrong and exits 1, or prints one line and exits 0.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDERS = ("src", "tests", "benchmarks", "tools", "experiments")
LONGEST_FUNCTION = 80
USUAL_FUNCTION = 40
USUAL_SHARE = 0.9
LONGEST_FILE = 400
REPEATED_STATEMENTS, REPEATED_LINES = 4, 6
VAGUE_NAMES = frozenset(("utils", "util", "helpers", "helper", "misc", "common"))

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Function(NamedTuple):
    """A function and where it stands."""

    path: Path
    node: FunctionNode
    depth: int
    """How many functions it is nested in."""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.node.lineno}: `{self.node.name}`"

    @property
    def body(self) -> list[ast.stmt]:
        return without_docstring(self.node)

    @property
    def length(self) -> int:
        """Lines of the definition, docstring and decorators left out."""
        lines = (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1
        first = self.node.body[0]
        if len(self.body) < len(self.node.body):
            lines -= (first.end_lineno or first.lineno) - first.lineno + 1
        return lines


def main(arguments: list[str]) -> int:
    """Check the repository; the exit code."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    trees = parse(root)
    if not trees:
        print(f"no Python file under {', '.join(FOLDERS)} of {root}")
        return 1
    found = [line for check in CHECKS for line in check(trees)]
    print("\n".join(found) if found else f"{len(trees)} files: no repeated body, nothing too long, no vague name")
    return 1 if found else 0


def parse(root: Path) -> dict[Path, ast.Module]:
    """The syntax trees of all checked files, by path from the root."""
    paths = sorted(p for folder in FOLDERS for p in (root / folder).rglob("*.py") if p.is_file())
    return {p.relative_to(root): ast.parse(p.read_text("utf-8"), str(p)) for p in paths}


def without_docstring(node: FunctionNode) -> list[ast.stmt]:
    """The body of a function after its docstring."""
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body


def functions(trees: dict[Path, ast.Module]) -> Iterator[Function]:
    """Every function, nested ones included."""

    def walk(path: Path, node: ast.AST, depth: int) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            inside = depth
            if isinstance(child, FunctionNode):
                yield Function(path, child, depth)
                inside += 1
            yield from walk(path, child, inside)

    for path, tree in trees.items():
        yield from walk(path, tree, 0)


def repeated_bodies(trees: dict[Path, ast.Module]) -> list[str]:
    """Functions with the same statements, whatever their arguments, variables and annotations are called."""
    groups: dict[str, list[Function]] = defaultdict(list)
    for function in functions(trees):
        statements = sum(isinstance(n, ast.stmt) for s in function.body for n in ast.walk(s))
        lines = (function.body[-1].end_lineno or 0) - function.body[0].lineno + 1 if function.body else 0
        if statements >= REPEATED_STATEMENTS and lines >= REPEATED_LINES:
            groups[normal_form(function.node)].append(function)
    return [
        "repeated body: " + ", ".join(f.place for f in group) + "; let one call the other"
        for group in groups.values()
        if len(group) > 1
    ]


def normal_form(node: FunctionNode) -> str:
    """The body as text, with every name that is bound inside numbered by its first appearance."""
    bound = {
        a.arg for n in ast.walk(node) if isinstance(n, ast.arguments) for a in ast.walk(n) if isinstance(a, ast.arg)
    }
    bound |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return _Renamer(bound).text(without_docstring(node))


class _Renamer(ast.NodeVisitor):
    """Writes statements as text with bound names numbered and annotations, positions and docstrings left out."""

    def __init__(self, bound: set[str]) -> None:
        self.numbers: dict[str, str] = {}
        self.bound = bound

    def name(self, name: str) -> str:
        return self.numbers.setdefault(name, f"_{len(self.numbers)}") if name in self.bound else name

    def text(self, value: object) -> str:
        if isinstance(value, list):
            return "[" + ",".join(map(self.text, value)) + "]"
        if isinstance(value, ast.Name):
            return self.name(value.id)
        if isinstance(value, ast.arg):
            return self.name(value.arg)
        if isinstance(value, ast.AST):
            skip = {"annotation", "returns", "type_comment", "ctx", "type_params"}
            fields = [f"{k}={self.text(v)}" for k, v in ast.iter_fields(value) if k not in skip]
            return f"{type(value).__name__}({','.join(fields)})"
        return repr(value)


def long_functions(trees: dict[Path, ast.Module]) -> list[str]:
    """No function is very long, and nine in ten are short."""
    every = list(functions(trees))
    found = [
        f"too long: {f.place} has {f.length} lines, more than {LONGEST_FUNCTION}"
        for f in every
        if f.length > LONGEST_FUNCTION
    ]
    longer = [f for f in every if f.length > USUAL_FUNCTION]
    if len(longer) > (1 - USUAL_SHARE) * len(every):
        found.append(f"too long: {len(longer)} of {len(every)} functions have more than {USUAL_FUNCTION} lines")
    return found


def long_files(trees: dict[Path, ast.Module]) -> list[str]:
    """No file of the package is long."""
    return [
        f"too long: {path} has {last_line(tree)} lines, more than {LONGEST_FILE}"
        for path, tree in trees.items()
        if path.parts[0] == "src" and last_line(tree) > LONGEST_FILE
    ]


def last_line(tree: ast.Module) -> int:
    """Number of the last line of code."""
    return max((node.end_lineno or 0 for node in tree.body), default=0)


def untyped_arguments(trees: dict[Path, ast.Module]) -> list[str]:
    """Every argument and every return of a public function of the package says its type."""
    found = []
    for f in functions(trees):
        public = not f.node.name.startswith("_") or f.node.name == "__init__"
        if f.path.parts[0] != "src" or f.depth or not public:
            continue
        a = f.node.args
        optional = [x for x in (a.vararg, a.kwarg) if x]
        missing = [x.arg for x in [*a.posonlyargs, *a.args, *a.kwonlyargs, *optional] if x.annotation is None]
        missing = [name for name in missing if name not in ("self", "cls")]
        if missing:
            found.append(f"untyped: {f.place} does not type {', '.join(missing)}")
        if f.node.returns is None and f.node.name != "__init__":
            found.append(f"untyped: {f.place} does not type what it returns")
    return found


def vague_names(trees: dict[Path, ast.Module]) -> list[str]:
    """A file is named for one concept."""
    return [
        f"vague name: {path}; name it for the concept it holds"
        for path in trees
        if VAGUE_NAMES & {part.removesuffix(".py").strip("_") for part in path.parts}
    ]


def empty_test_files(trees: dict[Path, ast.Module]) -> list[str]:
    """Every `test_*.py` holds at least one test, and every file of tests with a test is called so."""
    found = []
    for path, tree in trees.items():
        if path.parts[0] != "tests":
            continue
        tests = sum(f.node.name.startswith("test") and not f.depth for f in functions({path: tree}))
        if path.name.startswith("test_") and not tests:
            found.append(f"no test: {path}")
        elif tests and not path.name.startswith("test_"):
            found.append(f"never run: {path} holds tests, but pytest collects test_*.py only")
    return found


CHECKS = (repeated_bodies, long_functions, long_files, untyped_arguments, vague_names, empty_test_files)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
