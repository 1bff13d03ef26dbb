"""Which sound card the settings mean: ALSA's or PortAudio's, at the instrument's rate or made so.

Part of the live wiring; ``audio`` imports it, so it imports no more than the card needs.
"""

from collections.abc import Callable

from firmware_py.devices.sound.absent_card import SilentCard
from firmware_py.devices.sound.resampled_card import Card, ResampledCard
from kelly_edge.config import AudioSettings
from kelly_edge.contract import SAMPLE_RATE_HZ, Listen

PORTAUDIO = "portaudio:"


def open_card(audio: AudioSettings, warn: Callable[[str], None], listen: str = Listen.MICROPHONE) -> Card:
    """The card of ``audio.card``, opened or waited for; none where a keyboard alone is listened to.

    Raises
    ------
    DeviceError: it is there and cannot do the rate or period asked for.
    """
    if listen == Listen.KEYBOARD:
        return SilentCard(audio.period / SAMPLE_RATE_HZ)
    card = _native_card(audio, warn)
    if audio.sample_rate_hz == SAMPLE_RATE_HZ:
        return card
    return ResampledCard(card, audio.sample_rate_hz, audio.period)


def _native_card(audio: AudioSettings, warn: Callable[[str], None]) -> Card:
    if audio.card.startswith(PORTAUDIO):
        from firmware_py.devices.sound.portaudio import PortAudioCard

        return PortAudioCard(audio.card, audio.sample_rate_hz, audio.period, audio.n_periods, warn)
    from firmware_py.devices.sound.alsa import AlsaCard

    return AlsaCard(audio.card, audio.period, audio.n_periods, warn, audio.sample_rate_hz)
