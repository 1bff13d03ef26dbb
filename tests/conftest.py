"""What several tests share: the shipped models, opened once, and a rendered performance of the demo.

At the end of a run ``skips`` says how many tests of which kind did not run, and what would run them.
"""

import os

# As the command line does, before numpy is loaded: two threads cost the small products of the composer three
# times the processor's time of one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
from skips import Left

from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, Performance, open_models

# A machine that does other work too makes any single example slow now and then, and its making too.
hypothesis.settings.register_profile(
    "kelly_edge", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("kelly_edge")


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The built-in defaults."""
    return Settings()


@pytest.fixture(scope="session")
def models(settings: Settings) -> Models:
    """The shipped models, proved by their golden vectors."""
    return open_models(settings)


@pytest.fixture(scope="session")
def demo_samples() -> np.ndarray:
    """The demo's recording: float32 [n] at 48 kHz."""
    return read_audio(demo_recording()).samples


@pytest.fixture(scope="session")
def demo_performance(settings: Settings, models: Models, demo_samples: np.ndarray) -> Performance:
    """What the defaults make of the demo's recording."""
    return Offline(settings, models, demo_samples).run()


def pytest_configure(config: pytest.Config) -> None:
    """Count."""
    is_whole = config.args == config.getini("testpaths")
    config.pluginmanager.register(Left(is_whole), "what did not run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of the whole chain first: they take longest, and run beside others then."""
    items.sort(key=lambda item: item.path.parent != config.rootpath / "tests")
