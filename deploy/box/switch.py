"""From one release to the next, and back: flip, prove, keep or return.

The order makes a power cut harmless at every line: the release is complete before it is put on trial, the
trial is written down before the link flips, and the link flips by one rename. What is left to do after a cut
follows from the state and the link alone (``at_boot``, ``confirm``). Only a verdict of the health check takes
a release away, never a count of boots: quick power cycles change nothing.
"""

import fcntl
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from deploy.box import store
from deploy.box.disk import read_bounded, readable_by_all, sync_folder, write_link, write_whole
from deploy.box.faults import ReleaseError
from deploy.box.health import Patience, Proof, listen, prove, rehearse
from deploy.box.inspection import MENDED, read_inspection, write_inspection
from deploy.box.layout import REBUILT, Layout, State, flip, keep_highest, read_state, write_state
from deploy.box.limits import limits_of
from deploy.box.manifest import Manifest
from deploy.box.programs import TARGET, Programs
from deploy.box.trust import INSTALLED_ONES, RUNNING_ONE, read_manifest

SYSTEMD: Final = "system/systemd"
LISTEN_S: Final = 1.0
"""Time over which a glance counts. Chosen: a box is judged often, a glance must be short."""
GLANCE: Final = 0.5
"""In a second a busy board may be late, or have one xrun; it is deaf or silent below half of what is due.
Chosen by hand."""
HAD_CARD: Final = "had-card"
"""There once a sound card played on this box; remove it where the box is meant to be without."""
LINKED: Final = ("system", "sysusers.d", "tmpfiles.d", "modules-load.d", "udev/rules.d")
"""Folders of a release's ``systemd/`` that /etc links into; ``system`` is /etc/systemd/system."""

LOOK_EVERY_S: Final = 0.2
"""Chosen: a unit that is ready is seen at once."""
WAITING_S: Final = 3600.0
"""How long uploads and installed releases that never ran are kept at least. Chosen: longer than any
upload."""
MAX_CONFIG_BYTES: Final = 1 << 20
"""Chosen: as ``shared.yaml_file.MAX_BYTES``."""


