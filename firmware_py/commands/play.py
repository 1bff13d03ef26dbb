"""``kelly-edge play``: a recording, or a MIDI file of somebody at a keyboard, in; MIDI, voice,
session log, and perhaps a mix and a picture out.

Every result is written beside its place and renamed when all of them are complete. Sound, log and arrays
are streamed: no offline command needs more memory for a longer recording.
"""

import argparse
import time
from pathlib import Path
from typing import Any, Final

from firmware_py.commands import mix
from firmware_py.commands.common import Bar, print_summary, settings_of, sources_of
from firmware_py.commands.heard import DIGITS, Heard
from firmware_py.commands.picture import can_draw, draw_session
from firmware_py.devices.files.audio_file import Recording, read_audio
from firmware_py.devices.files.midi_file import KeyboardPerformance, is_midi_file, read_keyboard
from firmware_py.devices.files.output import JsonLines, OutputFolder, WavWriter, write_midi
from firmware_py.devices.session.format import OnlyNews, header
from firmware_py.settings import Settings
from firmware_py.wiring.about import about_session
from firmware_py.wiring.offline import Offline, Progress, listening, open_models
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.signal.limiter import Limiter
from kelly_edge.units import gain_to_db

FILES: Final = ("performance.mid", "voice.wav", "session.jsonl")
NO_PICTURE: Final = "no session.png, for matplotlib is missing: pip install kelly-edge[report] draws one"


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    given = {"composer.seed": args.seed, "emotion.programme": args.programme}
    settings = settings_of(args, [f"{name}={value}" for name, value in given.items() if value is not None])
    with Bar("playing") as bar:
        # Without a line where it cannot be drawn: `demo` says what would.
        picture = args.picture and can_draw()
        summary = play(args.recording, args.out, settings, bar, picture, args.mix, args.config)
    print_summary(summary, args.json)
    return 0


def play(
    path: Path,
    folder: Path,
    settings: Settings,
    progress: Progress,
    picture: bool = False,
    with_mix: bool = False,
    config: Path | None = None,
) -> dict[str, Any]:
    """``performance.mid``, ``voice.wav`` and ``session.jsonl`` in ``folder``.

    Parameters
    ----------
    picture: ``session.png`` too, where it can be drawn.
    with_mix: ``mix.wav`` too, where it can be rendered.
    config: the settings file, which no result may overwrite.
    """
    left_out = [NO_PICTURE] if picture and not can_draw() else []
    picture = picture and not left_out
    font = mix.font() if with_mix else None
    files = [*FILES, *([mix.NAME] if font else []), *(["session.png"] if picture else [])]
    sources = sources_of(path, settings, config)
    player = read_keyboard(path) if is_midi_file(path) else read_audio(path)
    settings = listening(settings, player)
    with OutputFolder(folder, files, sources) as output:
        models = open_models(settings)
        Offline.warm_up(settings, models)
        started_s = time.perf_counter()
        with WavWriter(output, "voice.wav", SAMPLE_RATE_HZ) as wav, JsonLines(output, "session.jsonl") as log:
            log.record(header(**about_session(settings)))
            heard = Heard(OnlyNews(log))
            offline = Offline(settings, models, player, play=wav.write, journal=heard)
            # The music ends with the recording.
            offline.composer.ends_s = offline.n_samples / SAMPLE_RATE_HZ
            performance = offline.run(progress)
        took_s = time.perf_counter() - started_s
        write_midi(output, "performance.mid", performance.notes, settings.composer.program, performance.bars)
        if font:
            of_player = player.blocks() if isinstance(player, Recording) else mix.rendered(path, font)
            limiter = Limiter(settings.limiter.ceiling_db, settings.limiter.release_ms)
            mix.mix(output, of_player, font, limiter)
    if picture:
        draw_session(folder)
    n_notes = len(performance.notes)
    return {
        "seconds": round(player.duration_s, DIGITS),
        "heard": heard.moods(),
        "n_notes": n_notes,
        "voice_seconds": round(offline.n_samples / SAMPLE_RATE_HZ, DIGITS),
        "voice_peak_dbfs": round(gain_to_db(wav.peak), DIGITS),
        **_counts(player),
        "times_real_time": round(player.duration_s / took_s, 1),
        "files": [str(folder / name) for name in files],
        "notices": [*player.notices, *heard.notices(player, n_notes), *left_out],
    }


def _counts(player: Recording | KeyboardPerformance) -> dict[str, int]:
    """What the summary says of the player's file alone."""
    if isinstance(player, KeyboardPerformance):
        return {"n_notes_heard": player.n_notes}
    return {"n_non_finite_samples": player.n_non_finite, "n_clipped_samples": player.n_clipped}
