"""The virtual box for the tests; collected only where ``KELLY_APPLIANCE=1`` asks (``make appliance``)."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from box_build import FetchError, build_box, missing_on_host
from box_install import install
from box_instrument import BOOT, GADGET, MUSIC, PLAY, PLAYING, STOP, UNITS, Instrument, PowerOn
from box_machine import Machine, overlay

from kelly_edge.contract import SAMPLE_RATE_HZ

PROJECT = Path(__file__).resolve().parents[2]
RECORDING = PROJECT / "firmware_py/demo/sad_to_happy.flac"

if not os.environ.get("KELLY_APPLIANCE"):
    collect_ignore_glob = ["test_*.py"]


ORDER = ("test_power_on", "test_panel", "test_recovery", "test_system", "test_power_cut", "test_wheel")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """As a box is met: first it is switched on, its plug is pulled after the rest. A laptop comes last."""
    places = {stem: place for place, stem in enumerate(ORDER, 1)}
    items.sort(key=lambda item: places.get(item.path.stem, 0))


@pytest.fixture(scope="session")
def box() -> Path:
    """The folder with the box, from the cache or built now."""
    if reason := missing_on_host():
        pytest.skip(f"no virtual box: {reason}")
    try:
        return build_box()
    except FetchError as error:
        pytest.skip(f"no virtual box: its packages cannot be fetched ({error})")


@pytest.fixture(scope="session")
def released(box: Path) -> Path:
    """A disk on which this checkout's release is installed; ``$KELLY_VM_DISK`` names one to take instead."""
    given = os.environ.get("KELLY_VM_DISK")
    return Path(given) if given else install(box)


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 s of the demo's music as a WAV: stereo, 48 kHz, and a silent second against the drain's loss."""
    samples, rate_hz = soundfile.read(RECORDING, dtype="float32")
    samples = samples if samples.ndim == 1 else samples[:, 0]
    # At another rate than the box's the cable would run at the rate of who came first.
    samples = soxr.resample(samples[: 30 * rate_hz], rate_hz, SAMPLE_RATE_HZ)
    samples = np.concatenate([samples, np.zeros(SAMPLE_RATE_HZ, np.float32)])
    path = tmp_path_factory.mktemp("recording") / "music.wav"
    soundfile.write(path, np.stack([samples, samples], axis=1), SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def session_disk(released: Path, box: Path) -> Iterator[Path]:
    """A disk of this session's own."""
    disk = overlay(box / f"session-{os.getpid()}.qcow2", released)
    yield disk
    disk.unlink()


@pytest.fixture(scope="session")
def power_on(session_disk: Path, box: Path, recording: Path) -> PowerOn:
    """Switch the box on, play to it, and stop it; leaves the snapshot of a box that plays."""
    with Machine(box, session_disk) as machine:
        machine.wait_for_ssh()
        instrument = Instrument(machine)
        ready_s = instrument.wait_until_ready()
        states, lamp = instrument.states((*UNITS, GADGET, BOOT)), instrument.lamp()
        restarts = {unit: instrument.show(unit, "NRestarts") for unit in UNITS}
        ports, release = machine.ssh("aconnect -l"), instrument.journal(BOOT)
        machine.put(recording, MUSIC)
        since_s = instrument.now_s()
        machine.ssh(PLAY)
        instrument.wait_for_music(since_s)
        machine.save(PLAYING)
        machine.ssh(STOP)
        return PowerOn(
            ready_s,
            states,
            restarts,
            lamp,
            ports,
            release,
            instrument.heard(since_s),
            {kind: instrument.session(kind) for kind in ("emotion", "note", "counters")},
            "".join(map(instrument.journal, UNITS)),
        )


@pytest.fixture(scope="session")
def playing_disk(power_on: PowerOn, session_disk: Path) -> Path:
    """The disk with the snapshot ``PLAYING``, seconds away."""
    assert power_on.heard
    return session_disk


@pytest.fixture(scope="module")
def playing(playing_disk: Path, box: Path) -> Iterator[Instrument]:
    """A box that plays, one for the tests of a file."""
    with Machine(box, playing_disk, load=PLAYING) as machine:
        machine.wait_for_ssh()
        yield Instrument(machine)


@pytest.fixture
def disk_to_spoil(playing_disk: Path, box: Path) -> Iterator[Path]:
    """A copy of the disk with the snapshot."""
    copy = Path(shutil.copy(playing_disk, box / "spoiled.qcow2"))
    yield copy
    copy.unlink()
