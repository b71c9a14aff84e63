"""An image that no registry has seen, made by hand."""

import gzip
import io
import json
import secrets
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Image:
    """A one-layer image in a directory that skopeo reads as ``dir:``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        tar = _tar("marker", secrets.token_bytes(64))
        rootfs = {"type": "layers", "diff_ids": [digest(tar)]}
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
        self.layer = gzip.compress(tar, mtime=0)
        self.config = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._write(self.config, _CONFIG),
            "layers": [self._write(self.layer, _LAYER)],
        }
        self.manifest = json.dumps(manifest).encode()
        (directory / "manifest.json").write_bytes(self.manifest)
        (directory / "version").write_text("Directory Transport Version: 1.1\n")

    def __str__(self) -> str:
        return f"dir:{self.directory}"

    def _write(self, blob: bytes, media_type: str) -> dict[str, Any]:
        name = digest(blob)
        (self.directory / name.removeprefix("sha256:")).write_bytes(blob)
        return {"mediaType": media_type, "size": len(blob), "digest": name}


def digest(blob: bytes) -> str:
    return f"sha256:{sha256(blob).hexdigest()}"


def _tar(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
