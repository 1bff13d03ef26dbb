"""The sound card through PortAudio (sounddevice), for laptops: it knows their sound servers.

PortAudio calls back from a thread of its own once a period; two short rings and an eventfd carry periods to
and from the process's loop. (Its blocking calls were tried first: over JACK they corrupt the heap in
PortAudio 19.6.) After an xrun of either direction the callback empties both rings and fills the playback
ring with silence again, so that the latency stays the same.

PortAudio lists devices once, when it is initialised, and cannot leave a server that died: a card that is
lost ends the process, and its supervisor (systemd or ``kelly-edge run``) starts it anew.
"""

# ruff: noqa: E402  (sounddevice asks every sound system as it is imported, and they must be quiet by then)

from firmware_py.devices.quiet_libraries import hush_libraries
from firmware_py.devices.sound.absent_card import HANGS_AFTER_S

hush_libraries()

import math
import os
import select
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import sounddevice
from numpy.typing import NDArray

from firmware_py.devices.session.log import warn
from firmware_py.devices.sound.absent_card import AbsentCard
from kelly_edge.errors import DeviceError

PREFIX: Final = "portaudio:"
DEFAULT: Final = "default"
MOST_CHANNELS: Final = 2
"""The mono sound goes to both ears. Chosen: stereo."""


