"""The model of ``composer``, opened as the settings say. Imports nothing of the voice's, which is large."""

from collections.abc import Callable

from firmware_py.runtimes import artefacts
from firmware_py.runtimes.onnx import OnnxComposer, open_composer
from firmware_py.settings import Settings
from kelly_edge.music.compound_word import Rows
from kelly_edge.music.generator import Generator
from kelly_edge.music.sampling import ComposerNetwork, Floats, KvCache, SamplingSettings


def open_composer_network(settings: Settings) -> OnnxComposer:
    """The composer's network."""
    return open_composer(artefacts.load("transformer_model", *settings.runtime.model_set))


def new_generator(settings: Settings, network: ComposerNetwork) -> Generator:
    """The generator with the configured sampling and seed."""
    composer = settings.composer
    sampling = SamplingSettings(temperature=composer.temperature, top_p=composer.top_p)
    return Generator(network, sampling, composer.seed)


class BeatingNetwork:
    """A ``ComposerNetwork`` that calls ``beat`` at each row: a bar takes long, its rows do not."""

    def __init__(self, network: ComposerNetwork) -> None:
        self.beat: Callable[[], None] = _nothing
        self.context = network.context
        self.tables, self.known_runs = network.tables, network.known_runs
        self.new_cache: Callable[[], KvCache] = network.new_cache
        self._network = network

    def step(self, row: Rows, cache: KvCache, n_rows: int, contexts: Floats) -> None:
        """See ``ComposerNetwork``."""
        self.beat()
        self._network.step(row, cache, n_rows, contexts)


def _nothing() -> None:
    pass
