"""``kelly-edge``: the command line. Results go to stdout, progress and faults to stderr.

Exit codes: 0 done, 1 ``check`` found a fault, else as in ``kelly_edge_commands``: whatever goes wrong is one
line on stderr.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Final

from firmware_py.devices.kept import state_root
from firmware_py.release import use_compiled
from kelly_edge.config import Settings
from kelly_edge.errors import ConfigError, KellyError
from kelly_edge_commands import Parser, path_argument, run_command, seconds_argument
from kelly_edge_text.printed import printed


class _Bar(AbstractContextManager["_Bar"]):
    """A progress bar on stderr; nothing where stderr is no terminal."""

    def __init__(self, what: str) -> None:
        # Here: `kelly-edge panic` has no time to load it.
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(what, total=1.0)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, share: float) -> None:
        self._progress.update(self._task, completed=share)


def _add_common(parser: argparse.ArgumentParser, has_summary: bool = True) -> None:
    parser.add_argument("--config", type=path_argument, help="settings file (default: built-in defaults)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, e.g. voice.octave=1",
    )
    if has_summary:
        parser.add_argument("--json", action="store_true", help="print the summary as JSON")


class _Version(argparse.Action):
    """``--version``: read when asked for, which takes a moment."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            known = version("kelly-edge")
        except PackageNotFoundError:
            known = "of unknown version (not installed)"
        print(f"kelly-edge {known}")
        parser.exit()


LONGEST_VALUE: Final = 1_000
"""Characters of a value that are shown."""


def _print(summary: dict[str, Any], as_json: bool) -> None:
    """The summary on stdout; what a person should know of it (``notices``) on stderr too."""
    for notice in summary.get("notices", ()):
        print(f"kelly-edge: {notice}", file=sys.stderr)
    if as_json:
        print(json.dumps(summary, indent=2, sort_keys=True))
        return
    for key, value in summary.items():
        if key != "notices":
            print(f"{key:>22}  {printed(str(value), LONGEST_VALUE)}")


def _as_owner(settings: Settings) -> None:
    """Root, for a command that reads or writes what the service keeps: be the service's user from here on."""
    from firmware_py.devices.owner import become_owner_of
    from firmware_py.monitor import run_dir_of

    become_owner_of(state_root(settings.runtime.state_dir, os.environ), run_dir_of(settings))


# Each command imports what it needs: `--help` and `check` stay quick on a Pi.


