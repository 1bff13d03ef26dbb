"""What the project itself puts into a bundle: code, models, units, settings, and when it was made."""

import hashlib
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.box.manifest import Layer
from deploy.commands import run
from deploy.errors import DeployError
from deploy.interpreter import Interpreter
from deploy.layers import Member, make_layer, model_name, with_compiled
from deploy.phrase import phrase_wav

PACKAGES: Final = ("kelly_edge", "firmware_py")
SHIPPED: Final = "models/shipped"
DEMO: Final = "firmware_py/demo"
FILES: Final = Path(__file__).resolve().parent / "files"


@dataclass(frozen=True)
class Project:
    """A checkout."""

    folder: Path

    @property
    def version(self) -> str:
        """Of ``pyproject.toml``."""
        text = (self.folder / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])

    def counter(self) -> int:
        """How many commits lead here: what is built later has a larger one."""
        return int(run(["git", "rev-list", "--count", "HEAD"], cwd=self.folder, remedy="give --counter"))

    def source_date(self) -> int:
        """SOURCE_DATE_EPOCH, else the last commit's time, in seconds."""
        if given := os.environ.get("SOURCE_DATE_EPOCH"):
            if not given.isascii() or not given.isdigit():
                raise DeployError(f"SOURCE_DATE_EPOCH is {given[:40]!r}, not seconds; unset it")
            return int(given)
        return int(run(["git", "log", "-1", "--format=%ct"], cwd=self.folder, remedy="set SOURCE_DATE_EPOCH"))

    def files(self, folder: str, *suffixes: str) -> dict[str, Path]:
        """Files under ``folder`` by path from the checkout; what Python or a test left there is not one."""
        found = {}
        for path in sorted((self.folder / folder).rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and "__pycache__" not in name and (not suffixes or path.suffix in suffixes):
                found[name] = path
        if not found:
            raise DeployError(f"{self.folder / folder} holds nothing to ship; run from a checkout")
        return found

    def layers(self, python: Interpreter) -> Iterable[tuple[Layer, bytes]]:
        """The project's own layers: code, demo, models by name, and the system's files."""
        code = {
            name: Member(p.read_bytes()) for package in PACKAGES for name, p in self.files(package).items()
        }
        demo = {name: code.pop(name) for name in sorted(code) if name.startswith(f"{DEMO}/")}
        metadata = f"Metadata-Version: 2.1\nName: kelly-edge\nVersion: {self.version}\n".encode()
        code[f"kelly_edge-{self.version}.dist-info/METADATA"] = Member(metadata)
        yield self._layer("kelly-edge", "site-packages", with_compiled(code, python))
        if demo:
            yield self._layer("kelly-edge-demo", "site-packages", demo)
        models: dict[str, dict[str, Member]] = {}
        for name, path in self.files(SHIPPED).items():
            tail = name.removeprefix(f"{SHIPPED}/")
            models.setdefault(model_name(tail), {})[tail] = Member(path.read_bytes())
        for model, members in sorted(models.items()):
            yield self._layer(f"model-{model}", "models", members)
        system = {name: Member(p.read_bytes()) for name, p in self.files("systemd").items()}
        system["config.yaml"] = Member((self.folder / "config.yaml").read_bytes())
        system["health.json"] = Member((FILES / "health.json").read_bytes())
        system["phrase.wav"] = Member(phrase_wav())
        yield self._layer("kelly-edge-system", "system", system)

    def _layer(self, name: str, into: str, members: dict[str, Member]) -> tuple[Layer, bytes]:
        digest = hashlib.sha256()
        for path in sorted(members):
            digest.update(path.encode() + b"\0" + hashlib.sha256(members[path].content).digest())
        return make_layer(name, self.version, into, "hash", members, digest.hexdigest())
