"""Is a note that was let go still called voiced? ``python -m models.timbre.releases [--json]``.

Lines of General MIDI instruments through FluidR3: notes of 0.2 to 1.2 s at velocities of 45 to 119, one to
three in a row, then a rest of 0.2 to 1.2 s. The box's tracker hears them dry and in fluidsynth's room. A hop
belongs to a note or to a rest by the time at which its pitch held (``f0_time_s``), and a rest begins with the
end of the note: its tail is judged. For each instrument: the share of the notes' hops that are voiced
(recall) and of the rests' (false alarm), with 95 % intervals by bootstrap over the lines.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

import mido
import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command
from models.timbre.pitch_evaluate import N_BOOTSTRAP, box
from models.timbre.pitch_sounds import TICKS_PER_S, Player, synthesised

INSTRUMENTS: Final = {
    "violin": Player(40, 55, 91),
    "cello": Player(42, 36, 72),
    "voice": Player(53, 48, 79),
    "flute": Player(73, 60, 96),
    "saxophone": Player(65, 49, 80),
    "piano": Player(0, 36, 90),
    "guitar": Player(24, 40, 76),
    "string ensemble": Player(48, 43, 84),
    "choir": Player(52, 48, 79),
}
"""Program and range. The rule's constants knew the first seven and others, in other lines."""
LINE_S: Final = 20.0
"""Seconds of a line. Chosen: about a dozen rests."""
# Notes and rests in seconds, velocities, notes before a rest, and the largest step. Chosen by hand.
NOTE_S, REST_S, VELOCITIES, IN_A_ROW, STEP = (0.2, 1.2), (0.2, 1.2), (45, 120), (1, 4), 7
WITH_REVERB: Final = 40
"""General MIDI's reset value of the reverb send, controller 91. By the standard's recommendation (RP-015)."""
Span = tuple[float, float]


def broken_line(player: Player, seed: int, room: bool) -> tuple[list[mido.Message], list[Span]]:
    """A random line with rests: its messages, and the (start, end) of each note in seconds."""
    rng = np.random.default_rng(seed)
    messages = [mido.Message("program_change", program=player.program)]
    sends = {91: WITH_REVERB if room else 0, 93: 0}
    messages += [mido.Message("control_change", control=c, value=v) for c, v in sends.items()]
    now, rest, spans = 0, 0, []
    note = int(rng.integers(player.low + STEP, player.high - STEP))
    while now < LINE_S * TICKS_PER_S:
        for _ in range(int(rng.integers(*IN_A_ROW))):
            step = int(rng.integers(1, STEP + 1)) * (1 if rng.random() < 0.5 else -1)
            note = note + step if player.low <= note + step <= player.high else note - step
            length = round(TICKS_PER_S * rng.uniform(*NOTE_S))
            velocity = int(rng.integers(*VELOCITIES))
            messages.append(mido.Message("note_on", note=note, velocity=velocity, time=rest))
            messages.append(mido.Message("note_off", note=note, time=length))
            spans.append(((now + rest) / TICKS_PER_S, (now + rest + length) / TICKS_PER_S))
            now, rest = now + rest + length, 0
        rest = round(TICKS_PER_S * rng.uniform(*REST_S))
    return messages, spans


def judged(times_s: NDArray[np.float64], voiced: NDArray[np.bool_], spans: list[Span]) -> NDArray[np.int64]:
    """Hops of notes, voiced ones among them, hops of rests between notes, voiced ones among those."""
    starts, ends = np.array(spans).T
    at = np.searchsorted(starts, times_s, "right") - 1
    inside = (at >= 0) & (times_s < ends[-1])
    in_note = inside & (times_s < ends[np.maximum(at, 0)])
    in_rest = inside & ~in_note
    return np.array([in_note.sum(), (in_note & voiced).sum(), in_rest.sum(), (in_rest & voiced).sum()])


def _shares(counts: NDArray[np.int64]) -> tuple[float, float]:
    notes, heard, rests, wrong = counts.sum(0)
    return heard / notes, wrong / rests


def evaluate(instruments: Sequence[str], seed: int, n_lines: int) -> dict[str, Any]:
    """Recall and false alarm by instrument, dry and in the room. Raises DataError without fluidsynth."""
    result: dict[str, Any] = {}
    for name in instruments:
        result[name] = {}
        for place in ("dry", "room"):
            rows = []
            for i in range(n_lines):
                messages, spans = broken_line(INSTRUMENTS[name], seed + i, place == "room")
                heard = box(synthesised(messages, place == "room").astype(np.float32))
                rows.append(judged(heard.times_s, heard.voiced, spans))
            counts = np.stack(rows)
            draws = np.random.default_rng(0).integers(0, n_lines, (N_BOOTSTRAP, n_lines))
            intervals = np.percentile([_shares(counts[d]) for d in draws], [2.5, 97.5], axis=0).T
            result[name][place] = {
                key: {"value": round(float(value), 3), "ci95": [round(float(x), 3) for x in interval]}
                for key, value, interval in zip(
                    ("recall", "false_alarm"), _shares(counts), intervals, strict=True
                )
            }
    return result


def _table(result: dict[str, Any]) -> str:
    lines = [f"{'recall / false alarm [95 %]':28}{'dry':>40}{'in the room':>40}"]
    for name, places in result.items():
        cells = [
            " / ".join(f"{v['value']:.3f} [{v['ci95'][0]:.3f}, {v['ci95'][1]:.3f}]" for v in place.values())
            for place in places.values()
        ]
        lines.append(f"{name:28}" + "".join(f"{cell:>40}" for cell in cells))
    return "\n".join(lines)


@command("models.timbre.releases", KellyError)
def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = Parser(
        prog="python -m models.timbre.releases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--instrument", action="append", choices=INSTRUMENTS, help="default: all")
    parser.add_argument("--seed", type=int, default=1, help="of the first line; each line takes the next")
    parser.add_argument("--lines", type=int, default=6, help="of 20 s for each instrument")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if args.lines < 1:
        parser.error("--lines must be at least 1")
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    result = evaluate(args.instrument or list(INSTRUMENTS), args.seed, args.lines)
    print(json.dumps(result) if args.json else _table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
