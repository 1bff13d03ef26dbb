"""What the ``control`` process is made of: knobs and log, panel, watch, reports, MIDI controllers.

Everything here may wait for a disk or a daemon; nothing real-time does. Part of the live wiring.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from firmware_py.board.map import Ends
from firmware_py.devices.files.clock import StreamClock
from firmware_py.devices.files.learned_controls import ControlsFile, controls_path
from firmware_py.devices.files.place_file import kept_place, place_path, store_place
from firmware_py.devices.files.programmes import numbered, open_programmes
from firmware_py.devices.files.prometheus import PrometheusFile
from firmware_py.devices.files.run_dir import make_run_dir
from firmware_py.devices.midi.port_names import ALSA, JACK, RAW
from firmware_py.devices.session.log import LoggedReports, SessionLog, warn
from firmware_py.devices.session.store import DAY_S, Bounds, sessions_folder
from firmware_py.devices.systemd.journal import JournalReports, is_listening
from firmware_py.ports import Outlet
from firmware_py.processes.clock_in import ClockInStage
from firmware_py.processes.commands import CommandStage
from firmware_py.processes.control import ControlStage
from firmware_py.processes.controllers import ControllerStage
from firmware_py.processes.feedback import FeedbackGuard
from firmware_py.processes.keyboard import Keyboard
from firmware_py.processes.link_in import LinkStage
from firmware_py.processes.pass_on import PassOn
from firmware_py.processes.place_keeper import PlaceKeeper
from firmware_py.processes.quiet_input import QuietInput
from firmware_py.processes.reports import ReportStage
from firmware_py.processes.sessions import SessionStage
from firmware_py.processes.watch import WatchStage
from firmware_py.settings import SessionSettings, Settings
from firmware_py.wiring.about import about_session
from firmware_py.wiring.pacing import every
from firmware_py.wiring.panel import PanelParts, every_or_moved, open_panel
from kelly_edge.contract import Listen

METRICS_EVERY_S: Final = 10.0
"""node_exporter is usually asked every 15 s. Chosen: a little shorter (Prometheus)."""
# Chosen: a line per minute, and an entry of counters per minute, are enough for a look back.
JOURNAL_EVERY_S: Final = 60.0
LOG_EVERY_S: Final = 60.0
LINK_BPM: Final = 120.0
"""Of a Link session that the box begins, until it plays. Chosen: as Link's own examples do."""


def open_outlets(settings: Settings, log: SessionLog) -> list[tuple[Outlet, float]]:
    """Where reports go, each with its pace."""
    outlets: list[tuple[Outlet, float]] = [(LoggedReports(log), LOG_EVERY_S)]
    if settings.session.prometheus:
        outlets.append((PrometheusFile(Path(settings.session.prometheus), warn), METRICS_EVERY_S))
    if is_listening(os.environ):
        outlets.append((JournalReports(), JOURNAL_EVERY_S))
    return outlets


def bounds_of(kept: SessionSettings) -> Bounds:
    """How much of the sessions the settings keep."""
    return Bounds(kept.keep_mb * 1_000_000, kept.keep_days * DAY_S)


def open_log(settings: Settings) -> SessionLog:
    """The session log the settings ask for, within their bounds."""
    kept = settings.session
    folder = sessions_folder(os.environ, settings.runtime.state_dir) if kept.log else None
    about = about_session(settings) if kept.log else {}
    return SessionLog(folder, bounds_of(kept), is_on=False, about=about)


