"""Who may make a release: an Ed25519 key in ``/etc/kelly-edge/allowed_signers``, as ssh-keygen checks."""

import subprocess
from pathlib import Path
from typing import Final

from deploy.box.faults import ReleaseError
from deploy.box.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    OBJECTS,
    SIGNATURE,
    Manifest,
    parse_manifest,
    sha256_of,
)

SIGNER: Final = "kelly-edge-release"
NAMESPACE: Final = "kelly-edge-release"
MAX_SIGNATURE_BYTES: Final = 4_096


def _read(path: Path, longest: int) -> bytes:
    try:
        if path.stat().st_size > longest:
            raise ReleaseError(f"{path.name} is larger than {longest} bytes; fetch the bundle again")
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"cannot read {path} ({error.strerror}); fetch the bundle again") from None


def check_signature(content: bytes, signature: Path, allowed_signers: Path) -> None:
    """Nothing, where a trusted key signed ``content``.

    Raises
    ------
    ReleaseError: it did not, or this cannot be found out.
    """
    if not allowed_signers.is_file():
        raise ReleaseError(f"{allowed_signers} is missing: no release is trusted; provision this box again")
    _read(signature, MAX_SIGNATURE_BYTES)
    words = ["ssh-keygen", "-Y", "verify", "-f", str(allowed_signers), "-I", SIGNER, "-n", NAMESPACE]
    try:
        done = subprocess.run([*words, "-s", str(signature)], input=content, capture_output=True, check=False)
    except OSError as error:
        raise ReleaseError(f"cannot run ssh-keygen ({error.strerror}); install openssh-client") from None
    if done.returncode:
        raise ReleaseError(
            f"{signature.name} is no signature of {MANIFEST} by a key in {allowed_signers}; "
            "sign with the right key, or provision this box with yours"
        )


def read_manifest(folder: Path, allowed_signers: Path) -> Manifest:
    """The manifest in ``folder``, its signature checked first.

    Raises
    ------
    ReleaseError: not signed by a trusted key, or not a manifest.
    """
    content = _read(folder / MANIFEST, MAX_MANIFEST_BYTES)
    check_signature(content, folder / SIGNATURE, allowed_signers)
    return parse_manifest(content)


def check_object(path: Path, sha256: str, size: int) -> None:
    """Nothing, where ``path`` holds the promised bytes.

    Raises
    ------
    ReleaseError: it is missing, cut short or damaged.
    """
    short = f"{OBJECTS}/{sha256[:12]}…"
    try:
        found = path.stat().st_size
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
        if sha256 not in present or path.exists():
            check_object(path, sha256, size)
    return manifest
