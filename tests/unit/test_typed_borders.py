"""
What a room hands to others has a type: ``Any`` at its border is counted, and may only fall.

Counted are annotations of public functions, methods and fields that name Any. What is left
is mostly JSON of strangers (rows of a dataset, a report of an older version) and objects of
libraries without types.
"""

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "daemon" / "finetuned"

MOST = {
    "cli": 13,
    "config": 1,
    "core": 26,
    "data": 16,
    "evaluation": 3,
    "files": 26,
    "inference": 4,
    "ingestion": 2,
    "loss": 9,
    "registry": 3,
    "reports": 15,
    "serving": 1,
    "sources": 3,
    "supervisor": 16,
    "telemetry": 1,
    "training": 5,
}
"""Room -> annotations with Any at its border. Lower a number when it has fallen."""


def annotations_of(tree: ast.Module) -> list[ast.expr]:
    """
    Return the annotations of what a module shows to others.
    """
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (
            not node.name.startswith("_") or node.name == "__init__"
        ):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            found += [node.returns, *(a.annotation for a in every)]
            found += [a.annotation for a in (arguments.vararg, arguments.kwarg) if a is not None]
        elif isinstance(node, ast.ClassDef):
            found += [
                field.annotation
                for field in node.body
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and not field.target.id.startswith("_")
            ]
    return [annotation for annotation in found if annotation is not None]


def names_any(annotation: ast.expr) -> bool:
    """
    Return whether an annotation says Any somewhere.
    """
    return any(isinstance(n, ast.Name) and n.id == "Any" for n in ast.walk(annotation))


def counted() -> Counter[str]:
    """
    Return, by room, how many annotations at its border name Any.
    """
    found: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text())
        found[room] += sum(names_any(annotation) for annotation in annotations_of(tree))
    return found


def test_any_at_a_border_may_only_become_rarer():
    """
    A new one is a value whose type is not thought of yet.
    """
    now = counted()

    assert {} == {room: n for room, n in now.items() if n > MOST.get(room, 0)}


def test_the_limits_are_what_is_there():
    """
    A limit above the count would let it rise again unseen.
    """
    now = counted()

    assert {room: n for room, n in now.items() if n} == MOST


def test_every_kind_of_annotation_is_counted():
    """
    Arguments, results and fields; not what a module keeps to itself.
    """
    tree = ast.parse(
        "class A:\n"
        "    field: dict[str, Any]\n"
        "    _own: Any\n"
        "    def __init__(self, a: Any) -> None: ...\n"
        "    def _own(self, b: Any) -> Any: ...\n"
        "def f(*a: Any, b: int, **c: Any) -> list[Any]: ...\n"
    )

    assert 5 == sum(names_any(annotation) for annotation in annotations_of(tree))
