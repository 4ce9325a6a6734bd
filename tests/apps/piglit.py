"""The OpenCL part of piglit, out of its Debian package.

The package takes 2 GB when it is installed, of which 19 MB are of interest. It is
fetched by apt, which checks it as it does any package, and that part is unpacked
into the cache, without being installed.

SPDX-License-Identifier: MIT
"""
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vgpu-remote"
PARTS = ("bin/cl-*", "lib/*", "tests/cl", "generated_tests/cl")


class NoPiglit(Exception):
    """Why there is none."""


def version():
    text = subprocess.run(["apt-cache", "policy", "piglit"], capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C"}).stdout
    found = re.search(r"Candidate: (\d\S*)", text)
    if not found:
        raise NoPiglit("apt knows no package piglit")
    return found[1]


def unpack(package, folder):
    tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder, "--strip-components=5", "--wildcards",
                    *(f"./usr/lib/*/piglit/{part}" for part in PARTS)], stdin=tar.stdout, check=True)
    tar.stdout.close()
    if tar.wait():
        raise NoPiglit(f"{package} cannot be unpacked")


def piglit():
    """The folder with bin, lib and tests; fetched when it is not there yet."""
    folder = CACHE / f"piglit-{version()}"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        try:
            subprocess.run(["apt-get", "-q", "download", "piglit"], cwd=tmp, check=True, capture_output=True)
            (Path(tmp) / "new").mkdir()
            unpack(next(Path(tmp).glob("piglit_*.deb")), Path(tmp) / "new")
        except (OSError, subprocess.CalledProcessError, StopIteration) as e:
            raise NoPiglit(f"the package piglit cannot be fetched: {e}") from e
        shutil.move(Path(tmp) / "new", folder)
    return folder
