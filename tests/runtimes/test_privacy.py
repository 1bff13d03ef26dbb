"""What the runtimes do behind our back: nothing."""

import os
import subprocess
import sys
from pathlib import Path


def test_loading_the_runtimes_leaves_no_trace_in_the_users_home(tmp_path: Path) -> None:
    code = "import firmware_py.runtimes.onnx, firmware_py.runtimes.tflite"
    root = Path(__file__).parents[2]
    environment = {
        k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True)
    assert list(tmp_path.rglob("*")) == []
