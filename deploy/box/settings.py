"""Settings from the courier: checked by the release that runs, put in place, proved, or taken back.

As with a release, the order makes a power cut harmless at every line: the file before is kept, then the trial
is written down, then the new file takes its place by one rename. After a cut the trial either names the file
that is in place, and ``confirm`` judges it, or it is forgotten. The way back is one rename too, so that it
needs no room on a full disk.
"""

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from deploy.box import switch
from deploy.box.disk import read_bounded, sync_folder, write_whole
from deploy.box.faults import ReleaseError
from deploy.box.health import Patience, prove
from deploy.box.layout import Layout, read_state
from deploy.box.programs import Programs

STATE: Final = "settings.json"
MAX_STATE_BYTES: Final = 64 << 10
"""Chosen by hand: a hundred times what is written."""
MAX_BYTES: Final = 1_000_000
"""The longest settings file that a release reads. Chosen there."""
CANDIDATE: Final = "settings"
"""A folder of root's own: what is checked here is what is put in place, wherever it came from."""
SHOWN: Final = 12
"""Characters of a digest that name settings to a person. Chosen by hand."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")


@dataclass(frozen=True)
class Trial:
    """``trial``: the sha256 of settings that have to prove themselves; ``last``: what happened last."""

    trial: str = ""
    last: str = ""


def read_trial(layout: Layout) -> Trial:
    """The state of the last push of settings; an empty one where there is none or it cannot be read."""
    try:
        raw: Any = json.loads(read_bounded(layout.home / STATE, MAX_STATE_BYTES).decode("utf-8"))
        if set(raw) != {part.name for part in fields(Trial)} or not all(
            isinstance(value, str) for value in raw.values()
        ):
            return Trial()
        return Trial(**raw)
    except (OSError, ReleaseError, ValueError, RecursionError, TypeError, AttributeError):
        return Trial()


def _write_trial(layout: Layout, trial: Trial) -> None:
    write_whole(layout.home / STATE, json.dumps(asdict(trial), indent=1).encode())


def before_of(layout: Layout) -> Path:
    """Where the settings that ran before are kept."""
    return layout.config.with_name(f"{layout.config.name}.before")


def name_of(content: bytes) -> str:
    """What settings are called in a line: the beginning of their sha256."""
    return f"settings {hashlib.sha256(content).hexdigest()[:SHOWN]}"


def digest(layout: Layout) -> str:
    """The sha256 of the settings in place; empty where there are none or they cannot be read."""
    with suppress(OSError, ReleaseError):
        return hashlib.sha256(read_bounded(layout.config.resolve(), MAX_BYTES)).hexdigest()
    return ""


def change(layout: Layout, programs: Programs, path: Path, patience: Patience) -> str:
    """Make the settings in ``path`` the box's if it is healthy with them; a line about it.

    The caller holds the lock of releases.

    Raises
    ------
    ReleaseError: they are refused, or the box fell ill with them and has those before again.
    """
    release, state = layout.current_release(), read_state(layout)
    switch.trusted(layout, release)
    if state.trial:
        raise ReleaseError(f"{state.trial} is on trial; wait for its verdict, or push a release")
    if layout.config.is_symlink():
        raise ReleaseError(f"{layout.config} is a link; put the file itself there")
    content = _read(path)
    before = _read(layout.config) if layout.config.exists() else None
    name = name_of(content)
    if fault := _fault(layout, programs, path.name, content):
        _write_trial(layout, Trial(last=f"{name} are refused: {fault}; those before stay"))
        raise ReleaseError(read_trial(layout).last)
    if content == before and not read_trial(layout).trial:
        return f"{name} are in place already"
    if before is None:
        # Kept from files that somebody removed since: no way back from these.
        before_of(layout).unlink(missing_ok=True)
    elif content != before:
        write_whole(before_of(layout), before)
    _write_trial(layout, Trial(trial=hashlib.sha256(content).hexdigest(), last=f"{name} are on trial"))
    try:
        write_whole(layout.config, content)
    except ReleaseError:
        with suppress(ReleaseError):
            _write_trial(layout, Trial(last=f"{name} could not be written; those before stay"))
        raise
    return _judge(layout, programs, name, patience, is_new=True)


def confirm(layout: Layout, programs: Programs, patience: Patience) -> str:
    """After a boot: judge settings that a power cut left on trial; a line, or nothing."""
    trial = read_trial(layout)
    if not trial.trial:
        return ""
    if trial.trial != digest(layout):
        _write_trial(
            layout, replace(trial, trial="", last="a power cut came first; the settings before stay")
        )
        return read_trial(layout).last
    return _judge(layout, programs, f"settings {trial.trial[:SHOWN]}", patience)


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, MAX_BYTES)
    except OSError as error:
        raise ReleaseError(f"cannot read {path} ({error.strerror}); send the settings again") from None


def _fault(layout: Layout, programs: Programs, name: str, content: bytes) -> str:
    """Why the release that runs refuses ``content``, or nothing; what runs is not touched."""
    candidate = layout.home / CANDIDATE / (name if _NAME.fullmatch(name) else layout.config.name)
    try:
        write_whole(candidate, content)
        return programs.check_config(layout.releases / layout.current_release(), candidate)
    finally:
        candidate.unlink(missing_ok=True)


def _judge(layout: Layout, programs: Programs, name: str, patience: Patience, is_new: bool = False) -> str:
    """Watch the box with the settings on trial (``is_new``: start it with them first); good, or back to
    those before.

    Raises
    ------
    ReleaseError: it was not healthy, with what it has now.
    """
    release = layout.releases / layout.current_release()
    try:
        if is_new:
            switch.restart(layout, programs)
        proof = prove(programs, release, patience, switch.had_card(layout))
    except ReleaseError as error:
        text = f"with {name} the box is not healthy: {error}; {_go_back(layout)}"
        switch.restart(layout, programs)
        # On a full disk too the settings before are back; only the note that says so is missing.
        _write_trial(layout, Trial(last=text))
        raise ReleaseError(text) from None
    text = f"{name} are good: {proof.line}"
    _write_trial(layout, Trial(last=text))
    switch.remember_card(layout, proof)
    return text


def _go_back(layout: Layout) -> str:
    """Put the settings before back; what was done, for a person."""
    before = before_of(layout)
    if not before.is_file():
        return "there are none to go back to"
    try:
        before.replace(layout.config)
        sync_folder(layout.config.parent)
    except OSError as error:
        return f"those before cannot be put back ({error.strerror}); they are in {before}"
    return "those before are back"
