"""An Ableton Link session on the local network, through LinkPython-extern (the extra ``link``).

Link's own threads do the work, in whatever process opens it: never in a real-time one. Whoever is alone in a
session decides on its tempo; afterwards the box follows, and changes nothing.
"""

from firmware_py.devices.box_packages import missing_package
from kelly_edge.errors import DeviceError
from kelly_edge.rhythm.midi_clock import N_BEATS


class LinkSession:
    """Joins the session that is there, or begins one at ``bpm``.

    Raises
    ------
    DeviceError: the extra ``link`` is not installed, or Link finds no network interface to open.
    """

    def __init__(self, bpm: float) -> None:
        try:
            from link import Link
        except ImportError as error:
            raise missing_package(error, "link") from None
        try:
            self._link = Link(bpm)
            self._link.enabled = True
        except RuntimeError as error:
            raise DeviceError(f"Link cannot be joined ({error}); set midi.follow_link=false") from None

    def beat(self) -> tuple[float, float] | None:
        """Beats since the bar line, now, and seconds from beat to beat; None where nobody else is there."""
        if self._link.numPeers() == 0:
            return None
        state = self._link.captureAppSessionState()
        # Link knows no metre: bars are taken to be as long as with MIDI clock.
        return state.phaseAtTime(self._link.clock().micros(), N_BEATS), 60.0 / state.tempo()

    def propose(self, bpm: float) -> None:
        """The tempo of whoever joins us; nothing where somebody is there already."""
        if self._link.numPeers():
            return
        state = self._link.captureAppSessionState()
        state.setTempo(bpm, self._link.clock().micros())
        self._link.commitAppSessionState(state)

    def close(self) -> None:
        """Leave the session."""
        self._link.enabled = False
