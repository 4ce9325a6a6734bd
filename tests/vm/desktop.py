"""A desktop in a guest: Weston, and a client that draws by OpenGL.

SPDX-License-Identifier: MIT
"""
import numpy

import picture


def start(guest):
    code, text = guest.output("bash /mnt/desktop.sh", timeout=90)
    assert code == 0 and "virgl" in text, text


def end(guest):
    guest.output("pkill -x weston; while pgrep -x weston; do sleep 0.1; done", timeout=30)


def colours(screen):
    return numpy.unique(screen[::3, ::3].reshape(-1, 3), axis=0).astype(int)


def has_panel(screen):
    """Weston's panel and its pattern, which are grey."""
    found = colours(screen)
    return bool(((numpy.ptp(found, axis=1) < 30) & (found[:, 0] > 60) & (found[:, 0] < 180)).sum() > 20)


def is_seen(screen):
    """That, and the triangle of weston-simple-egl, unless it is seen from its edge."""
    return has_panel(screen) and bool((numpy.ptp(colours(screen), axis=1) > 150).sum() > 20)


def is_on(guest, folder):
    return is_seen(picture.dumped(guest, folder))
