"""The models of ``dsp``, opened as the settings say. Imports nothing of the composer's, which is large."""

from collections.abc import Sequence

from firmware_py.runtimes import artefacts
from firmware_py.runtimes.emotion_network import TfliteEmotion
from firmware_py.runtimes.voice_decoder import TfliteDecoder
from firmware_py.settings import Settings
from firmware_py.wiring.choice import AUTO, EMOTION_MODELS, Choice, choice_path, stored_choice
from kelly_edge.config import OWN_NOTES
from kelly_edge.contract import Listen
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.emotion.place import Place, PlaceMemory
from kelly_edge.timbre.voice import Decoder, Voice


def board_choice(settings: Settings) -> Choice:
    """The configured runtime, or with ``auto`` the one measured to be fastest on this board."""
    runtime = settings.runtime.tflite
    if runtime != AUTO:
        return Choice(tflite=runtime)
    return stored_choice(choice_path(settings.runtime.state_dir))


def open_emotion(settings: Settings) -> EmotionNetwork:
    """The emotion network in the runtime and precision chosen."""
    choice, model_set = board_choice(settings), settings.runtime.model_set
    name = EMOTION_MODELS[choice.precision]
    # A choice made with another release may name a model that this one does not have.
    if name not in artefacts.names_of_kind("emotion", *model_set):
        name = EMOTION_MODELS["int8"]
    return TfliteEmotion(artefacts.open_tflite(artefacts.load(name, *model_set), choice.tflite))


def uses_emopia(settings: Settings) -> bool:
    """Whether the features are read beside the network, and arousal is corrected for the room: both were
    fitted on renderings of EMOPIA, and the free set saw none of them."""
    return settings.runtime.models == artefacts.RESEARCH


def open_decoders(settings: Settings) -> list[Decoder]:
    """A decoder per configured voice, in that order."""
    runtime, model_set = board_choice(settings).tflite, settings.runtime.model_set
    return [
        TfliteDecoder(artefacts.open_tflite(artefacts.load(f"ddsp_{name}", *model_set), runtime))
        for name in settings.voice.names
    ]


def new_place(settings: Settings, memory: PlaceMemory | None = None) -> Place:
    """The place, of which ``memory`` is known; a keyboard's notes say nothing of it."""
    return Place(memory, settings.emotion.learn_place and settings.ears.listen != Listen.KEYBOARD)


def own_delay_s(settings: Settings) -> float | None:
    """From a note's message until the microphone hears it; None where the box's notes are not taken off."""
    if settings.ears.own_notes != OWN_NOTES[0]:
        return None
    return 1e-3 * (settings.midi.latency_ms + settings.ears.own_delay_ms)


def new_voice(settings: Settings, decoders: Sequence[Decoder]) -> Voice:
    """The voice with the configured gate."""
    voice = Voice(decoders, seed=settings.composer.seed)
    voice.gate_confidence = settings.voice.gate_confidence
    voice.gate_db = settings.voice.gate_db
    return voice
