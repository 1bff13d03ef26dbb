"""The terminal's view of a reading: tables and bars that also work over ssh."""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firmware_py.board.telemetry import FAULTS
from firmware_py.devices.machine.health import HOT_C
from kelly_edge.shared.printed import printed
from kelly_edge.units import PITCH_CLASS_NAMES

BAR_WIDTH: Final = 21
"""Columns. Chosen odd, so that a bar of -1 to 1 has a middle."""
LEVEL_DB: Final = (-80.0, 0.0)
"""Chosen: the floor of the loudness meter, and full scale."""
SHOWN_APART: Final = ("n_capture_xruns", "n_playback_xruns", "n_late_blocks", "n_panics")
"""Faults that the screen always shows, in places of their own."""
SHOWN: Final = (
    *((process, name) for process, names in FAULTS.items() for name in names if name not in SHOWN_APART),
    ("midi", "n_composer_stalls"),
    ("midi", "n_pulses_skipped"),
    ("guardian", "n_silences"),
    ("control", "n_entries_lost"),
    ("control", "n_reports_lost"),
)
"""Process and counter: shown where it is not 0. The last five are told of, if at all, by others."""


def note_name(pitch: float) -> str:
    """A MIDI note as musicians write it: 60 is C4."""
    whole = round(pitch)
    return f"{PITCH_CLASS_NAMES[whole % 12]}{whole // 12 - 1}"


