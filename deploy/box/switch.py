"""From one release to the next, and back: flip, prove, keep or return.

The order makes a power cut harmless at every line: the release is complete before it is put on trial, the
trial is written down before the link flips, and the link flips by one rename. What is left to do after a cut
follows from the state and the link alone (``at_boot``, ``confirm``). Only a verdict of the health check takes
a release away, never a count of boots: quick power cycles change nothing.
"""

import fcntl
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from deploy.box import store
from deploy.box.faults import ReleaseError
from deploy.box.health import Patience, Proof, listen, prove, rehearse
from deploy.box.layout import Layout, State, flip, read_state, write_state, write_whole
from deploy.box.limits import limits_of
from deploy.box.manifest import Manifest
from deploy.box.programs import TARGET, Programs
from deploy.box.trust import read_manifest

SYSTEMD: Final = "system/systemd"
LISTEN_S: Final = 1.0
GLANCE: Final = 0.5
"""In a second a busy board may be late, or have one xrun; it is deaf or silent below half of what is due."""
HAD_CARD: Final = "had-card"
"""There once a sound card played on this box; remove it where the box is meant to be without."""
LINKED: Final = ("system", "sysusers.d", "tmpfiles.d", "modules-load.d", "udev/rules.d")
"""Folders of a release's ``systemd/`` that /etc links into; ``system`` is /etc/systemd/system."""


@contextmanager
def only_one(layout: Layout) -> Iterator[None]:
    """One change of releases at a time.

    Raises
    ------
    ReleaseError: another is under way.
    """
    layout.home.mkdir(parents=True, exist_ok=True)
    fd = os.open(layout.home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ReleaseError("another change of releases is under way; wait for it") from None
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

    Raises
    ------
    ReleaseError: it is not installed, not signed or damaged.
    """
    if release not in layout.installed():
        raise ReleaseError(
            f"{release} is not installed; push it" if release else "no release runs here; push one"
        )
    manifest = read_manifest(layout.releases / release, layout.allowed_signers)
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
    if before == release and release in state.good and not state.trial:
        link_units(layout)
        return f"{release} runs already and is good"
    try:
        rehearsal = rehearse(programs, layout.releases / release)
    except ReleaseError as error:
        stays = f"{before} stays" if before else "nothing ran before"
        note(layout, f"{release} failed its rehearsal: {error}; {stays}")
        raise ReleaseError(read_state(layout).last) from None
    fallback = before if before != release else state.fallback
    if fallback and _is_sound(layout, fallback):
        config = layout.config.read_text(encoding="utf-8") if layout.config.is_file() else ""
    else:
        fallback, config = "", ""
    write_state(layout, replace(state, trial=release, fallback=fallback, config_before=config))
    flip(layout, release)
    restart(layout, programs)
    return f"{judge(layout, programs, manifest, patience)}; {rehearsal}"


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
    write_state(layout, replace(read_state(layout).passed(release, manifest.counter), last=text))
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
    before = state.config_before.encode()
    if layout.config.read_bytes() != before and programs.check_config(layout.releases / release):
        write_whole(layout.config, before)


def rollback(layout: Layout, programs: Programs, release: str, patience: Patience) -> str:
    """By hand: to ``release``, or to the good one before the current; a line about it.

    Raises
    ------
    ReleaseError: there is none, or it is not healthy.
    """
    current, state = layout.current_release(), read_state(layout)
    earlier = [r for r in state.good if r != current and r in layout.installed()]
    target = release or (earlier[-1] if earlier else "")
    if not target:
        raise ReleaseError("this box has no earlier good release; push one")
    trusted(layout, target, deep=True)
    go_back(layout, programs, target, f"rolled back from {current} to {target} by hand")
    proof = prove(programs, layout.releases / target, patience, had_card(layout))
    state = read_state(layout)
    good = (*(r for r in state.good if r != target), target)
    write_state(layout, replace(state, good=good))
    remember_card(layout, proof)
    return f"{target} runs: {proof.line}"


def at_boot(layout: Layout, programs: Programs) -> str:
    """Before the units start: clean up after a cut, and run what is sound; a line about it.

    Raises
    ------
    ReleaseError: nothing on this box is sound.
    """
    store.remove_leftovers(layout)
    state, current = read_state(layout), layout.current_release()
    if state.trial and state.trial != current:
        # Cut between the note and the flip, or after the way back: the link says what runs.
        state = replace(state, trial="", fallback="", config_before="")
        write_state(layout, state)
    try:
        trusted(layout, current)
    except ReleaseError as fault:
        candidates = [r for r in reversed((*state.good, state.fallback)) if r and r != current]
        sound = next((r for r in candidates if _is_sound(layout, r)), "")
        if not sound:
            raise ReleaseError(f"{fault}; no other release on this box is sound") from None
        go_back(layout, programs, sound, f"{current or 'no release'} cannot run ({fault}); back on {sound}")
        return read_state(layout).last
    if link_units(layout):
        programs.reload()
    return f"{current} is sound" + (", on trial" if state.trial else "")


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


def tidy(layout: Layout) -> None:
    """Keep the current release and the good one before it."""
    state, current = read_state(layout), layout.current_release()
    good = [r for r in state.good if r in layout.installed() and r != current]
    kept = {current, *good[-1:], state.trial, state.fallback} - {""}
    layers: set[str] = set()
    for release in kept:
        with suppress(ReleaseError):
            manifest = read_manifest(layout.releases / release, layout.allowed_signers)
            layers |= {layer.sha256 for layer in manifest.layers}
    store.remove_all_but(layout, kept, layers)
    shutil.rmtree(layout.incoming, ignore_errors=True)
    write_state(layout, replace(state, good=tuple(r for r in state.good if r in kept)))


def _is_sound(layout: Layout, release: str) -> bool:
    try:
        trusted(layout, release)
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
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(points_to)
        beside.replace(place)
        changed = True
    for folder in LINKED:
        place = layout.root / "etc" / ("systemd/system" if folder == "system" else folder)
        for path in place.rglob("*") if place.is_dir() else ():
            if path.is_symlink() and path not in wanted and os.readlink(path).startswith(f"{inside}/"):
                path.unlink()
                changed = True
    return changed
