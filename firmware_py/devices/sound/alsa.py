"""The sound card through ALSA (pyalsaaudio), both directions as one device.

The card is opened by name; ALSA's ``plug`` converts its format, channels and rate to mono float32 at
the rate asked for. Nothing here waits without an end: a card that vanished or hangs becomes silence at
the pace of the clock, and is opened again when it is back.

One routine, ``_prime``, starts both directions and starts them again after an xrun: dropping both and
filling the playback buffer with silence gives the same latency every time, once what was played between
the two starts is made up for. Re-priming one direction alone changes the latency for good.
"""

import contextlib
import select
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.devices.box_packages import missing_package
from firmware_py.devices.quiet_libraries import hush_libraries
from firmware_py.devices.sound.absent_card import HANGS_AFTER_S, AbsentCard
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DeviceError

try:
    import alsaaudio  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError as error:
    raise missing_package(error) from None

XRUN: Final = -32
"""-EPIPE, as pyalsaaudio's read and write report it. Linux's errno 32, as ALSA uses it."""
BYTES_PER_FRAME: Final = 4
"""By definition: two channels of 16 bits."""
SURELY: Final = 3
"""Periods in a row after which a difference between the directions is no accident of looking. Chosen by
hand."""
ALIGN_ATTEMPTS: Final = 4
"""A period may begin between two looks at the card; not every time. Chosen by hand."""

_ABANDONED: Final[list[object]] = []
"""Streams that must not be closed; a process that holds some ends by ``os._exit``."""


def device_name(card: str) -> str:
    """The ALSA device of a setting: a card's own name becomes its converting device."""
    return f"plughw:CARD={card}" if card in alsaaudio.cards() else card


