"""A machine without a sound card, sequencer or server: one line of ours each, and none of the libraries'."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")

from firmware_py.commands import safe as safe_mode
from firmware_py.settings import Settings
from kelly_edge.config import AudioSettings
from kelly_edge.errors import DeviceError

OPENED_AGAIN = """
import sys
from {module} import {card}
from firmware_py.devices.session.log import warn
card = {card}({arguments}, warn=warn)
for _ in range(3):
    card._open()
"""
CARDS = {
    "ALSA": ("firmware_py.devices.sound.alsa", "AlsaCard", '"nobody_s_card", 128, 3'),
    "ALSA, hardware": ("firmware_py.devices.sound.alsa", "AlsaCard", '"plughw:CARD=Nobody", 128, 3'),
    "PortAudio": (
        "firmware_py.devices.sound.portaudio",
        "PortAudioCard",
        '"portaudio:nobody", 48000, 128, 3',
    ),
}


def said(code: str) -> list[str]:
    """What a process of its own prints while it runs ``code``, libraries included."""
    environment = {**os.environ, "JACK_DEFAULT_SERVER": "kelly-nobody", "JACK_NO_START_SERVER": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize("kind", CARDS)
def test_a_card_that_is_not_there_is_one_line_however_often_it_is_looked_for(kind: str) -> None:
    module, card, arguments = CARDS[kind]
    (line,) = said(OPENED_AGAIN.format(module=module, card=card, arguments=arguments))
    assert line.startswith("kelly-edge: sound card ")
    assert "is not there" in line


@pytest.mark.parametrize("name", ["MidiPorts", "MidiInputs"])
def test_a_jack_server_that_is_not_there_is_one_line(name: str) -> None:
    module = "outputs" if name == "MidiPorts" else "inputs"
    code = (
        f"from firmware_py.devices.midi.{module} import {name}\n"
        "from firmware_py.devices.session.log import warn\n"
        f"ports = {name}(('jack:nobody',), warn)\n"
        "for _ in range(3): ports.scan()\n"
    )
    (line,) = said(code)
    assert line.startswith("kelly-edge: no jack MIDI")


def test_safe_mode_opens_the_card_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, ``portaudio:`` included, and its rate."""
    asked: list[AudioSettings] = []

    def open_card(audio: AudioSettings, warn: object) -> None:
        asked.append(audio)
        raise DeviceError("that is enough")

    monkeypatch.setattr(safe_mode, "open_card", open_card)
    audio = AudioSettings(card="portaudio:USB", sample_rate_hz=44_100)
    settings = Settings(audio=audio)
    settings = replace(
        settings,
        panel=replace(settings.panel, chip="none"),
        midi=replace(settings.midi, outputs=()),
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(DeviceError, match="enough"):
            safe_mode.safe(settings)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert asked == [audio]


@pytest.mark.parametrize("card", ["portaudio:nobody", "nobody_s_card"])
def test_safe_mode_lasts_without_a_card_and_ends_when_asked(card: str, tmp_path: Path) -> None:
    words = ["audio.sample_rate_hz=44100", f"audio.card={card}", f"runtime.run_dir={tmp_path / 'run'}"]
    words += ["midi.outputs=[]", "panel.chip=none"]
    command = [sys.executable, "-m", "firmware_py", "safe", *(f"--set={word}" for word in words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(3)]
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 0
        lines += process.stderr.readlines()
    assert any("sound card" in line and "is not there" in line for line in lines)
    assert all(line.startswith("kelly-edge: ") for line in lines)
