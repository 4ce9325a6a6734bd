"""In the guest: the scene in a window of X, on a background that X draws.

    x_window.py FILE        the window's pixels, as gles_scene.py has them; it is
                            shown until FILE.done is there

SPDX-License-Identifier: MIT
"""
import ctypes
import os
import sys
import time
from ctypes import byref, c_int, c_ulong, c_void_p

import gles_scene

PLATFORM_X11 = 0x31D5
AT = 160, 96            # of the window
BACKGROUND = 0x336699

x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = c_void_p
x.XDefaultRootWindow.restype = x.XCreateSimpleWindow.restype = c_ulong


def make_window(connection):
    root = c_ulong(x.XDefaultRootWindow(connection))
    x.XSetWindowBackground(connection, root, c_ulong(BACKGROUND))
    x.XClearWindow(connection, root)
    window = c_ulong(x.XCreateSimpleWindow(connection, root, *AT, gles_scene.SIZE, gles_scene.SIZE, 0, c_ulong(0),
                                           c_ulong(0)))
    x.XMapWindow(connection, window)
    x.XSync(connection, 0)
    return window


def main():
    connection = c_void_p(x.XOpenDisplay(None))
    gles_scene.check(connection, "XOpenDisplay")
    egl, shown = gles_scene.egl, gles_scene.display(PLATFORM_X11, connection)
    config, count = c_void_p(), c_int()
    egl.eglChooseConfig(shown, gles_scene.attributes(0x3033, 4, 0x3040, 4, 0x3025, 16, 0x3021, 0), byref(config), 1,
                        byref(count))
    surface = c_void_p(egl.eglCreateWindowSurface(shown, config, make_window(connection), None))
    gles_scene.context(shown, config, surface)
    gles_scene.draw(gles_scene.SIZE, gles_scene.SIZE)
    drawn = gles_scene.pixels(gles_scene.SIZE, gles_scene.SIZE)
    gles_scene.check(egl.eglSwapBuffers(shown, surface), "eglSwapBuffers")
    gles_scene.write(sys.argv[1], drawn)
    print(gles_scene.gl.glGetString(0x1F01).decode(), flush=True)
    while not os.path.exists(sys.argv[1] + ".done"):
        time.sleep(0.05)


main()
