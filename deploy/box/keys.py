"""From one set of trusted keys to the next: old, then both, then new, while the box plays on."""

from pathlib import Path

from deploy.box.disk import write_whole
from deploy.box.faults import ReleaseError
from deploy.box.trust import (
    KEYS,
    KEYS_NAMESPACE,
    KeyList,
    is_signed,
    parse_keys,
    provisioned_keys,
    read_keys,
    signer_lines,
    unseal,
)


def short(key: str) -> str:
    """Enough of a key to tell it from others."""
    return f"{key[:12]}…{key[-8:]}"


def accept(allowed_signers: Path, sealed: bytes) -> bool:
    """Keep the signed list ``sealed`` if it may follow the one this box has; whether it is new here.

    Its signer is trusted before and after: nobody lets himself in, and nobody is let in by a key that the
    list itself throws out. What was revoked stays revoked, and no trusted key is dropped without a word.

    Raises
    ------
    ReleaseError: it may not; nothing was changed.
    """
    content, signature = unseal(sealed, KEYS)
    new, (old, is_whole) = parse_keys(content), _known(allowed_signers)
    if new.serial < old.serial:
        return False
    signers = [key for key in old.keys if key in new.keys]
    if not is_signed(content, signature, signers, KEYS_NAMESPACE):
        raise ReleaseError(
            f"{KEYS} {new.serial} is not signed by a key that this box trusts and the list keeps; use one"
        )
    if new.serial == old.serial and is_whole:
        if (new.retired, new.revoked) == (old.retired, old.revoked) and set(new.keys) <= set(old.keys):
            return False
        raise ReleaseError(f"{KEYS} {new.serial} is another than the one this box has; make the next one")
    if back := [key for key in old.revoked if key not in new.revoked]:
        raise ReleaseError(f"{KEYS}: {short(back[0])} was revoked and stays so; name it among the revoked")
    named = {*new.keys, *new.retired, *new.revoked}
    if lost := [key for key in (*old.keys, *old.retired) if key not in named]:
        raise ReleaseError(f"{KEYS}: {short(lost[0])} is known here and not named; name it")
    # In this order: after a cut in between, the list is in force and its signer still stands in the file.
    write_whole(allowed_signers.with_name(KEYS), sealed)
    write_whole(allowed_signers, signer_lines(new.keys, new.serial))
    return True


def _known(allowed_signers: Path) -> tuple[KeyList, bool]:
    """What the box trusts, and whether its signed list is whole.

    A list that was lost or damaged is mended by sending it or a later one: what it revoked comes back.
    """
    try:
        return read_keys(allowed_signers), True
    except ReleaseError:
        return provisioned_keys(allowed_signers), False
