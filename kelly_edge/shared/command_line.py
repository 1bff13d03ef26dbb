"""What all command lines of the project share: ``kelly-edge``, ``python -m deploy``, ``python -m models.*``.

Python's own library and ``printed`` alone, so that the courier may use it too.
Exit codes: 0 done, 2 a fault a person can act on, 3 a fault of the program itself, 130 interrupted, 141 the
reader of the output went away. Whatever the fault, it is one line on stderr; ``--debug`` adds the traceback.
"""

import argparse
import contextlib
import functools
import math
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, ParamSpec

from kelly_edge.shared.printed import printed

P = ParamSpec("P")
# Exit statuses: 2 as POSIX shells and argparse use it for a wrong call; 3 is our own choice; 128 + the
# signal's number (Linux: SIGINT 2, SIGPIPE 13), as shells report it.
EXIT_FAULT: Final = 2
EXIT_BUG: Final = 3
EXIT_INTERRUPTED: Final = 130
EXIT_PIPE: Final = 141
LONGEST_TEXT: Final = 300
"""Characters of text from outside that are shown. Chosen: a few lines."""


def one_line(text: str) -> str:
    """``text`` printable on one line, and not endless."""
    return printed(text, LONGEST_TEXT)


class Parser(argparse.ArgumentParser):
    """A parser whose faults are one line, and that knows ``--debug``; sub-commands inherit both."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="print the traceback of a fault"
        )

    def error(self, message: str) -> NoReturn:
        """See ``argparse.ArgumentParser``."""
        self.exit(EXIT_FAULT, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")


def path_argument(text: str) -> Path:
    """An argument that is a path; ``~`` is the home folder, which no shell expands in ``--out=~/x``."""
    if not text:
        raise argparse.ArgumentTypeError("is empty, not a path")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"holds a null byte: {one_line(text)}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"has no home folder to expand ~ with: {one_line(text)}") from None


def seconds_argument(text: str) -> float:
    """An argument that is a time: finite and above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{one_line(text)} is not a number of seconds above 0")
    return value


def run_command(
    prog: str, work: Callable[[], int], faults: tuple[type[Exception], ...], is_debug: bool = False
) -> int:
    """Do ``work`` and return its exit code, or that of its fault, which is told in one line.

    Parameters
    ----------
    prog: what the line begins with.
    faults: whose texts are made for a person, one line for each fault.
    """
    _hold_standard_files()
    leaving: SystemExit | None = None
    try:
        try:
            code = work()
        except SystemExit as stop:  # argparse has told, or been told, all it wants
            leaving, code = stop, EXIT_FAULT
        # What cannot be printed must fail here, not while Python ends.
        sys.stdout.flush()
        if leaving is not None:
            raise leaving
    except (Exception, KeyboardInterrupt) as error:
        if is_debug:
            with contextlib.suppress(OSError, ValueError):
                traceback.print_exc()
        code, text = _told(error, faults)
        with contextlib.suppress(OSError, ValueError):
            if text:
                print(f"{prog}: {text}", file=sys.stderr, flush=True)
        if isinstance(error, OSError):
            _drop_output()
    return code


def command(prog: str, *faults: type[Exception]) -> Callable[[Callable[P, int | None]], Callable[P, int]]:
    """A decorator that makes ``main`` of a program's module end as ``run_command`` says."""

    def wrap(main: Callable[P, int | None]) -> Callable[P, int]:
        @functools.wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> int:
            given = next((a for a in args if isinstance(a, list | tuple)), sys.argv)
            return run_command(prog, lambda: main(*args, **kwargs) or 0, faults, "--debug" in given)

        return run

    return wrap


def _told(error: BaseException, faults: tuple[type[Exception], ...]) -> tuple[int, str]:
    """Exit code and line of a fault."""
    if isinstance(error, faults):
        return EXIT_FAULT, str(error)
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED, "interrupted; nothing was written"
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return EXIT_PIPE, ""
    if isinstance(error, OSError):
        place = f" ({one_line(str(error.filename))})" if error.filename else " (the output?)"
        reason = one_line(error.strerror or str(error) or type(error).__name__)
        return EXIT_FAULT, f"{reason}{place}; check the place, its rights and the free space"
    if isinstance(error, ImportError) and error.name:
        return EXIT_FAULT, f"{one_line(error.name)} is not installed; pip install it"
    if isinstance(error, MemoryError):
        return EXIT_FAULT, "not enough memory; close other programs or give less to do"
    said = one_line(" ".join(str(error).split()))
    where = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(where[-1].filename).name} line {where[-1].lineno})" if where else ""
    fault = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return EXIT_BUG, f"a fault of the program: {fault}{place}; please report it with the output of --debug"


def _hold_standard_files() -> None:
    """The number of a closed standard file must not go to a recording: what is printed would go there."""
    with contextlib.suppress(OSError):
        while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
            continue
        os.close(fd)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _drop_output() -> None:
    """Drop unprinted output: Python would try again at its end, and print a traceback."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