class AlsaCard:
    """A ``SoundCard``; counts its faults.

    Parameters
    ----------
    card: name of the card, or of an ALSA device such as ``default`` or ``plughw:CARD=USB``.
    period, n_periods: size of the card's buffer, in frames and periods.
    warn: told when the card goes and when it comes back.
    rate_hz: the card's; ``ResampledCard`` makes another one the instrument's.

    Raises
    ------
    DeviceError: the card is there but cannot do the rate or period asked for. An absent card is waited for.
    """

    def __init__(
        self,
        card: str,
        period: int,
        n_periods: int,
        warn: Callable[[str], None],
        rate_hz: int = SAMPLE_RATE_HZ,
    ) -> None:
        self.n_capture_xruns = 0
        self.n_playback_xruns = 0
        self.n_out_of_step = 0
        self.n_disconnects = 0
        self._card = card
        self._n_periods = n_periods
        self._period = period
        self._rate_hz = rate_hz
        self._period_s = period / rate_hz
        self._in = np.zeros(period, np.float32)
        self._in_bytes = self._in.view(np.uint8).data
        self._n_in = 0
        self._n_ahead = 0
        self._is_ready = False
        self._must_prime = False
        self._silence = bytes(n_periods * period * BYTES_PER_FRAME)
        self._out = np.zeros(period, np.float32)
        self._capture: alsaaudio.PCM | None = None
        self._playback: alsaaudio.PCM | None = None
        self._poll = self._poll_out = select.poll()
        hush_libraries()
        self._absent = AbsentCard(self._card, self._period_s, warn)
        self._open()

    @property
    def is_there(self) -> bool:
        """Whether sound flows."""
        return self._capture is not None

    # --- the port --------------------------------------------------------------------------

    def wait(self) -> None:
        """Until the next period is there, or as long as one takes when no card gives it."""
        self._n_in = 0
        if self._must_prime:
            self._prime()
        begin_s = time.monotonic()
        while self._capture is not None and self._n_in < self._period:
            left_s = begin_s + HANGS_AFTER_S - time.monotonic()
            if left_s <= 0.0:
                self._abandon()
            elif self._poll.poll(1e3 * left_s):
                self._take_in()
        if self._capture is None:
            self._in[:] = 0.0
            self._absent.pass_a_period(self._open)
        self._is_ready = True

    def read(self, out: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        if not self._is_ready:
            self.wait()
        self._is_ready = False
        out[:] = self._in

    def write(self, block: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        playback = self._playback
        if playback is None:
            return
        self._out[:] = block
        try:
            n_written = playback.write(self._out.data)
            if 0 <= n_written < self._period:
                # Full by a hair: the card hands over what it heard just before it takes what is played.
                self._poll_out.poll(1e3 * self._period_s)
                n_written += playback.write(self._out[n_written:].data)
        except alsaaudio.ALSAAudioError as error:
            self._lose(str(error))
            return
        if n_written != self._period:
            self.n_playback_xruns += n_written < 0
            self.n_out_of_step += n_written >= 0
            self._prime()
        elif self._capture is not None:
            self._keep_step(self._capture, playback)

    def close(self) -> None:
        """Let go of the card."""
        for pcm in (self._capture, self._playback):
            if pcm is not None:
                # Else closing plays the buffer out first.
                with contextlib.suppress(alsaaudio.ALSAAudioError):
                    pcm.drop()
                pcm.close()
        self._capture = self._playback = None

    # --- one period in ---------------------------------------------------------------------

    def _take_in(self) -> None:
        assert self._capture is not None
        try:
            n_frames, data = self._capture.read()
        except alsaaudio.ALSAAudioError as error:
            self._lose(str(error))
            return
        if n_frames == XRUN:
            self.n_capture_xruns += 1
            self._prime()
            return
        if n_frames == 0:
            # Readable with nothing to read: a server that died. Neither spin nor hang.
            time.sleep(self._period_s / 4)
            return
        first = self._n_in * BYTES_PER_FRAME
        n_bytes = min(len(data), len(self._in_bytes) - first)
        self._in_bytes[first : first + n_bytes] = data[:n_bytes]
        self._n_in += n_bytes // BYTES_PER_FRAME

    # --- both directions -------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._capture = self._pcm(alsaaudio.PCM_CAPTURE)
            self._playback = self._pcm(alsaaudio.PCM_PLAYBACK)
        except alsaaudio.ALSAAudioError as error:
            self.close()
            self._absent.goes(str(error))
            return
        except DeviceError:
            self.close()
            raise
        self._poll, self._poll_out = select.poll(), select.poll()
        for poll, pcm in ((self._poll, self._capture), (self._poll_out, self._playback)):
            for fd, events in pcm.polldescriptors():
                poll.register(fd, events)
        # Started by the first wait: a process still warming up would overrun at once.
        self._must_prime = True
        self._absent.comes("is back")

    def _pcm(self, direction: int) -> alsaaudio.PCM:
        wanted = {
            "rate": self._rate_hz,
            "channels": 1,
            "format": alsaaudio.PCM_FORMAT_FLOAT_LE,
            "periodsize": self._period,
        }
        pcm = alsaaudio.PCM(
            direction,
            alsaaudio.PCM_NONBLOCK,
            device=device_name(self._card),
            periods=self._n_periods,
            **wanted,
        )
        info = pcm.info()
        given = {
            "rate": info["rate"],
            "channels": info["channels"],
            "format": info["format"],
            "periodsize": info["period_size"],
        }
        if given != wanted:
            pcm.close()
            faults = [f"{n} {given[n]} for {value}" for n, value in wanted.items() if given[n] != value]
            raise DeviceError(
                f"sound card {self._card} gives {', '.join(faults)}; "
                "change audio.period or set audio.card to its plughw device"
            )
        return pcm

    def _prime(self) -> None:
        """Start both directions from nothing: the buffer full of silence, capture from now."""
        capture, playback = self._capture, self._playback
        self._must_prime = False
        if capture is None or playback is None:
            return
        self._n_in = 0
        try:
            # Who noticed counted its own direction, and ALSA prepared that one again.
            self.n_playback_xruns += self._has_xrun(playback)
            self.n_capture_xruns += self._has_xrun(capture)
            for pcm in (capture, playback):
                if pcm.state() not in (alsaaudio.PCM_STATE_PREPARED, alsaaudio.PCM_STATE_SETUP):
                    pcm.drop()
            silence = self._silence[: self._period * BYTES_PER_FRAME]
            for _ in range(self._n_periods):
                if playback.write(silence) == XRUN:
                    # What the drop left of the xrun; it is prepared again now.
                    playback.write(silence)
            # The first read starts the capture; it has nothing yet.
            capture.read()
            self._align(capture, playback)
        except alsaaudio.ALSAAudioError as error:
            self._lose(str(error))

    def _align(self, capture: alsaaudio.PCM, playback: alsaaudio.PCM) -> None:
        """Compensate for the sound played before the capture began, so that both streams are level."""
        for _ in range(ALIGN_ATTEMPTS):
            n_heard = capture.avail()
            n_room = playback.avail()
            if capture.avail() == n_heard:
                if n_room > n_heard:
                    playback.write(self._silence[: (n_room - n_heard) * BYTES_PER_FRAME])
                return

    def _keep_step(self, capture: alsaaudio.PCM, playback: alsaaudio.PCM) -> None:
        """A sound server under load passes over one direction now and then, and no xrun tells of it."""
        is_ahead = playback.avail() - capture.avail() >= self._period
        self._n_ahead = self._n_ahead + 1 if is_ahead else 0
        if self._n_ahead == SURELY:
            self._n_ahead = 0
            self.n_out_of_step += 1
            self._align(capture, playback)

    @staticmethod
    def _has_xrun(pcm: alsaaudio.PCM) -> bool:
        # The state alone is that of the last look at the card: ask how much is there first.
        try:
            pcm.avail()
        except alsaaudio.ALSAAudioError:
            return True
        return bool(pcm.state() == alsaaudio.PCM_STATE_XRUN)

    # --- no card ---------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        self.n_disconnects += 1
        self.close()
        self._absent.goes(why)

    def _abandon(self) -> None:
        # Closing a stream of a sound server that died hangs, or ends this process: keep it, unclosed.
        _ABANDONED.extend((self._capture, self._playback))
        self._capture = self._playback = None
        self._lose("gave no sound")
