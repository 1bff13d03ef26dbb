"""The commands of ``kelly-edge``, their words and options."""

import argparse
from pathlib import Path
from typing import Any, Final

from firmware_py.commands.examples import example_names
from firmware_py.commands.session_words import add_session_words
from firmware_py.processes.controllers import CONTROLS
from kelly_edge.shared.command_line import Parser, path_argument, seconds_argument


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


PROCESSES: Final = {
    "audio": "Run the sound card's process alone.",
    "dsp": "Run the hearing and speaking process alone.",
    "midi": "Run the MIDI process alone.",
    "composer": "Run the composing process alone.",
    "guardian": "Run the process that releases the notes of a midi process that is gone.",
    "control": "Run the knobs' and log's process alone.",
}


EXAMPLES: Final = {
    "play": "kelly-edge play song.wav --out answer --programme lift-in-10",
    "demo": "kelly-edge demo --out out/demo",
    "init": "kelly-edge init my-box --example quiet-room",
    "analyse": "kelly-edge analyse song.wav --out song.npz",
    "voice": "kelly-edge voice song.wav --voice cello --out cello.wav",
    "check": "kelly-edge check my-box/config.yaml",
    "run": "kelly-edge run --config my-box/config.yaml",
    "rehearse": "kelly-edge rehearse song.wav --out answer",
    "panic": "kelly-edge panic",
    "resume": "kelly-edge resume",
    "session": "kelly-edge session start --programme calm-in-15 --name M7",
    "programme": "kelly-edge programme show calm-in-15",
    "place": "kelly-edge place reset",
    "bench": "kelly-edge bench --seconds 2 --store",
    "doctor": "kelly-edge doctor --config /etc/kelly-edge/config.yaml",
    "monitor": "kelly-edge monitor --once --json",
    "page": "kelly-edge page pin",
    "wireless": "kelly-edge wireless --set wireless.bind=10.42.0.1:5004",
    "learn": "kelly-edge learn valence --seconds 20",
    "gadget": "kelly-edge gadget status",
    "report": "kelly-edge report answer --out session.html",
    "replay": "kelly-edge replay answer",
    "completion": "kelly-edge completion bash",
}
"""The commands that people type, each with one way to."""


