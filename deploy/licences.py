"""Under which licence a package may be passed on: an SPDX expression, from its own metadata.

Older packages say it in words. Words that mean one licence are translated; for the few packages that say too
little, the answer was read from the licence file in the package.
"""

import re
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from deploy.errors import DeployError

WORDS: Final = {
    "MIT License": "MIT",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "PSF": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "unlicense.org": "Unlicense",
}
READ_FROM_FILE: Final = {
    "mpmath": "BSD-3-Clause",
    # Its own, and what it has taken in: appdirs; NetworkX, cloudpickle, NumPy; CPython; pythoncapi_compat.
    # The headers of NVIDIA's that its wheel holds are left out of a release (deploy/layers.py).
    "numba": "BSD-2-Clause AND MIT AND BSD-3-Clause AND Python-2.0 AND HPND AND 0BSD",
    "numpy": "BSD-3-Clause",
    "python-osc": "Unlicense",
    "python-rtmidi": "MIT",
    "sympy": "BSD-3-Clause",
    "systemd-python": "LGPL-2.1-or-later",
}
"""Package → licence, where the metadata says "BSD" or the licence's whole text."""


@dataclass(frozen=True)
class Part:
    """Somebody else's library inside a wheel; ``licence``: an SPDX expression."""

    name: str
    licence: str


_GFORTRAN: Final = Part("libgfortran", "GPL-3.0-or-later WITH GCC-exception-3.1")
_OPENBLAS: Final = (
    Part("OpenBLAS", "BSD-3-Clause"),
    Part("LAPACK", "BSD-3-Clause-Open-MPI"),
    _GFORTRAN,
)
INSIDE: Final = {
    "libscipy_openblas": _OPENBLAS,
    "libopenblas": _OPENBLAS,
    "libgfortran": (_GFORTRAN,),
    "libjack": (Part("libjack", "LGPL-2.1-or-later"),),
    "libquadmath": (Part("libquadmath", "LGPL-2.1-or-later"),),
    "libsndfile": (
        Part("libsndfile", "LGPL-2.1-or-later"),
        Part("libFLAC", "BSD-3-Clause"),
        Part("libmp3lame", "LGPL-2.0-or-later"),
        Part("libmpg123", "LGPL-2.1-only"),
        Part("libogg", "BSD-3-Clause"),
        Part("libopus", "BSD-3-Clause"),
        Part("libvorbis", "BSD-3-Clause"),
    ),
}
"""How a shared library's file name begins → what is in it, as numpy's and soundfile's licence files say."""
BROUGHT: Final = re.compile(r"(?:[^/]+\.(?:libs)?|_soundfile_data)/(?P<file>lib[^/]+\.so[^/]*)")
"""Where wheels keep libraries of others: auditwheel's folder (python-rtmidi's ends in a dot), soundfile's."""


def parts_of(name: str, wheel: Path) -> tuple[Part, ...]:
    """The libraries of others that the files of a wheel hold.

    What a package links into its own modules (onnxruntime, ai-edge-litert, llvmlite) is in its notices alone.

    Raises
    ------
    DeployError: one of them is not known.
    """
    with zipfile.ZipFile(wheel) as archive:
        files = [match["file"] for path in archive.namelist() if (match := BROUGHT.fullmatch(path))]
    parts: dict[Part, None] = {}
    for file in files:
        known = next((parts for start, parts in INSIDE.items() if file.startswith(start)), None)
        if known is None:
            raise DeployError(
                f"{name}: what {file} is under is not known; read it and add it to deploy/licences.py"
            )
        parts.update(dict.fromkeys(known))
    return tuple(parts)


def licence_of(name: str, metadata: Message) -> str:
    """The SPDX expression of a package.

    Parameters
    ----------
    metadata: the wheel's ``METADATA``.

    Raises
    ------
    DeployError: it cannot be told.
    """
    said = [metadata.get("License-Expression", ""), READ_FROM_FILE.get(name, ""), metadata.get("License", "")]
    classifiers = metadata.get_all("Classifier", [])
    said += [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    for words in said:
        if words and "\n" not in words:
            try:
                return str(canonicalize_license_expression(WORDS.get(words, words)))
            except InvalidLicenseExpression:
                continue
    raise DeployError(f"{name}: its licence is not known; read it and add it to deploy/licences.py")