def bar(value: float, low: float, high: float, aim: float | None = None) -> Text:
    """``value`` as a mark on a scale, ``aim`` as another."""

    def place(x: float) -> int:
        share = (x - low) / (high - low)
        return round(min(max(share, 0.0), 1.0) * (BAR_WIDTH - 1))

    cells = ["─"] * BAR_WIDTH
    cells[BAR_WIDTH // 2] = "┼"
    if aim is not None:
        cells[place(aim)] = "◇"
    cells[place(value)] = "●"
    return Text("".join(cells))


def _room(heard: Mapping[str, Any]) -> str:
    """The room as it sounds, and what it and the minutes heard in it add to arousal (half log odds)."""
    drr_db, rt60_s, snr_db = heard["room_drr_db"], heard["room_rt60_s"], heard["room_snr_db"]
    learned = f"{heard['place_offset']:+.2f} in {heard['place_minutes']:.0f} min"
    return (
        f"DRR {drr_db:+.0f} dB, RT60 {rt60_s:.1f} s, SNR {snr_db:.0f} dB; "
        f"arousal {heard['room_arousal']:+.2f}, learned {learned}"
    )


def _emotion(reading: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    heard, target = reading["heard"], reading["target"]
    if heard is None:
        table.add_row("nothing heard yet")
        return table
    for name in ("valence", "arousal"):
        aim = None if target is None else target[name]
        shown = "" if aim is None else f"◇ {aim:+.2f}"
        table.add_row(name, bar(heard[name], -1.0, 1.0, aim), f"● {heard[name]:+.2f}", shown)
    if (keyboard := reading["keyboard"]) is not None:
        name = printed(keyboard["name"]) or "none was played yet"
        table.add_row("keyboard", name, f"{keyboard['n_notes']} notes")
    table.add_row("room", _room(heard), "", "")
    table.add_row("level", bar(heard["level_db"], *LEVEL_DB), f"● {heard['level_db']:.0f} dB")
    voiced = heard["f0_confidence"] >= 0.5 and heard["f0_hz"] > 0
    table.add_row(
        "f0", f"{heard['f0_hz']:.1f} Hz" if voiced else "–", f"confidence {heard['f0_confidence']:.2f}"
    )
    posterior = "  ".join(f"{quadrant} {share:.2f}" for quadrant, share in heard["posterior"].items())
    table.add_row("quadrants", posterior, f"confidence {heard['confidence']:.2f}")
    if target is not None:
        tempo = f"{target['tempo_bpm']:.0f} bpm" if target["tempo_bpm"] else "free tempo"
        table.add_row("composes", f"density {target['density']:+.2f}", tempo)
    return table


def _processes(reading: Mapping[str, Any]) -> Table:
    table = Table(expand=False)
    for name in ("process", "p50 ms", "p99 ms", "p99 10 s", "longest", "deadline", "missed"):
        table.add_column(name, justify="left" if name == "process" else "right")
    for name, process in reading["processes"].items():
        if "deadline_ms" not in process:
            table.add_row(name, *["–"] * 6, style="dim")
            continue
        late = process["recent_p99_ms"] > process["deadline_ms"]
        style = "dim" if not process["is_alive"] else "bold red" if late else ""
        numbers = (process[n] for n in ("p50_ms", "p99_ms", "recent_p99_ms", "longest_ms", "deadline_ms"))
        label = name if process["is_alive"] else f"{name} (still)"
        table.add_row(label, *(f"{number:.2f}" for number in numbers), f"{process['n_missed']}", style=style)
    error = reading["send_error"]
    if error is not None:
        numbers = (error[n] for n in ("p50_ms", "p99_ms"))
        table.add_row(
            "notes sent",
            *(f"{n:.2f}" for n in numbers),
            "",
            f"{error['longest_ms']:.2f}",
            "",
            f"{error['n_missed']}",
        )
    return table


def _faults(reading: Mapping[str, Any]) -> Text:
    xruns = reading["xruns"]
    counts = [(f"{name} xruns", xruns[name]) for name in ("capture", "playback")]
    counts.append(("late blocks", xruns["late_blocks"]))
    for process, name in SHOWN:
        if n := reading["processes"][process]["counters"].get(name, 0):
            counts.append((f"{process} {name.removeprefix('n_').replace('_', ' ')}", n))
    text = Text()
    for name, n in counts:
        text.append(f"{name} {n}   ", style="yellow" if n else "")
    return text


def _board(reading: Mapping[str, Any]) -> Text:
    board, text = reading["board"], Text()
    celsius = board["temperature_c"]
    if celsius is not None:
        text.append(f"{celsius:.0f} °C   ", style="bold red" if celsius >= HOT_C else "")
    for flag in board["flags"] or ():
        text.append(f"{flag}   ", style="yellow" if "since" in flag else "bold red")
    if board["flags"] == []:
        text.append("no throttling   ")
    text.append(printed(", ".join(board["governors"])))
    return text if text.plain.strip() else Text("this machine shows neither heat nor throttling", style="dim")


def _knobs(reading: Mapping[str, Any]) -> str:
    knobs = reading["knobs"]
    if knobs is None:
        return "–"
    turned = "  ".join(f"{name} {knobs[name]:+.2f}" for name in ("valence", "arousal", "density"))
    loudness = f"volume {knobs['volume_db']:.0f} dB{', muted' if knobs['mute'] else ''}"
    return f"{turned}  wet {knobs['dry_wet']:.2f}  voice {knobs['voice']:.0f}  {loudness}"


def _session(reading: Mapping[str, Any]) -> str:
    told = reading["session"]
    words = [f"number {told['number']}" if "number" in told else str(told["session"])]
    words += [printed(str(told[name])) for name in ("name", "programme") if name in told]
    if "phase" in told:
        words.append(f"phase {told['phase']}")
    if "programme_left_s" in told:
        words.append(f"{told['programme_left_s'] // 60} min {told['programme_left_s'] % 60} s left")
    return "  ".join(words)


def draw(reading: Mapping[str, Any], title: str) -> RenderableType:
    """The whole view."""
    notes, panic = reading["notes"], reading["panic"]
    rows = Table.grid(padding=(0, 2))
    if panic is not None and panic["is_on"]:
        told = Text("silent until somebody resumes: kelly-edge resume", style="bold magenta")
        rows.add_row(Text("PANIC", style="bold magenta"), told)
    rows.add_row("sounding", " ".join(note_name(pitch) for pitch in notes["sounding"]) or "–")
    rows.add_row("notes", f"{notes['n_note_ons']} struck, {notes['n_note_offs']} released")
    rows.add_row("session", _session(reading))
    rows.add_row("knobs", _knobs(reading))
    rows.add_row("faults", _faults(reading))
    rows.add_row("board", _board(reading))
    return Panel(
        Group(_emotion(reading), _processes(reading), rows), title=Text(printed(title, 120)), expand=False
    )