def parser_of_commands() -> argparse.ArgumentParser:
    """The parser of every command and option."""
    parser = Parser(
        prog="kelly-edge", description="A music-therapy box: it listens, feels, composes and speaks."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def command(
        name: str, text: str, module: str | None = None, as_owner: bool = False
    ) -> argparse.ArgumentParser:
        # What systemd and `run` start has a page of its own, and no line on the first one.
        shown: dict[str, Any] = (
            {"epilog": f"Example: {EXAMPLES[name]}", "help": text} if name in EXAMPLES else {}
        )
        sub = commands.add_parser(name, description=text, **shown)
        sub.set_defaults(module=module or name, as_owner=as_owner)
        return sub

    sub = command("play", "Play to a recording, or to a MIDI file as to a keyboard.")
    sub.add_argument("recording", type=path_argument)
    sub.add_argument("--out", type=path_argument, required=True, help="folder for the results")
    sub.add_argument("--seed", type=int, help="seed of the composer (composer.seed)")
    sub.add_argument("--programme", metavar="NAME", help="the programme (emotion.programme)")
    sub.add_argument(
        "--mix",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also mix.wav, all that sounds together (where fluidsynth and a sound font are installed)",
    )
    sub.add_argument(
        "--picture",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also session.png, the emotion over the notes (where matplotlib is installed)",
    )
    _add_common(sub)
    sub = command("demo", "Play to the recording that comes with Kelly Edge.")
    sub.add_argument("--out", type=path_argument, default=Path("out/demo"))
    _add_common(sub)
    sub = command("init", "Write settings to start from into a folder.")
    sub.add_argument("folder", type=path_argument)
    sub.add_argument("--example", choices=example_names(), help="those of an example, not the defaults")
    sub.add_argument("--json", action="store_true", help="print the summary as JSON")
    sub = command("analyse", "Analyse a recording: write f0, loudness, features and emotion.")
    sub.add_argument("recording", type=path_argument)
    sub.add_argument("--out", type=path_argument, required=True, help="the .npz file to write")
    _add_common(sub)
    sub = command("voice", "Let a voice of the box answer a recording.")
    sub.add_argument("recording", type=path_argument)
    sub.add_argument("--voice", help="name of the voice (voice.selected)")
    sub.add_argument("--out", type=path_argument, required=True, help="the .wav file to write")
    _add_common(sub)
    sub = command("check", "Print the settings, the computed latency and where each model is.")
    sub.add_argument("settings_file", type=path_argument, nargs="?", help="default: built-in defaults")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    sub.add_argument("--json", action="store_true", help="print as JSON")
    _add_common(
        command(
            "run", f"Play live: start the {len(PROCESSES)} processes and keep them running.", as_owner=True
        ),
        False,
    )
    sub = command("rehearse", "Play live to a recording, without hardware: a dummy sound card in real time.")
    sub.add_argument("recording", type=path_argument)
    sub.add_argument("--out", type=path_argument, required=True, help="folder for the results")
    _add_common(sub)
    for name, text in PROCESSES.items():
        _add_common(command(name, text, "process", as_owner=True), has_summary=False)
    _add_common(command("silence", "Release the notes that a midi process left when it died.", as_owner=True))
    _add_common(command("panic", "Silence the running box until somebody resumes."))
    _add_common(command("resume", "End the silence of a panic.", "panic"))
    sub = command("session", "Begin, end or mark a session; list, export or delete those kept.")
    words = sub.add_subparsers(dest="what", required=True, metavar="WHAT", title="what to do")
    text = "Begin a session: its programme starts from its beginning, and its log."
    start = words.add_parser("start", description=text, help=text)
    start.add_argument("--programme", metavar="NAME", help="the programme, one of emotion.programmes")
    start.add_argument("--name", metavar="CODE", default="", help="a name or code for it, kept in its log")
    start.add_argument("--note", metavar="TEXT", default="", help="what shall be noted of it in its log")
    _add_common(start)
    text = "End the session: the music comes to its last chord, then silence until one begins."
    _add_common(words.add_parser("stop", description=text, help=text))
    text = "Say which session is on, its programme, phase, time left and log."
    _add_common(words.add_parser("status", description=text, help=text))
    add_session_words(words, _add_common)
    sub = command("programme", "List the programmes, show one, or check a file of your own.")
    whats = sub.add_subparsers(dest="what", required=True, metavar="WHAT")
    for what, text in (("list", "all of them"), ("show", "one, by name"), ("check", "a file")):
        of_what = whats.add_parser(what, help=text)
        if what != "list":
            name, kind = ("name", str) if what == "show" else ("file", path_argument)
            of_what.add_argument(name, type=kind)
        _add_common(of_what)
    sub = command("place", "Forget what the running box learned of the place it stands in.")
    sub.add_argument("what", choices=("reset",))
    _add_common(sub)
    sub = command("bench", "Measure what every stage costs on this machine.", as_owner=True)
    sub.add_argument("--seconds", type=seconds_argument, default=1.0, help="to spend on each stage")
    sub.add_argument("--store", action="store_true", help="keep the faster runtime for this board")
    _add_common(sub)
    _add_common(command("compile", "Compile the functions of this release ahead (a unit does)."))
    _add_common(command("doctor", "Check whether this machine is fit to play live.", as_owner=True))
    sub = command("monitor", "Show what a running box hears, plays and whether it is on time.", as_owner=True)
    sub.add_argument("--once", action="store_true", help="print one view and end")
    _add_common(sub)
    sub = command("learn", "Teach which MIDI controller turns a knob; without one, list them.", as_owner=True)
    sub.add_argument("control", nargs="?", choices=tuple(CONTROLS), help="the knob to learn")
    sub.add_argument("--seconds", type=seconds_argument, default=30.0, help="to wait for the controller")
    sub.add_argument("--forget", action="store_true", help="forget the knob's controller")
    _add_common(sub)
    sub = command(
        "page", "Show a page in a browser, and speak OSC, where settings ask for it.", as_owner=True
    )
    sub.add_argument(
        "what",
        nargs="?",
        choices=("serve", "pin"),
        default="serve",
        help="serve: be that process (the box does it by itself); pin: print the page's address and PIN",
    )
    _add_common(sub)
    _add_common(
        command(
            "wireless", "Bridge wireless instruments (RTP-MIDI) to a MIDI port, where settings ask for it."
        ),
        has_summary=False,
    )
    sub = command("safe", "Play silence with a red lamp until a person tries again.", as_owner=True)
    _add_common(sub, has_summary=False)
    sub = command("gadget", "Be a USB MIDI instrument of a computer, or stop being one (as root).")
    sub.add_argument("what", choices=("up", "down", "status"))
    _add_common(sub)
    sub = command("report", "Tell a session: a page of sentences and charts, or a picture alone.")
    sub.add_argument(
        "session",
        type=path_argument,
        nargs="?",
        help="a folder written by play, a live session's name or log (default: the newest live session)",
    )
    sub.add_argument(
        "--out",
        type=path_argument,
        help="a page to write, NAME.html or NAME.pdf; else the folder of a picture (default: that of play; "
        "of a live session, the current one)",
    )
    _add_common(sub)
    sub = command("replay", "Compose a session again from its log, and say whether it is the same music.")
    sub.add_argument(
        "session",
        type=path_argument,
        nargs="?",
        help="as for report, or a live session's name (default: the newest live session)",
    )
    _add_common(sub)
    sub = command("completion", "Print a script that lets a shell complete commands, options and files.")
    sub.add_argument("shell", choices=("bash", "zsh"))
    sub.set_defaults(parser=parser)
    return parser