def _play(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.offline_commands import play

    overrides = list(args.set) + ([f"composer.seed={args.seed}"] if args.seed is not None else [])
    settings = load_settings(args.config, overrides)
    with _Bar("playing") as bar:
        summary = play(args.recording, args.out, settings, bar, config=args.config)
    _print(summary, args.json)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.offline_commands import demo_recording, play

    with _Bar("playing the demo") as bar:
        settings = load_settings(args.config, args.set)
        summary = play(demo_recording(), args.out, settings, bar, picture=True, config=args.config)
    _print(summary, args.json)
    return 0


def _analyse(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.offline_commands import analyse

    with _Bar("analysing") as bar:
        settings = load_settings(args.config, args.set)
        summary = analyse(args.recording, args.out, settings, bar, args.config)
    _print(summary, args.json)
    return 0


def _voice(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.offline_commands import speak

    overrides = list(args.set) + ([f"voice.selected={args.voice}"] if args.voice else [])
    with _Bar("speaking") as bar:
        settings = load_settings(args.config, overrides)
        summary = speak(args.recording, args.out, settings, bar, args.config)
    _print(summary, args.json)
    return 0


def _check(args: argparse.Namespace) -> int:
    from firmware_py.checking import check

    return check(args.settings_file, args.set, args.json)


def _bench(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings

    settings = load_settings(args.config, args.set)
    # Before numba is loaded: it keeps compiled functions where the user may write.
    _as_owner(settings)
    from firmware_py.bench import bench

    return bench(settings, args.seconds, args.json, args.store)


def _compile(args: argparse.Namespace) -> int:
    from firmware_py import compiled
    from firmware_py.devices.config_file import load_settings

    folder = compiled.release_folder()
    if compiled.is_compiled(folder):
        _print({"compiled": "was done for this release and processor"}, args.json)
        return 0
    from firmware_py.live import compile_functions

    compiled.begin(folder)
    compile_functions(load_settings(args.config, args.set))
    _print({"compiled": f"{compiled.finish(folder)} functions in {folder}"}, args.json)
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.doctor import doctor

    with suppress(ConfigError):  # the doctor says what is wrong with them
        _as_owner(load_settings(args.config, args.set))
    return doctor(args.config, args.set, args.json)


def _monitor(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.monitor import monitor

    settings = load_settings(args.config, args.set)
    _as_owner(settings)
    return monitor(settings, args.once, args.json)


def _learn(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.learning import forget, learn, learned_controls

    settings = load_settings(args.config, args.set)
    if args.control is None and args.forget:
        raise ConfigError(f"learn --forget: name the knob to forget: {', '.join(LEARNABLE)}")
    _as_owner(settings)
    if args.control is None:
        learned = learned_controls(settings)
    else:
        learned = (
            forget(settings, args.control) if args.forget else learn(settings, args.control, args.seconds)
        )
    _print(learned, args.json)
    return 0


def _report(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.devices.session_store import sessions_folder
    from firmware_py.picture import draw_session
    from firmware_py.report import ENDINGS, write_report

    session = args.session
    if session is None:
        session = sessions_folder(os.environ, load_settings(args.config, args.set).runtime.state_dir)
    is_page = args.out is not None and args.out.suffix.lower() in ENDINGS
    made = write_report(session, args.out) if is_page else draw_session(session, args.out)
    if made.remark:
        print(f"kelly-edge: {made.remark}", file=sys.stderr)
    if args.json:
        _print({"report" if is_page else "picture": str(made.path)}, True)
    else:
        print(made.path)
    return 0


def _settings_arguments(args: argparse.Namespace) -> list[str]:
    """What the children of ``run`` are given of its own command line."""
    config = ["--config", str(args.config.resolve())] if args.config is not None else []
    return [*config, *(f"--set={override}" for override in args.set)]


def _run(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.supervisor import Supervisor

    given = _settings_arguments(args)

    def command(process: str, run_dir: str) -> list[str]:
        return [sys.executable, "-m", "firmware_py", process, *given, f"--set=runtime.run_dir={run_dir}"]

    settings = load_settings(args.config, args.set)
    _as_owner(settings)
    return Supervisor(settings, command).run()


def _process(args: argparse.Namespace) -> int:
    # Read when numpy is loaded: a pool of threads would cost memory, and their stacks would be locked.
    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(pool, "1")

    from firmware_py.devices.config_file import load_settings
    from firmware_py.live import run_process

    settings = load_settings(args.config, args.set)
    _as_owner(settings)
    return run_process(args.command, settings)


def _silence(args: argparse.Namespace) -> int:
    from firmware_py.board import file_board
    from firmware_py.devices.config_file import load_settings
    from firmware_py.devices.run_dir import make_run_dir
    from firmware_py.devices.session_log import warn
    from firmware_py.guardian import silence_outputs

    settings = load_settings(args.config, args.set)
    _as_owner(settings)
    board = file_board(make_run_dir(settings.runtime.run_dir), settings.audio.period)
    n_notes = silence_outputs(board, settings.midi.outputs, warn)
    _print({"notes released": n_notes}, args.json)
    return 0


def _panic(args: argparse.Namespace) -> int:
    from firmware_py.commanding import ask_for_panic

    _print(ask_for_panic(args.config, args.set, is_on=True), args.json)
    return 0


def _resume(args: argparse.Namespace) -> int:
    from firmware_py.commanding import ask_for_panic

    _print(ask_for_panic(args.config, args.set, is_on=False), args.json)
    return 0


def _session(args: argparse.Namespace) -> int:
    from firmware_py.commanding import begin_session

    _print(begin_session(args.config, args.set), args.json)
    return 0


LEARNABLE: Final = (
    "valence",
    "arousal",
    "density",
    "dry_wet",
    "brightness",
    "octave",
    "voice",
    "programme",
    "panic",
    "resume",
    "session",
)


def _safe(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.safe_mode import safe

    settings = load_settings(args.config, args.set)
    _as_owner(settings)
    return safe(settings)


def _gadget(args: argparse.Namespace) -> int:
    from firmware_py.devices.config_file import load_settings
    from firmware_py.devices.configfs import RealTree
    from firmware_py.gadget import Gadget, board_serial

    root = Path("/")
    gadget = Gadget(RealTree(root), load_settings(args.config, args.set).gadget, board_serial(root))
    status = {"up": gadget.up, "down": gadget.down, "status": gadget.status}[args.what]()
    _print(
        {
            "gadget": f"bound to {status.controller}" if status.is_up else "not bound",
            "functions": ", ".join(status.functions) or "none",
            "host": status.state or "none",
        },
        args.json,
    )
    return 0 if args.what != "status" or status.is_up else 1


PROCESSES: Final = {
    "audio": "Run the sound card's process alone.",
    "dsp": "Run the hearing and speaking process alone.",
    "midi": "Run the MIDI process alone.",
    "composer": "Run the composing process alone.",
    "guardian": "Run the process that releases the notes of a midi process that is gone.",
    "control": "Run the knobs' and log's process alone.",
}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="kelly-edge", description="A music-therapy box: it listens, feels, composes and speaks."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command("play", _play, "Play to a recording: MIDI, voice and session log.")
    sub.add_argument("recording", type=path_argument)
    sub.add_argument("--out", type=path_argument, required=True, help="folder for the results")
    sub.add_argument("--seed", type=int, help="seed of the composer (composer.seed)")
    _add_common(sub)
    sub = command("demo", _demo, "Play to the recording that comes with Kelly Edge.")
    sub.add_argument("--out", type=path_argument, default=Path("out/demo"))
    _add_common(sub)
    sub = command("analyse", _analyse, "Write what is heard in a recording: f0, loudness, features, emotion.")
    sub.add_argument("recording", type=path_argument)
    sub.add_argument("--out", type=path_argument, required=True, help="the .npz file to write")
    _add_common(sub)
    sub = command("voice", _voice, "Let a voice of the box answer a recording.")
    sub.add_argument("recording", type=path_argument)
    sub.add_argument("--voice", help="name of the voice (voice.selected)")
    sub.add_argument("--out", type=path_argument, required=True, help="the .wav file to write")
    _add_common(sub)
    sub = command("check", _check, "Print the settings, the computed latency and where each model is.")
    sub.add_argument("settings_file", type=path_argument, nargs="?", help="default: built-in defaults")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    sub.add_argument("--json", action="store_true", help="print as JSON")
    _add_common(
        command("run", _run, f"Play live: start the {len(PROCESSES)} processes and keep them running."), False
    )
    for name, text in PROCESSES.items():
        _add_common(command(name, _process, text), has_summary=False)
    _add_common(command("silence", _silence, "Release the notes that a midi process left when it died."))
    _add_common(command("panic", _panic, "Silence the running box until somebody resumes."))
    _add_common(command("resume", _resume, "End the silence of a panic."))
    sub = command("session", _session, "Begin a new session on the running box: its programme starts again.")
    sub.add_argument("what", choices=("start",))
    _add_common(sub)
    sub = command("bench", _bench, "Measure what every stage costs on this machine.")
    sub.add_argument("--seconds", type=seconds_argument, default=1.0, help="to spend on each stage")
    sub.add_argument("--store", action="store_true", help="keep the faster runtime for this board")
    _add_common(sub)
    _add_common(command("compile", _compile, "Compile the functions of this release ahead (a unit does)."))
    _add_common(command("doctor", _doctor, "Check whether this machine is fit to play live."))
    sub = command("monitor", _monitor, "Show what a running box hears, plays and whether it is on time.")
    sub.add_argument("--once", action="store_true", help="print one view and end")
    _add_common(sub)
    sub = command("learn", _learn, "Teach which MIDI controller turns a knob; without one, list them.")
    sub.add_argument("control", nargs="?", choices=LEARNABLE, help="the knob to learn")
    sub.add_argument("--seconds", type=seconds_argument, default=30.0, help="to wait for the controller")
    sub.add_argument("--forget", action="store_true", help="forget the knob's controller")
    _add_common(sub)
    sub = command("safe", _safe, "Play silence with a red lamp until a person tries again.")
    _add_common(sub, has_summary=False)
    sub = command("gadget", _gadget, "Be a USB MIDI instrument of a computer, or stop being one (as root).")
    sub.add_argument("what", choices=("up", "down", "status"))
    _add_common(sub)
    sub = command(
        "report",
        _report,
        "Tell a session: a page of sentences and charts, or a picture alone.",
    )
    sub.add_argument(
        "session",
        type=path_argument,
        nargs="?",
        help="a folder written by play, or a live session's log (default: the newest live session)",
    )
    sub.add_argument(
        "--out",
        type=path_argument,
        help="a page to write, NAME.html or NAME.pdf; else the folder of a picture (default: that of play; "
        "of a live session, the current one)",
    )
    _add_common(sub)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    use_compiled(os.environ)
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in words if not word.startswith("-")), "")
    begun: list[argparse.Namespace] = []

    def work() -> int:
        begun.append(_parser().parse_args(words))
        return int(begun[0].run(begun[0]))

    says = f"kelly-edge: {name}" if name in PROCESSES else "kelly-edge"
    code = run_command(says, work, (KellyError,), "--debug" in words)
    if begun and name in (*PROCESSES, "safe"):
        sys.stderr.flush()
        # Nothing is left to do, and closing the client of a dead sound server would hang.
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
