"""An X server without a screen, for whatever wants a window.

SPDX-License-Identifier: MIT
"""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


class Xvfb:
    """Runs as long as it is entered; `environment` is for its clients."""

    def __init__(self, size="2048x1536"):
        self.size = size    # QEMU's window is made for firmware, in the middle; and grows from there

    def __enter__(self):
        if not shutil.which("Xvfb"):
            raise FileNotFoundError("there is no Xvfb: scripts/deps tests")
        self.folder = tempfile.TemporaryDirectory(prefix="vgpu-xvfb.")
        self.read, write = os.pipe()
        self.process = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", f"{self.size}x24",
                                         "-nocursor", "-nolisten", "tcp", "-fbdir", self.folder.name],
                                        pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        number = os.read(self.read, 16).decode().strip()
        if not number:
            self.__exit__()
            raise OSError("Xvfb does not start")
        self.environment = {"DISPLAY": f":{number}", "SDL_VIDEODRIVER": "x11"}
        return self

    def screen(self):
        """All that it shows, as a window dump."""
        return Path(self.folder.name, "Xvfb_screen0").read_bytes()

    def __exit__(self, *_):
        os.close(self.read)
        self.process.terminate()
        self.process.wait(10)
        self.folder.cleanup()
