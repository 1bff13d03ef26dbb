"""Does the box answer? A player who alternates phrases with it, and the figures of their turns.

``python -m models.ensemble.turns --pop909 DIR [--songs 007,036] [--seconds 90] [--json]`` cuts the melodies
of songs into phrases, leaves after each as much time as it took and two beats more, renders that and plays it
to the box in the role ``answer``. The player does not listen: each phrase comes when its time has come.

- ``overlap``: share of the player's phrases during which a note of the box sounds.
- ``within_beat``: share of the phrases whose answer begins within a beat of their end.
- ``answered``: share of the phrases answered at all. ``late_beats``: median delay of those answers.
- ``length``: median length of the answers over that of their phrases.
- ``motif``: likeness of rhythm and contour of phrase and answer (``motifs.likeness``), beside
  ``shuffled``, that of answers shuffled within their songs; ``p``: the share of shuffles that are as alike.
- ``notes_f``: F of the melody's notes heard (onset within 50 ms, the same pitch).
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import mido
import numpy as np
from numpy.typing import NDArray

from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, open_models
from kelly_edge.contract import HOP_RATE_HZ, HOPS_PER_EMOTION_STEP, SAMPLE_RATE_HZ, Role
from kelly_edge.errors import KellyError
from kelly_edge.music.motif import HeardNote, MelodyHeard
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.ensemble.measures import with_interval
from models.ensemble.motifs import likeness, shuffled, top_line
from models.ensemble.songs import load_song, song_list, sound_of_notes

Floats = NDArray[np.float64]
GAP_BEATS: Final = 0.75
"""A rest this long ends a phrase of a melody. Chosen by hand."""
LEAST_S, MOST_S = 2.0, 10.0
"""Phrases of other lengths are left out. Chosen by hand: a bar to five."""
WAITS_BEATS: Final = 2.0
"""What the player waits beyond the length of the phrase. Chosen by hand."""
FIRST_UNMEASURED: Final = 2
"""Phrases until beat and key may be known. Chosen by hand."""
NEAR_S: Final = 0.05
"""How far the onset of a note heard may lie from that played. Chosen: as MIREX has it for note tracking."""
Note = tuple[float, float, int, int]


class Phrase(NamedTuple):
    """A phrase as played: notes are begin, end (s), pitch, velocity."""

    notes: list[Note]
    beat_s: float

    @property
    def begin_s(self) -> float:
        """Of the first note."""
        return self.notes[0][0]

    @property
    def end_s(self) -> float:
        """Of the last note."""
        return max(note[1] for note in self.notes)


def melody(midi: Path) -> list[Note]:
    """The notes of POP909's track MELODY, in seconds."""
    file = mido.MidiFile(midi)
    track = next(track for track in file.tracks if track.name == "MELODY")
    tempo = next(m.tempo for t in file.tracks for m in t if m.type == "set_tempo")
    notes: list[Note] = []
    open_notes: dict[int, tuple[float, int]] = {}
    tick = 0
    for message in track:
        tick += message.time
        time_s = mido.tick2second(tick, file.ticks_per_beat, tempo)
        if message.type == "note_on" and message.velocity:
            open_notes[message.note] = (time_s, message.velocity)
        elif message.type in ("note_on", "note_off") and message.note in open_notes:
            begin_s, velocity = open_notes.pop(message.note)
            notes.append((begin_s, time_s, message.note, velocity))
    return sorted(notes)


def phrases_of(notes: list[Note], beats_s: Floats) -> list[Phrase]:
    """The phrases of a melody, at their places in the song."""
    phrases: list[list[Note]] = [[notes[0]]]
    for before, note in pairwise(notes):
        beat_s = float(np.interp(note[0], beats_s[:-1], np.diff(beats_s)))
        if note[0] - before[1] >= GAP_BEATS * beat_s:
            phrases.append([])
        phrases[-1].append(note)
    return [
        Phrase(part, float(np.interp(part[0][0], beats_s[:-1], np.diff(beats_s))))
        for part in phrases
        if LEAST_S <= part[-1][1] - part[0][0] <= MOST_S and part[-1][1] < beats_s[-1]
    ]


def alternating(phrases: list[Phrase], seconds: float) -> list[Phrase]:
    """The same with the answer's time after each, moved by whole beats."""
    laid: list[Phrase] = []
    free_s = 1.0
    for phrase in phrases:
        moved_s = np.ceil((free_s - phrase.begin_s) / phrase.beat_s) * phrase.beat_s
        notes = [(begin + moved_s, end + moved_s, pitch, v) for begin, end, pitch, v in phrase.notes]
        moved = Phrase(notes, phrase.beat_s)
        wait_s = moved.end_s - moved.begin_s + WAITS_BEATS * phrase.beat_s
        if moved.end_s + wait_s > seconds:
            break
        laid.append(moved)
        free_s = moved.end_s + wait_s
    return laid


def sound_of_phrases(phrases: list[Phrase], seconds: float) -> NDArray[np.float32]:
    """Rendered: float32 at 48 kHz."""
    events = [e for p in phrases for b, e_s, k, v in p.notes for e in ((b, k, v), (e_s, k, 0))]
    rendered = sound_of_notes(sorted(events, key=lambda event: (event[0], event[2])))
    sound = np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)
    n = min(sound.size, rendered.size)
    sound[:n] = rendered[:n]
    return sound


def answers_to(phrases: list[Phrase], onset_s: Floats) -> list[NDArray[np.bool_]]:
    """Which notes of the box answer each of the phrases: [n] each."""
    next_s = [*(phrase.begin_s for phrase in phrases[1:]), np.inf][: len(phrases)]
    # An answer may begin a little before a long last note has ended.
    return [
        (onset_s >= phrase.end_s - phrase.beat_s) & (onset_s < end_s - 0.1)
        for phrase, end_s in zip(phrases, next_s, strict=True)
    ]


