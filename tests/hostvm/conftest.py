"""What tests of the host's side share that need a kernel with more than a build machine's has
(scripts/host-vm). The servers are those of tests/daemon.

SPDX-License-Identifier: MIT
"""
import glob
import importlib.util
import sys
from pathlib import Path

import pytest

DAEMON = Path(__file__).resolve().parent.parent / "daemon"
sys.path.insert(0, str(DAEMON))

spec = importlib.util.spec_from_file_location("daemon_conftest", DAEMON / "conftest.py")
daemon = importlib.util.module_from_spec(spec)
spec.loader.exec_module(daemon)
start, server, client = daemon.start, daemon.server, daemon.client


@pytest.fixture
def card():
    """A device of the kernel's that has pictures, on which Mesa draws by llvmpipe."""
    cards = sorted(glob.glob("/dev/dri/card*"))
    if not cards:
        pytest.skip("this kernel has no /dev/dri/card*")
    return cards[0]
