"""``kelly-edge``: the command line. Results go to stdout, progress and faults to stderr.

Exit codes: 0 done, 1 ``check`` found a fault, else as in ``kelly_edge.shared.command_line``: whatever
goes wrong is one line on stderr.
"""

import os
import sys
from collections.abc import Sequence

from firmware_py.commands.urgent import press


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    press(words)
    return _run(words)


def _run(words: Sequence[str]) -> int:
    # Read when numpy is loaded. A pool of threads would spin beside the processes in real time, have its
    # stacks locked, and let the last bits of a result depend on the number of cores.
    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(pool, "1")
    # What is loaded from here on would have taken too long for a panic.
    from importlib import import_module

    from firmware_py.commands.common import become_owner
    from firmware_py.devices.files.release import use_compiled
    from firmware_py.parser import PROCESSES, parser_of_commands
    from kelly_edge.errors import KellyError
    from kelly_edge.shared.command_line import run_command

    use_compiled(os.environ)
    name = next((word for word in words if not word.startswith("-")), "")
    was_parsed = False

    def work() -> int:
        nonlocal was_parsed
        args = parser_of_commands().parse_args(words)
        was_parsed = True
        # Of the commands only this one is loaded: ``--help`` stays quick on a Pi.
        command = import_module(f"firmware_py.commands.{args.module}")
        if args.as_owner:
            become_owner(args)
        return int(command.run(args))

    says = f"kelly-edge: {name}" if name in PROCESSES else "kelly-edge"
    code = run_command(says, work, (KellyError,), "--debug" in words)
    if was_parsed and name in (*PROCESSES, "safe"):
        sys.stderr.flush()
        # Nothing is left to do, and closing the client of a dead sound server would hang.
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