@contextmanager
def only_one(layout: Layout, wait_s: float = 0.0) -> Iterator[None]:
    """One change of releases at a time.

    Parameters
    ----------
    wait_s: how long to wait for another to end.

    Raises
    ------
    ReleaseError: another is under way.
    """
    with readable_by_all():
        layout.home.mkdir(parents=True, exist_ok=True)
    fd = os.open(layout.home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= end_s:
                    raise ReleaseError("another change of releases is under way; wait for it") from None
                time.sleep(LOOK_EVERY_S)
        yield
    finally:
        os.close(fd)


def check_counter(state: State, manifest: Manifest, allow_older: bool) -> None:
    """Nothing, where the box may take ``manifest``.

    Raises
    ------
    ReleaseError: it is older than what this box proved good.
    """
    if manifest.counter < state.floor and not allow_older:
        raise ReleaseError(
            f"{manifest.release} has counter {manifest.counter} and this box had {state.floor}; "
            "build a newer one, or push with --allow-older"
        )


def trusted(layout: Layout, release: str, deep: bool = False) -> Manifest:
    """The manifest of an installed release, its signature and files checked.

    What runs, or what the box would fall back to, may be by a key that was revoked since: it plays on until
    another release is good.

    Raises
    ------
    ReleaseError: it is not installed, not signed or damaged.
    """
    if release not in layout.installed():
        raise ReleaseError(
            f"{release} is not installed; push it" if release else "no release runs here; push one"
        )
    is_needed = release in (layout.current_release(), read_state(layout).fallback)
    whose = RUNNING_ONE if is_needed else INSTALLED_ONES
    manifest = read_manifest(layout.releases / release, layout.allowed_signers, whose)
    if manifest.release != release:
        raise ReleaseError(f"{layout.releases / release} holds {manifest.release}; push {release} again")
    store.check_release(layout, manifest, deep)
    return manifest


def switch(layout: Layout, programs: Programs, release: str, patience: Patience) -> str:
    """Make ``release`` the one that runs if it proves healthy; a line about it.

    Raises
    ------
    ReleaseError: it does not; the release before runs again, and the text says which.
    """
    manifest = trusted(layout, release, deep=True)
    before, state = layout.current_release(), read_state(layout)
    inspected = read_inspection(layout)
    is_proved = before == release and release in state.good and not state.trial
    if is_proved and not (inspected.release == release and inspected.fault):
        link_units(layout)
        return f"{release} runs already and is good"
    if state.last == REBUILT:
        # Made again it takes what is installed for good; this release has yet to be proved.
        state = replace(state, good=tuple(r for r in state.good if r != release))
        write_state(layout, state)
    try:
        rehearsal = rehearse(programs, layout.releases / release)
    except ReleaseError as error:
        stays = f"{before} stays" if before else "nothing ran before"
        note(layout, f"{release} failed its rehearsal: {error}; {stays}")
        raise ReleaseError(read_state(layout).last) from None
    fallback = next((r for r in _ways_back(state, before, release) if _is_sound(layout, r)), "")
    write_state(
        layout,
        replace(state, trial=release, fallback=fallback, config_before=_settings(layout) if fallback else ""),
    )
    flip(layout, release)
    restart(layout, programs)
    return f"{judge(layout, programs, manifest, patience)}; {rehearsal}"


def _ways_back(state: State, before: str, release: str) -> list[str]:
    """Where to go if ``release`` fails: the release that ran, its own fallback, other good ones."""
    ways = dict.fromkeys((before, state.fallback, *reversed(state.good)))
    return [way for way in ways if way and way != release]


def _settings(layout: Layout) -> str:
    """The box's settings, whatever bytes they are.

    Raises
    ------
    ReleaseError: they cannot be read.
    """
    try:
        return read_bounded(layout.config.resolve(), MAX_CONFIG_BYTES).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ReleaseError(f"cannot read {layout.config} ({error.strerror}); mend it") from None


def judge(layout: Layout, programs: Programs, manifest: Manifest, patience: Patience) -> str:
    """Watch the release on trial; good, or back to the one before.

    Raises
    ------
    ReleaseError: it was not healthy, with where the box is now.
    """
    release = manifest.release
    try:
        proof = prove(programs, layout.releases / release, patience, had_card(layout))
    except ReleaseError as error:
        state = read_state(layout)
        if not state.fallback:
            note(layout, f"{release} is not healthy: {error}; there is no release to go back to")
            raise ReleaseError(read_state(layout).last) from None
        text = f"{release} is not healthy: {error}; back on {state.fallback}"
        go_back(layout, programs, state.fallback, text)
        raise ReleaseError(text) from None
    text = f"{release} is good: {proof.line}"
    state = replace(read_state(layout).passed(release, manifest.counter), last=text)
    write_state(layout, state)
    keep_highest(layout, manifest)
    write_inspection(layout, release)
    remember_card(layout, proof)
    tidy(layout)
    return text


def go_back(layout: Layout, programs: Programs, release: str, text: str) -> None:
    """Run ``release``, which was good before, and forget the trial."""
    state = read_state(layout)
    try:
        _restore_settings(layout, programs, state, release)
    finally:
        # On a full disk too: what cannot be written down now follows from the link at the next boot.
        flip(layout, release)
        restart(layout, programs)
    write_state(layout, replace(state, trial="", fallback="", config_before="", last=text))


def _restore_settings(layout: Layout, programs: Programs, state: State, release: str) -> None:
    """Undo settings that the newer release wrote and ``release`` refuses.

    Before the flip: a power cut between the two leaves settings that both can read.
    """
    if not state.config_before or not layout.config.is_file():
        return
    before = state.config_before.encode("utf-8", "surrogateescape")
    if _settings(layout) != state.config_before and programs.check_config(layout.releases / release):
        write_whole(layout.config, before)


def rollback(layout: Layout, programs: Programs, release: str, patience: Patience) -> str:
    """By hand: to ``release``, or to the good one before the current; a line about it.

    Raises
    ------
    ReleaseError: there is none, or it is not healthy.
    """
    current, state = layout.current_release(), read_state(layout)
    target = release or _earlier_sound(layout, state, current)
    trusted(layout, target, deep=True)
    go_back(layout, programs, target, f"rolled back from {current} to {target} by hand")
    try:
        proof = prove(programs, layout.releases / target, patience, had_card(layout))
    except ReleaseError as error:
        note(layout, f"rolled back from {current} to {target} by hand; it is not healthy: {error}")
        raise ReleaseError(read_state(layout).last) from None
    state = read_state(layout)
    good = (*(r for r in state.good if r != target), target)
    write_state(layout, replace(state, good=good))
    write_inspection(layout, target)
    remember_card(layout, proof)
    return f"{target} runs: {proof.line}"


def _earlier_sound(layout: Layout, state: State, current: str) -> str:
    """The last good release before the current one, every byte of which is right.

    Raises
    ------
    ReleaseError: there is none, with the fault of the last.
    """
    fault = "this box has no earlier good release; push one"
    earlier = [r for r in state.good if r != current and r in layout.installed()]
    for release in reversed(earlier):
        try:
            return trusted(layout, release, deep=True).release
        except ReleaseError as error:
            fault = str(error)
    raise ReleaseError(fault)


def at_boot(layout: Layout, programs: Programs) -> str:
    """Before the units start: clean up after a cut, and run a release that is sound; a line about it.

    Raises
    ------
    ReleaseError: nothing on this box is sound.
    """
    store.remove_leftovers(layout)
    state, current = read_state(layout), layout.current_release()
    if state.last == REBUILT:
        write_state(layout, state)
    if state.trial and state.trial != current:
        # Cut between the note and the flip, or after the way back: the link says what runs.
        state = replace(state, trial="", fallback="", config_before="")
        write_state(layout, state)
    try:
        trusted(layout, current)
    except ReleaseError as fault:
        candidates = [r for r in reversed((*state.good, state.fallback)) if r and r != current]
        sound = next((r for r in candidates if _is_sound(layout, r)), "")
        sound = sound or _mended_from_store(layout, [current, *candidates])
        if not sound:
            text = f"{fault}; no other release on this box is sound"
            note(layout, text)
            raise ReleaseError(text) from None
        go_back(layout, programs, sound, f"{current or 'no release'} cannot run ({fault}); back on {sound}")
        return read_state(layout).last
    if link_units(layout):
        programs.reload()
    return f"{current} is sound" + (", on trial" if state.trial else "")


def _mended_from_store(layout: Layout, candidates: Sequence[str]) -> str:
    """The first release that is sound once it is linked anew from intact files of the store, or None."""
    for release in candidates:
        with suppress(ReleaseError):
            known = read_manifest(layout.releases / release, layout.allowed_signers, RUNNING_ONE)
            if known.release == release:
                store.mend_release(layout, known)
                return trusted(layout, release, deep=True).release
    return ""


def confirm(layout: Layout, programs: Programs, patience: Patience) -> str:
    """After the units were started at boot: judge a release that a power cut left on trial."""
    state, current = read_state(layout), layout.current_release()
    if not state.trial or state.trial != current:
        return f"{current or 'no release'}: nothing on trial"
    return judge(layout, programs, trusted(layout, current), patience)


def had_card(layout: Layout) -> bool:
    """Whether a sound card played while a release of this box proved itself."""
    return (layout.home / HAD_CARD).is_file()


def remember_card(layout: Layout, proof: Proof) -> None:
    """A card that played once is missed when it is gone."""
    if proof.has_card and not had_card(layout):
        write_whole(layout.home / HAD_CARD, b"")


def silence(layout: Layout, programs: Programs) -> str:
    """Why the running box is silent or deaf now, or nothing."""
    release = layout.releases / layout.current_release()
    try:
        if (limits := limits_of(release)) is not None:
            before = programs.reading(release)
            programs.wait(LISTEN_S)
            glance = replace(
                limits,
                xruns=math.inf,
                share_of_periods=GLANCE * limits.share_of_periods,
                hops_per_s=GLANCE * limits.hops_per_s,
            )
            listen(before, programs.reading(release), glance, had_card(layout))
    except ReleaseError as error:
        return str(error)
    return ""


def note(layout: Layout, text: str) -> None:
    """Remember ``text`` as what happened last."""
    write_state(layout, replace(read_state(layout), last=text))


def restart(layout: Layout, programs: Programs) -> None:
    """Start what the current release's units say."""
    link_units(layout)
    programs.reload()
    programs.restart()


def tidy(layout: Layout, now_s: float | None = None) -> list[str]:
    """Remove what no rule keeps; names of the releases that went.

    Kept are the current release and the good one before it; the one on trial and the one it would go back to;
    of those that were never good, the newest, and any that came within the last hour: somebody is about to
    switch to it. Layers go with the last release or upload that names them; uploads when an hour brought
    nothing more.
    """
    now_s = time.time() if now_s is None else now_s
    state, current = read_state(layout), layout.current_release()
    installed = layout.installed()
    good = [r for r in state.good if r in installed and r != current and _is_trusted(layout, r)]
    needed = {current, state.trial, state.fallback, *good[-1 if current else -2 :]}
    waiting = sorted((_made_s(layout.releases / r), r) for r in installed if r not in {*state.good, *needed})
    recent = {r for made_s, r in waiting if now_s - made_s < WAITING_S}
    kept = {*needed, *recent, *(r for _, r in waiting[-1:])} - {""}
    store.remove_uploads(layout, now_s - WAITING_S)
    layers: set[str] = set()
    is_known = True
    for folder in (*(layout.releases / release for release in kept), *store.uploads(layout)):
        try:
            layers |= set(read_manifest(folder, layout.allowed_signers, RUNNING_ONE).objects)
        except ReleaseError:
            if folder.parent == layout.releases:
                # Which layers it needs cannot be read: none goes, so that a push can mend it.
                is_known = False
    gone = store.remove_all_but(layout, kept, layers if is_known else None)
    if (left := tuple(r for r in state.good if r in kept)) != state.good:
        write_state(layout, replace(state, good=left))
    return gone


def _is_trusted(layout: Layout, release: str) -> bool:
    try:
        read_manifest(layout.releases / release, layout.allowed_signers, INSTALLED_ONES)
    except ReleaseError:
        return False
    return True


def _made_s(folder: Path) -> float:
    with suppress(OSError):
        return folder.lstat().st_mtime
    return 0.0


def inspect(layout: Layout) -> str:
    """Read every byte of the running release and of the one before; a line about it.

    The lock is held for writing the result down only: a change of releases meanwhile checks by itself.

    Raises
    ------
    ReleaseError: the running release is damaged, or the one before is.
    """
    current, faults = layout.current_release(), ["", ""]
    state = read_state(layout)
    earlier = next((r for r in _ways_back(state, "", current) if r in layout.installed()), "")
    for number, release in enumerate((current, earlier)):
        try:
            if release or not number:
                trusted(layout, release, deep=True)
        except ReleaseError as error:
            faults[number] = str(error)
    with only_one(layout):
        before = read_inspection(layout)
        if layout.current_release() != current or read_state(layout) != state:
            return "releases changed meanwhile; nothing was noted"
        if before.release == current and before.fault == MENDED and not faults[0]:
            faults[0] = MENDED
        write_inspection(layout, current, *faults)
    if fault := faults[0] or faults[1]:
        raise ReleaseError(fault)
    return f"{' and '.join(r for r in (current, earlier) if r)}: every byte is right"


def _is_sound(layout: Layout, release: str) -> bool:
    """Every byte: what the box turns to in need must not fail it."""
    try:
        trusted(layout, release, deep=True)
    except ReleaseError:
        return False
    return True


def link_units(layout: Layout) -> bool:
    """Let /etc point at the current release's units; whether anything changed.

    Links go through ``current``: after a flip they lead to the new release's files.
    """
    source, inside = layout.current / SYSTEMD, "/opt/kelly-edge/current"
    wanted: dict[Path, str] = {}
    for folder in LINKED:
        place = layout.root / "etc" / ("systemd/system" if folder == "system" else folder)
        for path in sorted((source / folder).rglob("*")):
            if path.is_file():
                tail = path.relative_to(source / folder)
                wanted[place / tail] = f"{inside}/{SYSTEMD}/{folder}/{tail}"
    target = layout.units / TARGET
    if target in wanted:
        wanted[layout.units / "multi-user.target.wants" / TARGET] = str(Path("..") / TARGET)
    changed = False
    for place, points_to in wanted.items():
        if place.is_symlink() and os.readlink(place) == points_to:
            continue
        with readable_by_all():
            place.parent.mkdir(parents=True, exist_ok=True)
        write_link(place, points_to)
        changed = True
    for folder in LINKED:
        place = layout.root / "etc" / ("systemd/system" if folder == "system" else folder)
        for path in place.rglob("*") if place.is_dir() else ():
            if path.is_symlink() and path not in wanted and os.readlink(path).startswith(f"{inside}/"):
                path.unlink()
                sync_folder(path.parent)
                changed = True
    return changed
