"""The signed lists of keys on the laptop: ``keys/1.json``, ``keys/2.json`` and so on beside the signing key.

Each list says which keys are trusted, retired and revoked from then on, and is signed by a key that is
trusted before and after it. A box is sent all that it does not know yet, in their order: one that was
switched off for a year finds its way from the old key to the new one.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from deploy.box.disk import read_bounded, write_whole
from deploy.box.faults import ReleaseError
from deploy.box.keys import short
from deploy.box.trust import (
    KEY,
    KEYS,
    KEYS_NAMESPACE,
    MAX_KEYS_BYTES,
    KeyList,
    named_keys,
    parse_keys,
    seal,
    signer_lines,
    unseal,
)
from deploy.commands import run
from deploy.errors import DeployError


def public_key(path: Path) -> str:
    """The public key in ``path``, or beside it with ``.pub``, without its comment.

    Raises
    ------
    DeployError: there is none, or it is not Ed25519.
    """
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        words = read_bounded(public.resolve(), MAX_KEYS_BYTES).decode("utf-8", errors="replace").split()
    except OSError as error:
        raise DeployError(f"cannot read {public} ({error.strerror}); name a public key") from None
    if KEY.fullmatch(key := " ".join(words[:2])) is None:
        raise DeployError(f"{public} is not an Ed25519 public key; make one with `python -m deploy keys`")
    return key


def key_lists(key: Path) -> list[Path]:
    """The lists beside ``key``, the oldest first."""
    return sorted(
        (p for p in (key.parent / "keys").glob("*.json") if p.stem.isdigit()), key=lambda p: int(p.stem)
    )


def change_keys(key: Path, add: Sequence[Path], retire: Sequence[Path], revoke: Sequence[Path]) -> Path:
    """Write and sign the next list; its path.

    Raises
    ------
    DeployError: ``key`` is not trusted before and after, or nothing would change.
    """
    mine, lists = public_key(key), key_lists(key)
    before = KeyList(keys=(mine,))
    if lists:
        before = parse_keys(unseal(read_bounded(lists[-1], MAX_KEYS_BYTES), str(lists[-1]))[0])
    added, retired, revoked = ([public_key(path) for path in paths] for paths in (add, retire, revoke))
    if back := next((k for k in (*added, *retired) if k in before.revoked), None):
        raise DeployError(f"{short(back)} was revoked and stays so; make a new key")
    gone = {*retired, *revoked}
    after = KeyList(
        before.serial + 1,
        tuple(dict.fromkeys(k for k in (*before.keys, *added) if k not in gone)),
        tuple(dict.fromkeys(k for k in (*before.retired, *retired) if k not in {*revoked, *added})),
        tuple(dict.fromkeys((*before.revoked, *revoked))),
    )
    if mine not in before.keys or mine not in after.keys:
        raise DeployError(
            f"{key} is not trusted both before and after; sign with --key KEY that is, and add it first"
        )
    if {**asdict(after), "serial": 0} == {**asdict(before), "serial": 0}:
        raise DeployError("the list says so already; nothing was written")
    content = (json.dumps(asdict(after), indent=1) + "\n").encode()
    parse_keys(content)
    signature = run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", KEYS_NAMESPACE],
        stdin=content,
        remedy=f"check that {key} is an Ed25519 key without a passphrase, or in the agent",
    )
    path = key.parent / "keys" / f"{after.serial}.json"
    write_whole(path, seal(content, signature))
    return path


def merged_signers(there: str, sealed: str, ours: str) -> bytes:
    """The text of the box's ``allowed_signers`` with our key in it.

    Parameters
    ----------
    there: the box's file; sealed: its signed list of keys, or nothing; ours: the laptop's file.

    Raises
    ------
    DeployError: the box has retired or revoked our key, or a file of the box is damaged.
    """
    try:
        known, mine = named_keys(there), named_keys(ours)
        listed = parse_keys(unseal(sealed.encode(), KEYS)[0]) if sealed.strip() else KeyList()
    except ReleaseError as error:
        raise DeployError(str(error)) from None
    if any(key in (*listed.retired, *listed.revoked) for key in mine):
        raise DeployError("this box has retired or revoked your key; provision it with a key that it trusts")
    missing = [key for key in mine if key not in known]
    kept = there if there.endswith("\n") or not there else there + "\n"
    return kept.encode() + (signer_lines(missing) if missing else b"")
