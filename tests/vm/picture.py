"""Pictures: what QEMU, a VNC client, an X server and OpenGL show, and how alike they are.

All are arrays of rows, of pixels, of red, green and blue.

SPDX-License-Identifier: MIT
"""
import struct

import numpy

# Both ends of a comparison are the same rasterizer, but shaders take another way
# to it: of each channel 2 in 255 may differ, and at edges 1 pixel in 500 altogether.
TOLERANCE, OUTSIDE = 2, 1 / 500


def of_gl(data, width, height):
    """RGBA, the lowest row first: as glReadPixels has it."""
    return numpy.frombuffer(data, numpy.uint8).reshape(height, width, 4)[::-1, :, :3]


def of_bgrx(data, width, height):
    return numpy.frombuffer(data, numpy.uint8).reshape(height, width, 4)[:, :, 2::-1]


def of_ppm(data):
    kind, size, depth, pixels = data.split(b"\n", 3)
    assert (kind, depth) == (b"P6", b"255")
    width, height = map(int, size.split())
    return numpy.frombuffer(pixels, numpy.uint8).reshape(height, width, 3)


def of_xwd(data):
    """A window dump of 32 bits a pixel, or the file of Xvfb's -fbdir."""
    words = struct.unpack_from("!25I", data)
    header, width, height, colours = words[0], words[4], words[5], words[19]
    at = header + 12 * colours
    return of_bgrx(data[at:at + width * height * 4], width, height)


def dumped(guest, folder, **head):
    """QEMU's screendump, of a head if one is named by device= and head=."""
    path = folder / "screen.ppm"
    guest.qmp("screendump", filename=str(path), **head)
    return of_ppm(path.read_bytes())


def share_that_differs(one, other):
    difference = numpy.abs(one.astype(int) - other.astype(int)).max(axis=2)
    return float((difference > TOLERANCE).mean())


def is_alike(one, other):
    return one.shape == other.shape and share_that_differs(one, other) <= OUTSIDE


def assert_alike(one, other):
    assert one.shape == other.shape
    share = share_that_differs(one, other)
    assert share <= OUTSIDE, f"{100 * share:.2f} % of the pixels differ"


def is_in(part, whole):
    """Whether @part, to the last bit, is somewhere in @whole: a window on a screen."""
    height, width = part.shape[:2]
    # Its liveliest row is looked for: that is hardly ever somewhere else.
    y = int((part[:, 1:] != part[:, :-1]).any(axis=2).sum(axis=1).argmax())
    row = part[y].tobytes()
    for top in range(whole.shape[0] - height + 1):
        at = whole[top + y].tobytes().find(row)
        left, rest = divmod(at, 3)
        if at >= 0 and rest == 0 and (whole[top:top + height, left:left + width] == part).all():
            return True
    return False
