"""Parts of piglit, out of its Debian package: what tests OpenCL, and OpenGL ES 2.

The package takes 2 GB when it is installed, of which 19 MB are of interest for OpenCL
and 13 for OpenGL ES 2. It is fetched by apt, which checks it as it does any package,
and that part is unpacked into the cache, without being installed.

SPDX-License-Identifier: MIT
"""
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vgpu-remote"
PARTS = {
    "cl": ("bin/cl-*", "lib/*", "tests/cl", "generated_tests/cl"),
    "gles2": ("bin/*_gles2", "lib/libpiglitutil*", "tests/*.xml.gz",
              *(f"*tests/spec/{name}" for name in ("glsl-es-*", "oes_*", "ext_*", "EXT_*", "intel_*", "nv_*"))),
}


class NoPiglit(Exception):
    """Why there is none."""


def version():
    text = subprocess.run(["apt-cache", "policy", "piglit"], capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C"}).stdout
    found = re.search(r"Candidate: (\d\S*)", text)
    if not found:
        raise NoPiglit("apt knows no package piglit")
    return found[1]


def unpack(package, folder, part):
    tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder, "--strip-components=5", "--wildcards",
                    *(f"./usr/lib/*/piglit/{path}" for path in PARTS[part])], stdin=tar.stdout, check=True)
    tar.stdout.close()
    if tar.wait():
        raise NoPiglit(f"{package} cannot be unpacked")


def add_waffle(folder, tmp):
    """What opens piglit's windows, for a guest that has no such package."""
    subprocess.run(["dpkg-deb", "-x", fetch("libwaffle-1-0", tmp), Path(tmp) / "waffle"], check=True)
    for path in Path(tmp).glob("waffle/usr/lib/*/libwaffle*"):
        shutil.copy(path, folder / "lib" / path.name, follow_symlinks=False)


def fetch(package, folder):
    """The .deb, as apt has it."""
    subprocess.run(["apt-get", "-q", "download", package], cwd=folder, check=True, capture_output=True)
    return next(Path(folder).glob(f"{package}_*.deb"))


def piglit(part):
    """The folder with bin, lib and tests of a part; fetched when it is not there yet."""
    folder = CACHE / f"piglit-{part}-{version()}"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        try:
            (Path(tmp) / "new").mkdir()
            unpack(fetch("piglit", tmp), Path(tmp) / "new", part)
            if part == "gles2":
                add_waffle(Path(tmp) / "new", tmp)
        except (OSError, subprocess.CalledProcessError, StopIteration) as e:
            raise NoPiglit(f"the package piglit cannot be fetched: {e}") from e
        shutil.move(Path(tmp) / "new", folder)
    return folder