class Rings:
    """What the callback and the loop share: periods heard, and periods to play.

    The callback alone moves ``n_heard`` and ``n_played``, the loop ``n_read`` and ``n_written``; a reset is
    asked for by the loop, which then waits, and done by the callback. It begins out of step: a process still
    warming up would be too late at once.
    """

    def __init__(self, period: int, n_periods: int) -> None:
        self.n_capture_xruns = 0
        self.n_playback_xruns = 0
        # As a card's buffer: full of silence at the beginning, and the loop may be late by its length.
        self._n_primed = n_periods
        self._n = n_periods + 1
        self._heard = np.zeros((self._n, period), np.float32)
        self._to_play = np.zeros((self._n, period), np.float32)
        self.is_out_of_step = True
        self._must_reset = False
        self._n_heard = self._n_read = self._n_written = self._n_played = 0

    # --- the callback's side -------------------------------------------------------------------

    def exchange(self, heard: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """A period: ``heard`` [period] in, ``out`` [period, channels] filled."""
        if self._must_reset:
            self._reset()
        out[:] = 0.0
        if self.is_out_of_step:
            return
        if self._n_written == self._n_played or self._n_heard - self._n_read == self._n:
            # Nothing to play, and the period heard is lost with it.
            self.lose(is_capture=True, is_playback=True)
        else:
            self._heard[self._n_heard % self._n] = heard
            self._n_heard += 1
            out[:] = self._to_play[self._n_played % self._n][:, None]
            self._n_played += 1

    def lose(self, is_capture: bool, is_playback: bool) -> None:
        """The card itself lost something."""
        self.n_capture_xruns += is_capture
        self.n_playback_xruns += is_playback
        self.is_out_of_step = True

    def _reset(self) -> None:
        self._to_play[:] = 0.0
        self._n_heard = self._n_read = self._n_played = 0
        self._n_written = self._n_primed
        self._must_reset = self.is_out_of_step = False

    # --- the loop's side -----------------------------------------------------------------------

    @property
    def n_waiting(self) -> int:
        """Periods heard and not read."""
        return 0 if self._must_reset else self._n_heard - self._n_read

    def ask_for_reset(self) -> None:
        """Begin anew with the next period; read nothing until then."""
        self._must_reset = True

    def read(self, out: NDArray[np.float32]) -> None:
        """The oldest period waiting."""
        out[:] = self._heard[self._n_read % self._n]
        self._n_read += 1

    def write(self, block: NDArray[np.float32]) -> None:
        """A period to play; one too many is out of step."""
        if self._must_reset or self.is_out_of_step:
            return
        if self._n_written - self._n_played == self._n:
            self.is_out_of_step = True
            return
        self._to_play[self._n_written % self._n] = block
        self._n_written += 1


def end_process(text: str) -> None:
    """Say why, and leave without closing the stream, which would hang."""
    warn(text)
    os._exit(1)


def _forget_devices() -> None:
    """Leave every host; importing sounddevice joined them."""
    while sounddevice._initialized:
        sounddevice._terminate()


class PortAudioCard:
    """A ``SoundCard``; counts its faults.

    Parameters
    ----------
    name: of the device, or a part of it; ``default`` for the system's.
    rate_hz, period, n_periods: as of ``AlsaCard``.
    warn: told while the card is absent, and when it is there.
    lost: called, once, when a card that was there is gone.

    Raises
    ------
    DeviceError: the card is there but cannot do the rate or period asked for. An absent card is waited for.
    """

    def __init__(
        self,
        name: str,
        rate_hz: int,
        period: int,
        n_periods: int,
        warn: Callable[[str], None],
        lost: Callable[[str], None] = end_process,
    ) -> None:
        self._name = name.removeprefix(PREFIX) or DEFAULT
        self._rate_hz = rate_hz
        self._period = period
        self._period_s = period / rate_hz
        self._lost = lost
        self._rings = Rings(period, n_periods)
        self._n_periods = n_periods
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stream: Any = None
        self._is_ready = False
        self._is_silent = False
        self._absent = AbsentCard(self._name, self._period_s, warn)
        self._open()

    @property
    def is_there(self) -> bool:
        """Whether sound flows."""
        return self._stream is not None

    @property
    def n_capture_xruns(self) -> int:
        """Periods lost on the way in."""
        return self._rings.n_capture_xruns

    @property
    def n_playback_xruns(self) -> int:
        """Periods that came too late to be played."""
        return self._rings.n_playback_xruns

    # --- the port --------------------------------------------------------------------------

    def wait(self) -> None:
        """Until the next period is there, or as long as one takes when no card gives it."""
        rings, end_s = self._rings, time.monotonic() + HANGS_AFTER_S
        self._is_silent = self._stream is None
        while self._stream is not None and (rings.is_out_of_step or rings.n_waiting == 0):
            if rings.is_out_of_step:
                rings.ask_for_reset()
            left_s = end_s - time.monotonic()
            if left_s <= 0.0:
                self._stream, self._is_silent = None, True
                self._absent.reopen_s = math.inf
                self._lost(f"sound card {self._name} gave no sound; audio starts again to look for it")
            elif select.select((self._wake,), (), (), left_s)[0]:
                os.eventfd_read(self._wake)
        if self._is_silent:
            self._absent.pass_a_period(self._open)
        self._is_ready = True

    def read(self, out: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        if not self._is_ready:
            self.wait()
        self._is_ready = False
        if self._is_silent:
            out[:] = 0.0
        else:
            self._rings.read(out)

    def write(self, block: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        if not self._is_silent:
            self._rings.write(block)

    def close(self) -> None:
        """Let go of the card."""
        if self._stream is not None:
            self._stream.abort()
            self._stream.close()
            self._stream = None
        _forget_devices()
        os.close(self._wake)

    # --- the device ------------------------------------------------------------------------

    def _callback(
        self, heard: NDArray[np.float32], out: NDArray[np.float32], n_frames: int, when: Any, status: Any
    ) -> None:
        if status and (status.input_overflow or status.output_underflow):
            self._rings.lose(status.input_overflow, status.output_underflow)
        self._rings.exchange(heard[:, 0], out)
        os.eventfd_write(self._wake, 1)

    def _open(self) -> None:
        # Devices are listed once, at initialisation: list them anew.
        _forget_devices()
        sounddevice._initialize()
        try:
            devices = self._find()
        except (ValueError, sounddevice.PortAudioError) as error:
            self._absent.goes(str(error).splitlines()[0])
            return
        n_out = min(MOST_CHANNELS, int(sounddevice.query_devices(devices[1])["max_output_channels"]))
        try:
            stream = sounddevice.Stream(
                samplerate=self._rate_hz,
                blocksize=self._period,
                device=devices,
                channels=(1, n_out),
                dtype="float32",
                latency=self._period_s * self._n_periods,
                callback=self._callback,
            )
            stream.start()
        except sounddevice.PortAudioError as error:
            raise DeviceError(
                f"sound card {self._name} refuses {self._rate_hz} Hz in periods of {self._period} "
                f"({str(error).splitlines()[0]}); change audio.sample_rate_hz or audio.card"
            ) from None
        self._stream = stream
        self._absent.comes("is there")

    def _find(self) -> tuple[int, int]:
        """Numbers of the devices to hear and to play with."""
        if self._name == DEFAULT:
            found = [sounddevice.query_devices(kind=kind)["index"] for kind in ("input", "output")]
        else:
            listed = sounddevice.query_devices()
            names = {d["name"] for d in listed if self._name.lower() in d["name"].lower()}
            # The name itself before names that contain it.
            name = self._name if self._name in names else next(iter(sorted(names)), None)
            found = [
                next((d["index"] for d in listed if d["name"] == name and d[channels] > 0), -1)
                for channels in ("max_input_channels", "max_output_channels")
            ]
        if min(found) < 0:
            raise ValueError("no such device with an input and an output")
        return found[0], found[1]
