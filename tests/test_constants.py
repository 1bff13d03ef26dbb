"""Every number that has a name says where it comes from (docs/contributing.md, "Style")."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDERS: Final = ("kelly_edge", "firmware_py", "models", "deploy")
FEWEST_WORDS: Final = 4
"""Of a text, beside the words of the constant's own name; chosen: "Chosen by ear, not measured." has five."""
STANDARDS: Final = (
    "MIDI|SMF|GM|NRPN|POSIX|Linux|glibc|systemd|ALSA|JACK|PortAudio|libsndfile|GCC|ISO|ITU|IEC|IEEE|RFC|RIFF|WAV"
    "|Wave64|Ogg|MP3|TCP|Prometheus|sysexits|ONNX|Raspberry Pi|EMOPIA|POP909|equal temperament"
)
ORIGINS: Final = {
    "measured": r"\b(measured|fitted|trained|counted|learned from)\b",
    "chosen": r"\b(chosen|our choice)\b",
    "a citation with its year": r"\b(1[6-9]|20)\d\d\b",
    "a standard, an interface or a data set": rf"\b({STANDARDS})\b",
    "a definition": r"\b(definition|format|follows from)\b",
}
"""What a text may name as the origin of a number."""
REMEDY: Final = (
    "say beside it where the number comes from: 'measured: …' and how, 'chosen: …' and why, an author with"
    " the year, a standard, or 'by definition'; in a comment on its line or above, or in a string below"
)
NUMBER_TYPES: Final = {
    "array",
    "asarray",
    "float32",
    "float64",
    "int64",
    "uint64",
    "frozenset",
    "MappingProxyType",
}
"""Calls whose argument is the number: NumPy's, and containers."""


class Constant(NamedTuple):
    line: int
    names: tuple[str, ...]
    text: str
    """Comments and strings beside it."""


def is_number(node: ast.expr) -> bool:
    """Whether the expression is a number, a container of numbers or arithmetic with one."""
    match node:
        case ast.Constant(value=value):
            return type(value) in (int, float)
        case ast.UnaryOp(operand=operand):
            return is_number(operand)
        case ast.BinOp(left=left, right=right):
            parts = (left, right)
            return any(map(is_number, parts)) and all(
                is_number(part) or isinstance(part, ast.Name | ast.Attribute | ast.BinOp) for part in parts
            )
        case ast.Tuple(elts=values) | ast.List(elts=values) | ast.Set(elts=values) | ast.Dict(values=values):
            return bool(values) and all(map(is_number, values))
        case ast.Call(func=called, args=[first, *_]):
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            return name in NUMBER_TYPES and is_number(first)
    return False


def names_of(statement: ast.stmt) -> tuple[str, ...]:
    """The names in capitals that the statement gives to numbers."""
    match statement:
        case ast.Assign(targets=targets, value=value) if is_number(value):
            pass
        case ast.AnnAssign(target=target, value=ast.expr() as value) if is_number(value):
            targets = [target]
        case _:
            return ()
    found = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return tuple(name for name in found if re.fullmatch(r"_?[A-Z][A-Z0-9_]*", name))


def text_of(statement: ast.stmt) -> str:
    """The string that the statement is, or nothing."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str() as text)):
            return text
    return ""


def constants(source: str) -> Iterator[Constant]:
    """The constants of a module, each with the text of its group: assignments on consecutive lines."""
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = source.splitlines()
    own_lines = {line for line in comments if lines[line - 1].lstrip().startswith("#")}
    body = ast.parse(source).body
    place = 0
    while place < len(body):
        group = []
        while place < len(body) and isinstance(body[place], ast.Assign | ast.AnnAssign):
            if group and body[place].lineno != (group[-1].end_lineno or 0) + 1:
                break
            group.append(body[place])
            place += 1
        if not group:
            place += 1
            continue
        above = []
        line = group[0].lineno - 1
        while line in own_lines:
            above.append(comments[line])
            line -= 1
        below = text_of(body[place]) if place < len(body) else ""
        for statement in group:
            names = names_of(statement)
            if names:
                on = [comments.get(n, "") for n in range(statement.lineno, (statement.end_lineno or 0) + 1)]
                yield Constant(statement.lineno, names, " ".join([*reversed(above), *on, below]))


def says_its_origin(constant: Constant) -> bool:
    own = {word for name in constant.names for word in name.lower().split("_")}
    words = [word for word in re.findall(r"[A-Za-z]+", constant.text) if word.lower() not in own]
    return len(words) >= FEWEST_WORDS and any(
        re.search(pattern, constant.text, re.IGNORECASE) for pattern in ORIGINS.values()
    )


def without_origin(sources: dict[str, str]) -> list[str]:
    """``file:line NAME: remedy`` of each constant that does not say where it comes from."""
    return [
        f"{file}:{constant.line} {', '.join(constant.names)}: {REMEDY}"
        for file, source in sources.items()
        for constant in constants(source)
        if not says_its_origin(constant)
    ]


def test_every_named_number_says_where_it_comes_from() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    sources = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    assert sum(len(list(constants(source))) for source in sources.values()) > 500
    found = without_origin(sources)
    assert not found, f"{len(found)} constants\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("WAIT_S = 0.2", True),
        ("WAIT_S: Final = 0.2", True),
        ("WAIT_S = 0.2  # how long it waits for a port", True),
        ("WAIT_S = 0.2  # wait s: chosen", True),
        ("# Chosen: two periods of the slowest card.\n\nWAIT_S = 0.2", True),
        ("A, B = 1, 2", True),
        ("SCALE = (0, 2, 4)", True),
        ("TABLE = {'a': 1}", True),
        ("PROFILE = np.array([1.0, 2.0])", True),
        ("TOP = 52 - LOWEST", True),
        ("WAIT_S = 0.2\nPAUSE_S = 0.1  # chosen: half of what a listener notices", True),
        ("WAIT_S = 0.2  # chosen: two periods of the slowest card", False),
        ('WAIT_S = 0.2\n"""Measured: the longest of 1,000 starts."""', False),
        ('WAIT_S = 0.2\nPAUSE_S = 0.1\n"""Both measured on a Pi 4 under load."""', False),
        ("# What MIDI 1.0 calls its status bytes.\nON = 0x90\nOFF = 0x80", False),
        ("# Major triad of Krumhansl (1990), by semitone.\nPROFILE = np.array([1.0, 2.0])", False),
        ("NAME = 'x'", False),
        ("ROOT = Path(__file__).parents[1]", False),
        ("FLAG = True", False),
        ("TWICE = ONCE + ONCE", False),
        ("small = 1", False),
    ],
)
def test_a_number_without_an_origin_is_found(source: str, is_found: bool) -> None:
    assert bool(without_origin({"a.py": source})) is is_found


def test_the_message_says_where_and_what_to_do() -> None:
    [message] = without_origin({"kelly_edge/a.py": "\n\nWAIT_S = 0.2\n"})
    assert message.startswith("kelly_edge/a.py:3 WAIT_S: say beside it where the number comes from")