def likenesses(phrases: list[Phrase], onset_s: Floats, end_s: Floats, pitch: Floats) -> Floats:
    """Likeness of every phrase measured (rows) and every answer (columns)."""
    measured = phrases[FIRST_UNMEASURED:]
    lines = [top_line(*np.array(phrase.notes)[:, :3].T) for phrase in measured]
    answers = [top_line(onset_s[a], end_s[a], pitch[a]) for a in answers_to(measured, onset_s)]
    return np.array(
        [[likeness(line, answer, phrase.beat_s) for answer in answers]
         for phrase, line in zip(measured, lines, strict=True)]
    ).reshape(len(measured), len(measured))  # fmt: skip


def notes_f(phrases: list[Phrase], heard: Sequence[HeardNote]) -> float:
    """F of the notes heard while the player had the turn; NaN where there was no phrase."""
    played = [(note[0], note[2]) for phrase in phrases for note in phrase.notes]
    found = [
        (note.onset_s, note.pitch)
        for note in heard
        if any(phrase.begin_s - NEAR_S <= note.onset_s <= phrase.end_s for phrase in phrases)
    ]
    left, n_hits = list(found), 0
    for onset_s, pitch in played:
        hit = next((n for n in left if n[1] == pitch and abs(n[0] - onset_s) <= NEAR_S), None)
        if hit is not None:
            left.remove(hit)
            n_hits += 1
    return 2.0 * n_hits / (len(played) + len(found) or float("nan"))


def measure_turns(phrases: list[Phrase], onset_s: Floats, end_s: Floats) -> dict[str, float]:
    """The figures of the module's text that are the song's own; NaN where no phrase is measured."""
    measured = phrases[FIRST_UNMEASURED:]
    both_s, theirs_s, late, length = 0.0, 0.0, [], []
    answers = answers_to(measured, onset_s)
    for k, phrase in enumerate(measured):
        theirs_s += phrase.end_s - phrase.begin_s
        grid = np.arange(phrase.begin_s, phrase.end_s, 0.01)
        sounds = ((onset_s[:, None] <= grid) & (grid < end_s[:, None])).any(0) if onset_s.size else grid < 0
        both_s += 0.01 * float(sounds.sum())
        is_answer = answers[k]
        if is_answer.any():
            late.append((onset_s[is_answer].min() - phrase.end_s) / phrase.beat_s)
            answer_s = end_s[is_answer].max() - onset_s[is_answer].min()
            length.append(answer_s / (phrase.end_s - phrase.begin_s))
    n = len(measured) or float("nan")
    return {
        "phrases": float(len(measured)),
        "overlap": both_s / (theirs_s or float("nan")),
        "within_beat": sum(abs(beats) <= 1.0 for beats in late) / n,
        "answered": len(late) / n,
        "late_beats": float(np.median(late)) if late else float("nan"),
        "length": float(np.median(length)) if length else float("nan"),
    }


def play_turns(pop909: Path, name: str, seconds: float, models: Models) -> tuple[dict[str, float], Floats]:
    """One song's phrases played to the box: its figures, and ``likenesses``."""
    song = load_song(pop909, name)
    phrases = alternating(phrases_of(melody(song.midi), song.beats_s), seconds)
    if len(phrases) <= FIRST_UNMEASURED:
        nothing = np.zeros(0)
        figures = measure_turns(phrases, nothing, nothing) | {"notes_f": float("nan")}
        return figures, likenesses(phrases, nothing, nothing, nothing)
    settings = Settings()
    settings = replace(settings, composer=replace(settings.composer, role=Role.ANSWER.value))
    offline = Offline(settings, models, sound_of_phrases(phrases, seconds))
    melody_heard, found = MelodyHeard(), []

    def hear(n_hops: int) -> None:
        if n_hops % HOPS_PER_EMOTION_STEP == 0:
            new = melody_heard.hear(offline.dsp.heard, n_hops / HOP_RATE_HZ)
            found.extend([new] if new is not None else [])

    notes = offline.run(after_hop=hear).notes
    onset_s = notes["onset_s"].astype(float)
    end_s, pitch = onset_s + notes["duration_s"].astype(float), notes["pitch"].astype(float)
    figures = measure_turns(phrases, onset_s, end_s) | {"notes_f": notes_f(phrases, found)}
    return figures, likenesses(phrases, onset_s, end_s, pitch)


@command("models.ensemble.turns", KellyError)
def main() -> None:
    """Read the command line, play, measure, print."""
    parser = Parser(prog="models.ensemble.turns", description=__doc__)
    parser.add_argument("--pop909", type=path_argument, required=True, help="folder of POP909")
    parser.add_argument("--songs", help="names with commas between; default: those for evaluation")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long each is played")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    models, rows, alike = open_models(Settings()), [], []
    for name in arguments.songs.split(",") if arguments.songs else song_list("evaluation"):
        figures, likeness_of = play_turns(arguments.pop909, name, arguments.seconds, models)
        motif = float(np.diag(likeness_of).mean()) if likeness_of.size else float("nan")
        rows.append(figures | {"motif": motif})
        alike.append(likeness_of)
        print(name, {k: round(v, 2) for k, v in rows[-1].items()}, file=sys.stderr, flush=True)
    result = {name: with_interval([row[name] for row in rows]) for name in rows[0]}
    _, chance, p = shuffled(alike)
    result["shuffled"], result["p"] = {"mean": chance}, {"mean": p}
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        interval = f" [{value['low']:.3f}, {value['high']:.3f}]" if "low" in value else ""
        print(f"{name:14}{value['mean']:.4f}{interval}")


if __name__ == "__main__":
    sys.exit(main())