@dataclass
class ControlParts:
    """The process's stages, stepped in order; one ``step()`` is a turn of all."""

    control: ControlStage
    commands: CommandStage
    watch: WatchStage
    quiet_input: QuietInput | None
    place: PlaceKeeper
    reports: ReportStage
    log: SessionLog
    sessions: SessionStage
    controllers: ControllerStage | None = None
    clock_in: ClockInStage | LinkStage | None = None
    panel: PanelParts | None = None

    def step(self) -> None:
        """One turn."""
        self.commands.step()
        self.sessions.step()
        self.control.step()
        self.watch.step()
        if self.quiet_input is not None:
            self.quiet_input.step()
        self.place.step()
        if self.controllers is not None:
            self.controllers.step()
        if self.clock_in is not None:
            self.clock_in.step()
        if self.panel is not None:
            self.panel.step()
        self._count()
        self.reports.step()

    def close(self) -> None:
        """Log and report the last counts."""
        self._count()
        if self.panel is not None:
            self.panel.close()
        self.control.close()
        self.place.close()
        self.watch.close()
        self.reports.close()
        self.log.close()

    def pace(self, period_s: float) -> Callable[[], None]:
        """Waits on a grid of ``period_s``, and where there is a panel, for hands."""
        return every(period_s) if self.panel is None else every_or_moved(period_s, self.panel.pins.woken)

    def _count(self) -> None:
        counters = self.control.counters
        counters["n_entries_lost"] = self.log.n_lost
        counters["n_reports_lost"] = self.reports.n_lost
        if self.controllers is not None:
            counters["n_controls"] = self.controllers.n_taken
            counters["n_refused_controls"] = self.controllers.n_refused
        self.control.publish()


def _is_returned(guard: FeedbackGuard, port: str, channel: int) -> bool:
    """``guard.returns``, which knows ports by their API too, of a port as its own thread knows it."""
    return any(guard.returns(api + port, channel) for api in (ALSA, JACK, RAW))


def open_control(settings: Settings, ends: Ends, clock: StreamClock) -> ControlParts:
    """The parts the settings ask for."""
    log = open_log(settings)
    listen = settings.ears.listen
    guard = FeedbackGuard(hears_keyboard=listen != Listen.MICROPHONE)
    names = numbered(settings)
    control = ControlStage(ends, settings, log, guard.played, names)
    sessions = SessionStage(
        ends, settings.session, control, log, open_programmes(settings), settings.voice.names, clock
    )
    reports = ReportStage(ends, clock, open_outlets(settings, log))
    commands = CommandStage(ends, control, clock, sessions.name_next, len(names), len(settings.voice.names))
    watch = WatchStage(ends, log, warn, clock)
    quiet_input = None if listen == Listen.KEYBOARD else QuietInput(ends, warn, clock)
    path = place_path(settings.runtime.state_dir, os.environ)
    place = PlaceKeeper(ends, partial(store_place, path), kept_place(path), warn, clock)
    parts = ControlParts(control, commands, watch, quiet_input, place, reports, log, sessions)
    clock_cell = ends.cell_to_write("clock")
    if settings.midi.inputs:
        from firmware_py.devices.midi.inputs import MidiInputs

        hand = None
        if settings.midi.pass_on:
            hand = PassOn(ends.cell_to_write("hand"), settings.composer.channel, clock)
        keyboard = None
        if listen != Listen.MICROPHONE:
            keyboard = Keyboard(ends, clock, partial(_is_returned, guard), warn)
        midi, held_s = settings.midi, settings.wireless.playout_ms / 1e3
        inputs = MidiInputs(midi.inputs, warn, midi.follow_clock, hand, keyboard, held_s)
        learned = ControlsFile(controls_path(settings.runtime.state_dir, os.environ), warn)
        parts.controllers = ControllerStage(
            control,
            inputs,
            learned.changed,
            guard,
            len(settings.voice.names),
            warn,
            clock,
            len(names),
        )
        if settings.midi.follow_clock:
            parts.clock_in = ClockInStage(inputs, clock_cell, clock)
    if settings.midi.follow_link:
        from firmware_py.devices.link_session import LinkSession

        parts.clock_in = LinkStage(LinkSession(LINK_BPM), ends, clock)
    if settings.panel.chip != "none":
        parts.panel = open_panel(settings, make_run_dir(settings.runtime.run_dir), ends, control, warn, clock)
    return parts
