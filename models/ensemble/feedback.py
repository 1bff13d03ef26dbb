"""Does the box follow itself? Its own notes through a loudspeaker in its microphone, and what comes of it.

``python -m models.ensemble.feedback --pop909 DIR [--songs 007,036,055] [--level-db -6] [--delay-ms 10]
[--own-delay-ms 20] [--seconds 60] [--answer] [--json]`` plays excerpts to the whole box four times: without
and with its own sound in the microphone, and with ``ears.own_notes`` ignored and discounted. Its sound is
rendered note by note as it sends them, through FluidR3's piano in a small room, at a level relative to the
player's. The player stops after two thirds of the time.

- ``beat_f``, ``in_chord``, ``notes_hz``: as ``evaluate`` has them, until the player stops.
- ``stops_s``: seconds from the player's end to the end of the box's last note.
- ``mood_off``: mean distance of valence and arousal heard from those of the run without its own sound.
- ``hears_itself``: share of the time in which it believes to hear itself.

With ``--answer`` the player alternates phrases with the box in that role, and the figures are those of
``turns``.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, open_models
from kelly_edge.config import OWN_NOTES
from kelly_edge.contract import HEARD_DTYPE, HOPS_PER_EMOTION_STEP, SAMPLE_RATE_HZ, Role
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.ensemble import harmony, rhythm
from models.ensemble.evaluate import believed
from models.ensemble.loudspeaker import Loudspeaker, Sound, loudness, room, tones
from models.ensemble.measures import SETTLED_S, Party, settled, with_interval
from models.ensemble.songs import Song, cache_folder, load_song, sound_of
from models.ensemble.turns import alternating, measure_turns, melody, phrases_of, sound_of_phrases

Figures = dict[str, float]
PLAYS: Final = 2.0 / 3.0
"""Share of the time after which the player stops. Chosen by hand."""


class Played(NamedTuple):
    """What the box played (notes, bars) and heard (HEARD_DTYPE [n]), and for how much of it it heard
    itself."""

    notes: NDArray[Any]
    bars: NDArray[Any]
    heard: NDArray[Any]
    itself: float


@dataclass(frozen=True)
class Bench:
    """The box beside a loudspeaker.

    ``level_db``: of the box against the player; ``delay_s``: until it is heard; ``own_delay_ms``: as set.
    """

    models: Models
    tones: dict[int, Sound]
    level_db: float
    delay_s: float
    own_delay_ms: float

    def run(self, player: Sound, gain: float, own_notes: str, role: str) -> Played:
        """The whole box beside a player."""
        settings, speaker = Settings(), Loudspeaker(player, self.tones, gain, self.delay_s)
        ears = replace(settings.ears, own_notes=own_notes, own_delay_ms=self.own_delay_ms)
        composer = replace(settings.composer, role=role)
        offline = Offline(replace(settings, ears=ears, composer=composer), self.models, speaker)
        speaker.out = offline.midi_out if gain else None
        records: list[NDArray[Any]] = []
        itself: list[bool] = []

        def keep(n_hops: int) -> None:
            if n_hops % HOPS_PER_EMOTION_STEP == 0:
                own = offline.dsp.ears.own
                records.append(offline.dsp.heard.copy())
                itself.append(own is not None and own.is_heard)

        played = offline.run(after_hop=keep)
        return Played(played.notes, played.bars, np.array(records, HEARD_DTYPE), float(np.mean(itself)))

    def four(
        self, player: Sound, figures: Callable[[Played, Played], Figures], role: str
    ) -> dict[str, Figures]:
        """Figures of the four runs by name; they are given the run and the first one."""
        rows: dict[str, Figures] = {}
        first = self.run(player, 0.0, OWN_NOTES[1], role)
        level = loudness(first.notes, self.tones, player, is_together=role != Role.ANSWER)
        for where, gain in (("without", 0.0), ("with", 10.0 ** (0.05 * self.level_db) / level)):
            for own_notes in reversed(OWN_NOTES):
                is_first = not gain and own_notes == OWN_NOTES[1]
                played = first if is_first else self.run(player, gain, own_notes, role)
                itself = {"hears_itself": played.itself}
                rows[f"{where} {own_notes}"] = figures(played, first) | itself
        return rows


def accompanied(song: Song, sound: Sound, bench: Bench) -> dict[str, Figures]:
    """A player who stops."""
    until_s = PLAYS * len(sound) / SAMPLE_RATE_HZ
    player = sound.copy()
    player[round(until_s * SAMPLE_RATE_HZ) :] = 0.0
    song = cut(song, until_s)

    def figures(played: Played, first: Played) -> Figures:
        notes, heard = played.notes, played.heard
        theirs = heard["time_s"] < until_s
        with_them = notes[notes["onset_s"] < until_s]
        onset_s = with_them["onset_s"].astype(float)
        party = Party(
            onset_s,
            onset_s + with_them["duration_s"],
            with_them["pitch"].astype(np.int64),
            played.bars["start_s"].astype(float),
            *believed(heard[theirs]),
            heard[theirs],
        )
        off = [np.abs(heard[of] - first.heard[of])[theirs].mean() for of in ("valence", "arousal")]
        end_s = notes["onset_s"] + notes["duration_s"].astype(float)
        return {
            "beat_f": rhythm.measure(song, party)["beat_f"],
            "in_chord": harmony.measure(song, party)["in_chord"],
            "notes_hz": settled(onset_s).size / (until_s - SETTLED_S),
            "stops_s": float(end_s.max(initial=0.0)) - until_s,
            "mood_off": float(np.mean(off)),
        }

    return bench.four(player, figures, Role.ACCOMPANY.value)


def cut(song: Song, until_s: float) -> Song:
    """The song as far as it is played."""
    return replace(
        song,
        beats_s=song.beats_s[song.beats_s < until_s],
        downbeats_s=song.downbeats_s[song.downbeats_s < until_s],
        chords=tuple(chord for chord in song.chords if chord.end_s < until_s),
    )


def answered(song: Song, seconds: float, bench: Bench) -> dict[str, Figures]:
    """A player who alternates phrases with the box."""
    phrases = alternating(phrases_of(melody(song.midi), song.beats_s), seconds)

    def figures(played: Played, first: Played) -> Figures:
        onset_s = played.notes["onset_s"].astype(float)
        every = measure_turns(phrases, onset_s, onset_s + played.notes["duration_s"])
        return {name: every[name] for name in ("phrases", "overlap", "within_beat", "length")}

    return bench.four(sound_of_phrases(phrases, seconds), figures, Role.ANSWER.value)


@command("models.ensemble.feedback", KellyError)
def main() -> None:
    """Read the command line, play, measure, print."""
    parser = Parser(prog="models.ensemble.feedback", description=__doc__)
    parser.add_argument("--pop909", type=path_argument, required=True, help="folder of POP909")
    parser.add_argument("--songs", default="007,036,055", help="names with commas between")
    parser.add_argument("--level-db", type=float, default=-6.0, help="of the box, against the player")
    parser.add_argument("--delay-ms", type=float, default=10.0, help="from loudspeaker to microphone")
    parser.add_argument("--own-delay-ms", type=float, default=20.0, help="the same as the settings have it")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each is played")
    parser.add_argument("--answer", action="store_true", help="in the role answer, to phrases")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    bench = Bench(
        open_models(Settings()),
        tones(room(np.random.default_rng(22))),
        arguments.level_db,
        1e-3 * arguments.delay_ms,
        arguments.own_delay_ms,
    )
    rows = []
    for name in arguments.songs.split(","):
        song = load_song(arguments.pop909, name)
        if arguments.answer:
            rows.append(answered(song, arguments.seconds, bench))
        else:
            sound = sound_of(song, "fluid", cache_folder())[: round(arguments.seconds * SAMPLE_RATE_HZ)]
            rows.append(accompanied(song, sound, bench))
        for run_name, row in rows[-1].items():
            print(name, run_name, {k: round(v, 2) for k, v in row.items()}, file=sys.stderr, flush=True)
    result = {
        run_name: {name: with_interval([row[run_name][name] for row in rows]) for name in rows[0][run_name]}
        for run_name in rows[0]
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for run_name, values in result.items():
        told = "  ".join(f"{name} {value['mean']:.3f}" for name, value in values.items())
        print(f"{run_name:18}{told}")


if __name__ == "__main__":
    sys.exit(main())
