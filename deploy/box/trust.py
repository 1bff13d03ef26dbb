"""Who may make a release: Ed25519 keys, as ``ssh-keygen -Y`` checks.

``/etc/kelly-edge/allowed_signers`` names the keys a box trusts. ``keys.json`` beside it is the signed list
that changes them (``keys.py``): a *retired* key signs nothing new, but what it signed and is installed stays;
from a *revoked* key nothing is taken, and what it signed runs no longer than until another release is good.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.box.disk import read_bounded, sha256_of
from deploy.box.faults import ReleaseError, printed
from deploy.box.manifest import MANIFEST, MAX_MANIFEST_BYTES, OBJECTS, SIGNATURE, Manifest, parse_manifest

SIGNER: Final = "kelly-edge-release"
NAMESPACE: Final = "kelly-edge-release"
KEYS_NAMESPACE: Final = "kelly-edge-keys"
"""A signature under a list of keys is none under a manifest, nor the other way."""
KEYS: Final = "keys.json"
# Chosen: a signature of ssh-keygen has 300 bytes, a key 100; far more is not ours.
MAX_SIGNATURE_BYTES: Final = 4_096
MAX_KEYS_BYTES: Final = 256 << 10
MAX_KEYS: Final = 500
CHECKED_WITHIN_S: Final = 60.0
"""Chosen: ssh-keygen hashes a manifest in milliseconds, on a busy board in seconds."""
KEY: Final = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{68}")
"""A public key without its comment."""
_SIGNER_LINE: Final = re.compile(
    rf'{SIGNER}( namespaces="[^"]*")? (?P<key>{KEY.pattern})( .*)?'
)  # fmt: skip

NEW_ONES: Final = frozenset({"keys"})
"""Whose signature a release needs to come in."""
INSTALLED_ONES: Final = NEW_ONES | {"retired"}
"""Whose signature lets an installed release run."""
RUNNING_ONE: Final = INSTALLED_ONES | {"revoked"}
"""Whose signature lets the release play on that plays now: a revocation silences no box."""


@dataclass(frozen=True)
class KeyList:
    """``serial`` grows from list to list; each key stands in one of the three groups."""

    serial: int = 0
    keys: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()


def _read(path: Path, longest: int) -> bytes:
    try:
        return read_bounded(path, longest)
    except OSError as error:
        raise ReleaseError(f"cannot read {path} ({error.strerror}); fetch the bundle again") from None


@contextmanager
def _in_memory(*contents: bytes) -> Iterator[list[int]]:
    """Descriptors of files that need no disk: a full one must not keep a box from checking."""
    with ExitStack() as stack:
        fds = []
        for content in contents:
            fd = os.memfd_create("kelly-edge")
            stack.callback(os.close, fd)
            os.write(fd, content)
            os.lseek(fd, 0, os.SEEK_SET)
            fds.append(fd)
        yield fds


def is_signed(content: bytes, signature: bytes, keys: Iterable[str], namespace: str = NAMESPACE) -> bool:
    """Whether one of ``keys`` signed ``content``.

    Raises
    ------
    ReleaseError: this cannot be found out.
    """
    signers = "".join(f'{SIGNER} namespaces="{namespace}" {key}\n' for key in keys).encode()
    with _in_memory(signers, signature) as fds:
        files = [f"/proc/self/fd/{fd}" for fd in fds]
        words = ["ssh-keygen", "-Y", "verify", "-f", files[0], "-I", SIGNER, "-n", namespace, "-s", files[1]]
        try:
            done = subprocess.run(
                words, input=content, capture_output=True, check=False, pass_fds=fds, timeout=CHECKED_WITHIN_S
            )
        except OSError as error:
            raise ReleaseError(f"cannot run ssh-keygen ({error.strerror}); install openssh-client") from None
        except subprocess.TimeoutExpired:
            raise ReleaseError(
                f"ssh-keygen does not end within {CHECKED_WITHIN_S:.0f} s; try again"
            ) from None
    return done.returncode == 0


def seal(content: bytes, signature: bytes) -> bytes:
    """Text and its signature as one file, which a power cut cannot take apart."""
    texts = {"signed": content.decode("utf-8"), "signature": signature.decode("ascii")}
    return (json.dumps(texts, indent=1) + "\n").encode()


def unseal(sealed: bytes, name: str) -> tuple[bytes, bytes]:
    """The text and the signature in ``sealed``; neither has been checked.

    Raises
    ------
    ReleaseError: it is not a sealed file.
    """
    try:
        texts = json.loads(sealed.decode("utf-8"))
        content, signature = str.encode(texts["signed"]), str.encode(texts["signature"])
    except (ValueError, RecursionError, TypeError, KeyError):
        raise ReleaseError(f"{name} is damaged; send it again") from None
    if len(signature) > MAX_SIGNATURE_BYTES or len(texts) > 2:
        raise ReleaseError(f"{name} is damaged; send it again")
    return content, signature


def named_keys(signers: str, where: str = "allowed_signers") -> tuple[str, ...]:
    """The keys in the text of an ``allowed_signers`` file.

    Raises
    ------
    ReleaseError: a line is no signer of releases.
    """
    found: dict[str, None] = {}
    for number, line in enumerate(signers.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SIGNER_LINE.fullmatch(line.strip())
        if match is None:
            raise ReleaseError(
                f"{where} line {number}: {printed(line)} is no signer; provision this box again"
            )
        found[match["key"]] = None
    return tuple(found)


def signer_lines(keys: Iterable[str], serial: int = 0) -> bytes:
    """The text of an ``allowed_signers`` file.

    Parameters
    ----------
    serial: of the list it follows from; a box that lost the list takes nothing new.
    """
    head = f"# {KEYS} {serial}\n" if serial else ""
    return (head + "".join(f'{SIGNER} namespaces="{NAMESPACE}" {key}\n' for key in keys)).encode()


def parse_keys(content: bytes) -> KeyList:
    """The list in ``content``.

    Raises
    ------
    ReleaseError: it is not one.
    """

    def fail(what: str) -> ReleaseError:
        return ReleaseError(f"{KEYS}: {what}; make it again with `python -m deploy keys`")

    try:
        raw: dict[str, Any] = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise fail(f"it is not JSON ({printed(str(error))})") from None
    if not isinstance(raw, dict) or set(raw) != {"serial", "keys", "retired", "revoked"}:
        raise fail("it does not hold serial, keys, retired and revoked")
    serial = raw.pop("serial")
    if type(serial) is not int or not 1 <= serial < 2**31:
        raise fail(f"serial is {printed(repr(serial), 40)}")
    for group, keys in raw.items():
        if not isinstance(keys, list) or len(keys) > MAX_KEYS:
            raise fail(f"{group} is not a list of at most {MAX_KEYS}")
        if odd := next((k for k in keys if not isinstance(k, str) or KEY.fullmatch(k) is None), None):
            raise fail(f"{group}: {printed(repr(odd), 60)} is not an Ed25519 key")
    every = [key for keys in raw.values() for key in keys]
    if len(set(every)) < len(every):
        raise fail("a key is there twice")
    if not raw["keys"]:
        raise fail("no key is left")
    return KeyList(serial, *(tuple(raw[group]) for group in ("keys", "retired", "revoked")))


def provisioned_keys(allowed_signers: Path) -> KeyList:
    """What ``allowed_signers`` says: the keys, and the serial of the list that it follows from, or 0.

    Raises
    ------
    ReleaseError: it is missing, or a line of it is no signer.
    """
    try:
        text = read_bounded(allowed_signers, MAX_KEYS_BYTES).decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise ReleaseError(
            f"{allowed_signers} is missing: no release is trusted; provision this box again"
        ) from None
    except OSError as error:
        raise ReleaseError(
            f"cannot read {allowed_signers} ({error.strerror}); provision this box again"
        ) from None
    promised = re.match(rf"# {re.escape(KEYS)} ([0-9]{{1,10}})\n", text)
    return KeyList(int(promised[1]) if promised else 0, named_keys(text, str(allowed_signers)))


def read_keys(allowed_signers: Path) -> KeyList:
    """What this box trusts now: the signed list where there is one, and the keys it was provisioned with.

    Raises
    ------
    ReleaseError: nobody is trusted, or the list is not what was signed.
    """
    provisioned, path = provisioned_keys(allowed_signers), allowed_signers.with_name(KEYS)
    try:
        sealed = read_bounded(path, MAX_KEYS_BYTES)
    except FileNotFoundError:
        if not provisioned.serial:
            return provisioned
        raise ReleaseError(f"{path} is missing, and with it what was revoked; send the keys again") from None
    except OSError as error:
        raise ReleaseError(f"cannot read {path} ({error.strerror}); send the keys again") from None
    content, signature = unseal(sealed, str(path))
    listed = parse_keys(content)
    both = [key for key in provisioned.keys if key in listed.keys]
    if not is_signed(content, signature, both, KEYS_NAMESPACE):
        raise ReleaseError(f"{path} is not what was signed; send the keys again")
    if provisioned.serial > listed.serial:
        raise ReleaseError(f"{path} is older than what this box had; send the keys again")
    gone = {*listed.retired, *listed.revoked}
    keys = dict.fromkeys((*listed.keys, *(key for key in provisioned.keys if key not in gone)))
    return KeyList(listed.serial, tuple(keys), listed.retired, listed.revoked)


def check_signature(
    content: bytes, signature: bytes, allowed_signers: Path, whose: frozenset[str] = NEW_ONES
) -> None:
    """Nothing, where a key of the groups ``whose`` signed ``content``.

    Raises
    ------
    ReleaseError: none did, or this cannot be found out.
    """
    try:
        listed = read_keys(allowed_signers)
    except ReleaseError:
        if whose == NEW_ONES:
            raise
        # What is installed plays on with the keys that can be read; nothing new comes in.
        listed = provisioned_keys(allowed_signers)
    keys = [key for group in sorted(whose) for key in getattr(listed, group)]
    if is_signed(content, signature, keys):
        return
    if listed.revoked and is_signed(content, signature, listed.revoked):
        raise ReleaseError(f"{SIGNATURE} is by a revoked key; sign and push with another")
    if listed.retired and is_signed(content, signature, listed.retired):
        raise ReleaseError(f"{SIGNATURE} is by a retired key; sign and push with another")
    raise ReleaseError(
        f"{SIGNATURE} is no signature of {MANIFEST} by a key in {allowed_signers}; "
        "sign with the right key, or provision this box with yours"
    )


def read_manifest(folder: Path, allowed_signers: Path, whose: frozenset[str] = NEW_ONES) -> Manifest:
    """The manifest in ``folder``, its signature checked first.

    Parameters
    ----------
    whose: groups of keys that may have signed it.

    Raises
    ------
    ReleaseError: not signed by such a key, or not a manifest.
    """
    content = _read(folder / MANIFEST, MAX_MANIFEST_BYTES)
    check_signature(content, _read(folder / SIGNATURE, MAX_SIGNATURE_BYTES), allowed_signers, whose)
    return parse_manifest(content)


def check_object(path: Path, sha256: str, size: int) -> None:
    """Nothing, where ``path`` holds the promised bytes.

    Raises
    ------
    ReleaseError: it is missing, cut short or damaged.
    """
    short = f"{OBJECTS}/{sha256[:12]}…"
    try:
        found = path.lstat().st_size
        if found != size:
            raise ReleaseError(f"{short} has {found} bytes instead of {size}; send the bundle again")
        if sha256_of(path) != sha256:
            raise ReleaseError(f"{short} is damaged; send the bundle again")
    except OSError as error:
        raise ReleaseError(f"cannot read {short} ({error.strerror}); send the bundle again") from None


def verify_bundle(folder: Path, allowed_signers: Path, present: frozenset[str] = frozenset()) -> Manifest:
    """The manifest of the bundle in ``folder``, after its signature and every object was checked.

    Parameters
    ----------
    present: sha256 of layers the box holds already, whose archives need not be there.
    """
    manifest = read_manifest(folder, allowed_signers)
    for sha256, size in manifest.objects.items():
        path = folder / OBJECTS / sha256
        if sha256 not in present or os.path.lexists(path):
            check_object(path, sha256, size)
    return manifest
