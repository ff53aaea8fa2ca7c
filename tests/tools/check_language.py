"""Names and phrases that `make check` keeps out: names that say nothing, class names with two meanings, odd English."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

BANNED = frozenset((
    "found", "one", "told", "kept", "known", "left", "own", "shown", "done", "said", "wrong", "held", "others", "place",
    "what", "result", "res", "item", "obj", "tmp",
))  # fmt: skip
# (file, name): why the name is right there. Five at most.
EXCEPTIONS = {("wrnexp/augment/erasing.py", "left"): "the side of a box, next to top, right and bottom"}
PHRASES = [
    r"told from chance", r"\banew\b", r"\bbeside\b", r"\blikewise\b", r"\bgoe?s? on\b", r"\btold\b", r"\bone's own\b",
    r"\bthe house\b", r"what is no product", r"(?<!there)\sis no\b(?! longer| more)",
    r"\ban? \w+ an? "
    r"(arm|batch|class|core|device|epoch|file|folder|group|image|job|label|name|pair|record|run|seed|step|sweep)\b",
]  # fmt: skip
PHRASE = re.compile("|".join(PHRASES).replace(" ", r"\s+(?:# )?"), re.IGNORECASE)  # a phrase may be broken into lines


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that a module binds: variables, attributes, parameters, functions, classes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                yield node.lineno, name
            case ast.MatchAs(name=str(name)) | ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name


def problems(root: Path) -> Iterator[str]:
    """Yield one line for each name and phrase of the checkout `root` that the rules do not allow."""
    classes: dict[str, str] = {}
    code = [
        root / "run.py",
        *(path for folder in ("wrnexp", "hydra_plugins", "tests") for path in _files(root / folder)),
    ]
    for path in (path for path in code if path.suffix == ".py"):
        where, tree = path.relative_to(root).as_posix(), ast.parse(path.read_text())
        for line, name in names(tree):
            if name.strip("_") in BANNED and (where, name.strip("_")) not in EXCEPTIONS:
                yield f"{where}:{line}: {name} does not say what it holds"
        public = (node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")
        for name in public if where.startswith("wrnexp/") else ():
            if name in classes:
                yield f"{where}: {name} is also a class of {classes[name]}: one name, one meaning"
            classes[name] = where
    for path in (path for folder in ("wrnexp", "conf") for path in _files(root / folder)):
        text = path.read_text()
        for match in PHRASE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path.relative_to(root).as_posix()}:{line}: {match[0]!r} is not plain English"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".yaml", ".j2", ".js", ".css"})


if __name__ == "__main__":
    lines = list(problems(Path(__file__).parents[2]))
    print("\n".join(lines) or "names and phrases: no problems")
    sys.exit(bool(lines))
