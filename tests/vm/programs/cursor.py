"""In the guest: a hardware cursor, first of the kernel's 2D memory, then of OpenGL's.

    cursor.py FILE      FILE.dumb, FILE.gl: its 64 rows of blue, green, red, alpha. Each is
                        shown until FILE.dumb.done, FILE.gl.done is there.

SPDX-License-Identifier: MIT
"""
import ctypes
import fcntl
import mmap
import os
import struct
import sys
import time

import gles_scene

SIZE, HOT = 64, (3, 5)
ARGB8888, USE_CURSOR, USE_LINEAR, MAP_WRITE = 0x34325241, 2, 16, 2
CREATE_DUMB, MAP_DUMB = 0xC02064B2, 0xC01064B3


def picture(blue):
    return bytes(v for y in range(SIZE) for x in range(SIZE) for v in (blue, x * 2, y * 2, 255))


def dumb(card, data):
    """The handle of a buffer that is a 2D resource."""
    made = bytearray(struct.pack("IIIIIIQ", SIZE, SIZE, 32, 0, 0, 0, 0))
    fcntl.ioctl(card.file, CREATE_DUMB, made)
    handle, pitch, size = struct.unpack_from("IIQ", made, 16)
    assert pitch == SIZE * 4
    mapped = bytearray(struct.pack("IIQ", handle, 0, 0))
    fcntl.ioctl(card.file, MAP_DUMB, mapped)
    with mmap.mmap(card.file, size, offset=struct.unpack_from("Q", mapped, 8)[0]) as memory:
        memory[:len(data)] = data
    return handle


def by_gl(card, data):
    """The handle of a buffer that is a 3D resource."""
    for name in ("gbm_bo_create", "gbm_bo_map"):
        getattr(card.gbm, name).restype = ctypes.c_void_p
    buffer = ctypes.c_void_p(card.gbm.gbm_bo_create(card.device, SIZE, SIZE, ARGB8888, USE_CURSOR | USE_LINEAR))
    gles_scene.check(buffer, "gbm_bo_create")
    stride, token = ctypes.c_uint32(), ctypes.c_void_p()
    at = card.gbm.gbm_bo_map(buffer, 0, 0, SIZE, SIZE, MAP_WRITE, ctypes.byref(stride), ctypes.byref(token))
    gles_scene.check(at, "gbm_bo_map")
    for y in range(SIZE):
        ctypes.memmove(at + y * stride.value, data[y * SIZE * 4:(y + 1) * SIZE * 4], SIZE * 4)
    card.gbm.gbm_bo_unmap(buffer, token)
    return card.gbm.gbm_bo_get_handle(buffer) & 0xFFFFFFFF


def main():
    card = gles_scene.Card()
    screen = gles_scene.Screen(card, 0)
    screen.show()
    for name, blue, make in (("dumb", 10, dumb), ("gl", 200, by_gl)):
        path, data = f"{sys.argv[1]}.{name}", picture(blue)
        handle = make(card, data)
        error = card.drm.drmModeSetCursor2(card.file, screen.crtc, handle, SIZE, SIZE, *HOT)
        gles_scene.check(error == 0, "drmModeSetCursor2")
        card.drm.drmModeMoveCursor(card.file, screen.crtc, 100, 100)
        gles_scene.write(path, data)
        while not os.path.exists(path + ".done"):
            time.sleep(0.05)


main()
