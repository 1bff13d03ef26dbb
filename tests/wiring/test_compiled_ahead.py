"""No compiled function is called for the first time while the box plays: a small board takes seconds."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]
PLAY: Final = """
import importlib, json, pkgutil
import numpy as np
from numba.core.registry import CPUDispatcher
import kelly_edge
from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Offline, open_models
from firmware_py.wiring.warm import compile_functions
from kelly_edge.contract import SAMPLE_RATE_HZ

modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(kelly_edge.__path__, "kelly_edge.")]
functions = [f for module in modules for f in vars(module).values() if isinstance(f, CPUDispatcher)]

def called():
    return {f.py_func.__name__: sorted(map(str, f.signatures)) for f in functions if f.signatures}

settings = Settings()
compile_functions(settings)
ahead = called()
music = read_audio(demo_recording()).samples[: 25 * SAMPLE_RATE_HZ]
noise = np.random.default_rng(1).normal(0.0, 0.1, 4 * SAMPLE_RATE_HZ).astype(np.float32)
silence = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
Offline(settings, open_models(settings), np.concatenate([music, silence, noise])).run()
print(json.dumps([ahead, called()]))
"""


def called_uncompiled(trees: list[ast.Module]) -> set[str]:
    """Compiled functions that functions which are not compiled call by name."""

    def is_compiled(node: ast.AST) -> bool:
        return isinstance(node, ast.FunctionDef) and any(
            "njit" in ast.unparse(d) for d in node.decorator_list
        )

    def calls(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        for child in ast.iter_child_nodes(node):
            if not is_compiled(child):
                yield from calls(child)

    of_module = [
        {f.name for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and is_compiled(f)}
        for tree in trees
    ]
    all_compiled = set().union(*of_module)
    found = set()
    for tree, own in zip(trees, of_module, strict=True):
        imported = {a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
        found |= set(calls(tree)) & (own | imported & all_compiled)
    return found


def test_what_plays_was_compiled_ahead() -> None:
    # In a process of its own: the functions of this one have been called by other tests.
    done = subprocess.run(
        [sys.executable, "-c", PLAY], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ahead, afterwards = json.loads(done.stdout.splitlines()[-1])
    assert afterwards == ahead
    trees = [ast.parse(path.read_text()) for path in (PROJECT / "kelly_edge").rglob("*.py")]
    called = called_uncompiled(trees)
    assert len(called) > 10
    assert called <= set(ahead)
