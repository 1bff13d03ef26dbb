"""Compile modules as the box's Python wants them; run by that Python, whichever runs this file.

    python compiler.py < {path: source} > {path: content of its .pyc}

Both are marshalled, which every Python reads. Nothing but Python's own library.
"""

import marshal
import sys
from importlib.util import MAGIC_NUMBER, source_hash


def compiled(source: bytes, path: str) -> bytes:
    """The ``.pyc`` of a module, by content and never checked against its source again.

    The box's user cannot write beside the modules, so without these every start would compile them all.
    """
    # Format 2 of marshal has no references, which would depend on what else shares the strings.
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    content: bytes = (
        MAGIC_NUMBER + (0b01).to_bytes(4, "little") + source_hash(source) + marshal.dumps(code, 2)
    )
    return content


def compile_all(sources: dict[str, bytes]) -> dict[str, bytes]:
    """Path to ``.pyc``, except for files that do not compile: a template, or a later Python's syntax."""
    found = {}
    for path, source in sources.items():
        try:
            found[path] = compiled(source, path)
        except (SyntaxError, ValueError):
            continue
    return found


if __name__ == "__main__":
    sys.stdout.buffer.write(marshal.dumps(compile_all(marshal.loads(sys.stdin.buffer.read()))))
