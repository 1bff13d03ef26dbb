"""What a box may answer, and what a laptop may lack: one line or one row, never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOOK = """
import sys
from types import SimpleNamespace
from deploy.errors import DeployError
from deploy.push import look, status_of

def box(answer):
    return SimpleNamespace(host=SimpleNamespace(name="box"), run=lambda command, timeout_s=0: answer)

WORDS = ("0x0", "0x50000", "", "VCHI initialization failed", "error=1 error_msg=\\"not registered\\"")
for throttled in WORDS:
    lines = ["machine=aarch64", "python=3.11", "clock=x", "signers=yes"]
    lines.append(f"throttled={throttled}")
    seen = look(box("\\n".join(lines)))
    assert (seen.machine, seen.python) == ("aarch64", "3.11")
for answer, part in (("throttled=0x1\\nsigners=yes\\n", "under-voltage"), ("", "trusts nobody")):
    try:
        look(box(answer))
    except DeployError as error:
        assert part in str(error)
    else:
        sys.exit("not refused")
for answer in ("", "[]", "null", "{}", "{", '{"current": 1}', "3"):
    try:
        status_of(box(answer))
    except DeployError as error:
        assert "does not answer as a box does" in str(error)
    else:
        sys.exit("not refused")
"""
ROWS = """
from deploy import fleet
from deploy.inventory import Host

fleet.connect = lambda state, name: None

def work(remote):
    if remote.host.name == "odd":
        return {}["clock"]
    return fleet.Outcome(remote.host.name, True, 0, "fine")

odd, good = fleet.on_each([Host("odd", "192.0.2.1"), Host("good", "192.0.2.2")], work)
assert (odd.is_good, good.is_good) == (False, True) and "KeyError" in odd.text, odd
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)


# In a process of their own: pyinfra asks for sockets that are patched.
@pytest.mark.parametrize("program", [LOOK, ROWS], ids=["answers", "rows"])
def test_odd_answers_are_lines_and_rows(program: str) -> None:
    pytest.importorskip("pyinfra", reason="pyinfra is not installed (extra: deploy)")
    done = python("-c", program)
    assert done.returncode == 0, done.stderr


def test_without_its_extra_the_courier_says_so() -> None:
    hide = "import sys; sys.modules['gevent'] = sys.modules['pyinfra'] = None; "
    done = python(
        "-c", hide + "from deploy.__main__ import main; sys.exit(main(['status', 'root@192.0.2.1']))"
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "kelly-edge[deploy]" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["push"],
        ["push", "--hosts", "", "box"],
        ["status", "--hosts", "/proc/self/mem", "box.local"],
        ["image", "--out", "/no/such/place", "--ssh-key", "/no/such/key"],
        ["build", "--out", "out", "--python", "2.7"],
        ["build", "--out", "out", "--counter", "x"],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_one_line(words: list[str]) -> None:
    done = python("-m", "deploy", *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["demo_recording", "report", "bench", "instructions"])
def test_the_workshop_ends_in_one_line_too(module: str) -> None:
    done = python("-m", f"models.{module}", "--no-such-option")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
