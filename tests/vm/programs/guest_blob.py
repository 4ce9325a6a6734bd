"""In the guest: a blob of guest memory, made by a context of the guest's own driver.

    guest_blob.py FILE      shows it, and writes what it shows into FILE as rows of blue, green,
                            red and nothing; again, when FILE.done is there, into FILE.again;
                            ends when FILE.again.done is there.

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

MEM_GUEST, USE_MAPPABLE, USE_SHAREABLE = 1, 1, 2
MAP, CREATE_BLOB, CONTEXT_INIT = 0xC0106441, 0xC030644A, 0xC010644B
PARAM_CAPSET_ID, VIRGL2 = 1, 2


def make_context(file):
    """As Mesa's driver does."""
    parameter = ctypes.create_string_buffer(struct.pack("QQ", PARAM_CAPSET_ID, VIRGL2))
    fcntl.ioctl(file, CONTEXT_INIT, bytearray(struct.pack("IIQ", 1, 0, ctypes.addressof(parameter))))


def make_blob(file, size):
    """Its handle."""
    made = bytearray(struct.pack("IIIIQIIQQ", MEM_GUEST, USE_MAPPABLE | USE_SHAREABLE, 0, 0, size, 0, 0, 0, 0))
    fcntl.ioctl(file, CREATE_BLOB, made)
    return struct.unpack_from("I", made, 8)[0]


def map_blob(file, handle, size):
    mapped = bytearray(struct.pack("QII", 0, handle, 0))
    fcntl.ioctl(file, MAP, mapped)
    return mmap.mmap(file, size, offset=struct.unpack_from("Q", mapped)[0])


def picture(width, height, blue):
    line = b"".join(bytes((blue, x & 255, 0, 0)) for x in range(width))
    rows = []
    for y in range(height):
        row = bytearray(line)
        row[2::4] = bytes((y & 255,)) * width
        rows.append(bytes(row))
    return b"".join(rows)


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.05)


def main():
    drm = ctypes.CDLL("libdrm.so.2")
    drm.drmModeGetResources.restype = ctypes.POINTER(gles_scene.Resources)
    drm.drmModeGetConnector.restype = ctypes.POINTER(gles_scene.Connector)
    file = os.open("/dev/dri/card0", os.O_RDWR)
    make_context(file)
    resources = drm.drmModeGetResources(file).contents
    crtc, connector = resources.crtc[0], ctypes.c_uint32(resources.connector[0])
    mode = drm.drmModeGetConnector(file, connector).contents.mode[0]
    width, height = mode.h[0], mode.v[0]
    size = width * height * 4
    handle = make_blob(file, size)
    memory = map_blob(file, handle, size)
    memory[:] = first = picture(width, height, 200)
    fb = ctypes.c_uint32()
    assert drm.drmModeAddFB(file, width, height, 24, 32, width * 4, handle, ctypes.byref(fb)) == 0, "drmModeAddFB"
    assert drm.drmModeSetCrtc(file, crtc, fb, 0, 0, ctypes.byref(connector), 1, ctypes.byref(mode)) == 0, "drmModeSetCrtc"
    gles_scene.write(sys.argv[1], first)
    wait_for(sys.argv[1] + ".done")
    memory[:] = second = picture(width, height, 50)
    assert drm.drmModeDirtyFB(file, fb, None, 0) == 0, "drmModeDirtyFB"
    gles_scene.write(sys.argv[1] + ".again", second)
    wait_for(sys.argv[1] + ".again.done")


main()
