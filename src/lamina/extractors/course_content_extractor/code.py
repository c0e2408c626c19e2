"""Code: which language it is in, where functions begin, and whether a line is code at all."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import Final

LANGUAGES: Final = {
    ".py": "python", ".js": "javascript", ".mjs": "javascript", ".jsx": "javascript", ".ts": "typescript",
    ".tsx": "typescript", ".java": "java", ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp", ".hpp": "cpp",
    ".cs": "csharp", ".go": "go", ".rs": "rust", ".rb": "ruby", ".php": "php", ".swift": "swift",
    ".kt": "kotlin", ".scala": "scala", ".r": "r", ".jl": "julia", ".sql": "sql", ".sh": "bash",
}  # fmt: skip
"""By the ending of a file's name."""

_DEFINITION: Final = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|abstract|final|static|async|pub(?:\(\w+\))?|"
    r"unsafe|const|open|data|sealed)\s+)*"
    r"(?:def|class|function\*?|func|fn|fun|interface|struct|enum|trait|impl|module|record|object)"
    r"\s+(?:\([^)]*\)\s*)?(?P<name>[A-Za-z_$][\w$]*)"
)
"""A definition of a function or a type; Go names the receiver of a method before its name."""

_LEADING: Final = re.compile(r"@|#(?!include)|//|/\*|\s?\*")
"""Decorators and comments, which belong to the definition under them."""

_CODE: Final = re.compile(
    r"""
      ^(?:def|class|async\ def|function|func|fn|pub\ fn|impl|struct)\s+[\w(].*[:{(,]\s*$
    | ^(?:if|elif|else|for|while|try|except|finally|with|switch|case|do|match)\b.*[:{]\s*$
    | ^(?:from\s+[\w.]+\s+import\s|import\s+[\w.{*]+(?:\s+as\s+\w+)?;?$)
    | ^(?:\#include\s*[<"]|using\s+\w[\w.]*;|package\s+\w+;?$)
    | ^(?:return|yield|raise|throw|break|continue|pass|assert|await)(?:\s+[\w.\[\]"'-]+|\b.*[(\[=+*/].*)?;?$
    | ^(?:const|let|var|int|float|double|char|bool|void|auto|String|long)\s+[\w*]+\s*(?:=|;|\(|\[)
    | ^(?:SELECT|INSERT\ INTO|UPDATE|DELETE\ FROM|CREATE\ TABLE|FROM|WHERE|GROUP\ BY|ORDER\ BY)\s+[\w*("]
    | ^[A-Za-z_][\w.]*(?:\[[^\]]*\])?(?:,\s*[A-Za-z_]\w*)*\s*(?:[-+*/%|&:]|//|\*\*|<<|>>)?=\s*[^=\s>]
    | ^[A-Za-z_][\w.]*\([^()]*(?:\([^()]*\)[^()]*)*\);?$
    | [;{]\s*$
    | ^[\])}]+[;,]?$
    | ^(?:@\w[\w.]*(?:\(.*\))?|\#!|//\s|\$\s\w|>>>\s)
    """,
    re.VERBOSE,
)
"""What lines of code look like, and lines of prose do not."""

_TELLTALES: Final = tuple(
    (language, re.compile("|".join(signs), re.MULTILINE))
    for language, signs in {
        "rust": (r"\bfn \w+.*\{", r"\blet mut\b", r"println!", r"^use \w+::"),
        "cpp": (r"std::", r"#include *<\w+>", r"\bcout *<<"),
        "c": (r"#include *[<\"]\w+\.h",),
        "java": (r"\bpublic (?:static |final )*(?:class|void|int|String)\b", r"System\.out\."),
        "go": (r"^func ", r"^package \w+$", r":= ", r"\bfmt\."),
        "python": (
            r"^[ \t]*(?:def|class|if|elif|for|while|with|try|except)\b.*:[ \t]*$",
            r"^[ \t]*(?:from [\w.]+ )?import [\w.]+(?: as \w+)?$",
            r"^>>> ",
        ),
        "javascript": (r"\b(?:const|let|var) \w+ *=", r"=>", r"\bfunction *\w*\(", r"console\.log"),
        "sql": (r"^[ \t]*(?:SELECT|INSERT INTO|UPDATE|CREATE TABLE)\b",),
        "bash": (r"^#!.*sh\b", r"^\$ \w", r"\bfi$", r"\bdone$"),
    }.items()
)
"""What is said in one language and hardly in those after it; nothing in it goes over the end of a line."""

_LOOKED_AT: Final = 50_000
"""Characters of a text in which these are looked for."""

_LEAST_LINES: Final = 2
_MAX_PIECES: Final = 2000


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a source file; lines count from 1. `name` is that of the function or class."""

    text: str
    start_line: int
    end_line: int
    name: str | None = None


def language_of(filename: str | None, text: str) -> str | None:
    """The language, by the file's name or, without one that tells, by what only one language says."""
    named = LANGUAGES.get(PurePosixPath(filename or "").suffix.lower())
    beginning = text[:_LOOKED_AT]
    return named or next((language for language, sign in _TELLTALES if sign.search(beginning)), None)


def is_code(line: str) -> bool:
    """Whether a line looks like code."""
    return _CODE.search(line.strip()) is not None


def code_in(lines: Sequence[str]) -> list[str]:
    """The stretches of at least two lines that follow each other and look like code."""
    runs = ((code, list(some)) for code, some in groupby(lines, key=is_code))
    return ["\n".join(run) for code, run in runs if code and len(run) >= _LEAST_LINES]


def pieces(text: str, *, split: bool = True) -> list[Piece]:
    """A source file at the definitions on its outermost level, and what stands before them; or the whole."""
    lines = text.splitlines()
    starts = list(_starts(lines)) if split else []
    if not starts or len(starts) > _MAX_PIECES:
        starts = [(0, None)]
    elif starts[0][0] > 0:
        starts = [(0, None), *starts]
    ends = [start for start, _ in starts[1:]] + [len(lines)]
    found = []
    for (start, name), end in zip(starts, ends, strict=True):
        filled = [number for number in range(start, end) if lines[number].strip()]
        if filled:
            first, last = filled[0], filled[-1]
            found.append(Piece("\n".join(lines[first : last + 1]), first + 1, last + 1, name))
    return found


def _starts(lines: Sequence[str]) -> Iterator[tuple[int, str | None]]:
    """Where definitions begin, with the decorators and comments right above, and their names."""
    for number, line in enumerate(lines):
        found = _DEFINITION.match(line)
        if found is None:
            continue
        start = number
        while start > 0 and _LEADING.match(lines[start - 1]):
            start -= 1
        yield start, found["name"]
