"""Draws a scene by OpenGL ES 2 and writes its pixels: the same on any machine.

    gles_scene.py FILE             offscreen, into FILE as RGBA rows
    gles_scene.py FILE STEP...     on displays too, one step after another

A step is HEAD:WIDTHxHEIGHT,... or HEAD,... in its first mode. The scene is another on each
head. What is shown on head H in step S is in FILE.S.H, and it is shown until FILE.S.done is
there.

What it uses: shaders, uniforms, a texture that is changed in part, depth, blending,
scissors, an index buffer that is rewritten. It prints the renderer.

SPDX-License-Identifier: MIT
"""
import ctypes
import os
import sys
import time
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_uint, c_uint16, c_uint32, c_uint64, c_void_p

egl = ctypes.CDLL("libEGL.so.1")
gl = ctypes.CDLL("libGLESv2.so.2")
egl.eglGetProcAddress.restype = c_void_p
egl.eglCreateContext.restype = egl.eglCreateWindowSurface.restype = c_void_p
gl.glGetString.restype = c_char_p
SIZE = 256
PLATFORM_GBM, PLATFORM_SURFACELESS = 0x31D7, 0x31DD
XRGB8888 = 0x34325258

VERTEX = b"""
attribute vec2 position;
uniform vec4 place;
varying vec2 at;
void main() {
    at = position;
    gl_Position = vec4(position * place.zw + place.xy, place.x * 0.5, 1.0);
}"""
FRAGMENT = b"""
precision mediump float;
uniform sampler2D picture;
uniform vec4 colour;
varying vec2 at;
void main() {
    gl_FragColor = texture2D(picture, at * 0.5 + 0.5) * colour;
}"""


def check(condition, what):
    if not condition:
        sys.exit(f"{what} failed (EGL 0x{egl.eglGetError():x}, GL 0x{gl.glGetError():x})")


def attributes(*values):
    return (c_int * (len(values) + 1))(*values, 0x3038)


# --- where it is drawn -------------------------------------------------------------

def display(platform, native):
    get = ctypes.CFUNCTYPE(c_void_p, c_uint, c_void_p, c_void_p)(egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT"))
    shown = c_void_p(get(platform, native, None))
    check(egl.eglInitialize(shown, None, None), "eglInitialize")
    egl.eglBindAPI(0x30A0)
    return shown


def context(shown, config, surface=None, version=2):
    made = c_void_p(egl.eglCreateContext(shown, config, None, attributes(0x3098, version)))
    check(made and egl.eglMakeCurrent(shown, surface, surface, made), "eglMakeCurrent")


def offscreen(version=2):
    context(display(PLATFORM_SURFACELESS, None), None, version=version)
    names = (c_uint * 2)()
    gl.glGenRenderbuffers(2, names)
    frame = c_uint()
    gl.glGenFramebuffers(1, byref(frame))
    gl.glBindFramebuffer(0x8D40, frame)
    for name, form, point in ((names[0], 0x8058, 0x8CE0), (names[1], 0x81A5, 0x8D00)):
        gl.glBindRenderbuffer(0x8D41, name)
        gl.glRenderbufferStorage(0x8D41, form, SIZE, SIZE)
        gl.glFramebufferRenderbuffer(0x8D40, point, 0x8D41, name)
    check(gl.glCheckFramebufferStatus(0x8D40) == 0x8CD5, "the framebuffer")
    return SIZE, SIZE


class Mode(ctypes.Structure):
    _fields_ = [("clock", c_uint32), ("h", c_uint16 * 5), ("v", c_uint16 * 5), ("refresh", c_uint32),
                ("flags", c_uint32), ("type", c_uint32), ("name", ctypes.c_char * 32)]


class Connector(ctypes.Structure):
    _fields_ = [("id", c_uint32), ("encoder", c_uint32), ("type", c_uint32), ("type_id", c_uint32),
                ("connection", c_uint32), ("mm", c_uint32 * 2), ("subpixel", c_uint32), ("modes", c_int),
                ("mode", POINTER(Mode))]


class Resources(ctypes.Structure):
    _fields_ = [("fbs", c_int), ("fb", POINTER(c_uint32)), ("crtcs", c_int), ("crtc", POINTER(c_uint32)),
                ("connectors", c_int), ("connector", POINTER(c_uint32))]


class Card:
    """The display driver, and OpenGL for what it shows."""

    def __init__(self):
        self.gbm, self.drm = ctypes.CDLL("libgbm.so.1"), ctypes.CDLL("libdrm.so.2")
        for name in ("gbm_create_device", "gbm_surface_create", "gbm_surface_lock_front_buffer"):
            getattr(self.gbm, name).restype = c_void_p
        self.gbm.gbm_bo_get_handle.restype = c_uint64
        self.drm.drmModeGetResources.restype = POINTER(Resources)
        self.drm.drmModeGetConnector.restype = POINTER(Connector)
        self.file = os.open("/dev/dri/card0", os.O_RDWR)
        self.resources = self.drm.drmModeGetResources(self.file).contents
        self.device = c_void_p(self.gbm.gbm_create_device(self.file))
        self.display = display(PLATFORM_GBM, self.device)


class Screen:
    """A mode of a head, and a surface for it."""

    def __init__(self, card, head, size=None):
        self.card, self.gbm, self.drm = card, card.gbm, card.drm
        self.crtc, self.connector = card.resources.crtc[head], card.resources.connector[head]
        self.mode = self.find_mode(size)
        self.width, self.height = self.mode.h[0], self.mode.v[0]
        self.surface = c_void_p(self.gbm.gbm_surface_create(card.device, self.width, self.height, XRGB8888, 1 | 4))
        check(self.surface, "gbm_surface_create")
        self.display = card.display
        self.window = self.make_window()

    def find_mode(self, size):
        connector = self.drm.drmModeGetConnector(self.card.file, self.connector).contents
        for mode in connector.mode[:connector.modes]:
            if size in (None, (mode.h[0], mode.v[0])):
                return mode
        sys.exit(f"connector {self.connector} has no mode of {size}")

    def make_window(self):
        configs, count = (c_void_p * 64)(), c_int()
        egl.eglChooseConfig(self.display, attributes(0x3033, 4, 0x3040, 4, 0x3025, 16), configs, 64, byref(count))
        for config in configs[:count.value]:
            visual = c_int()
            egl.eglGetConfigAttrib(self.display, c_void_p(config), 0x302E, byref(visual))
            if visual.value == XRGB8888:
                window = c_void_p(egl.eglCreateWindowSurface(self.display, c_void_p(config), self.surface, None))
                context(self.display, c_void_p(config), window)
                return window
        sys.exit("no EGL config is XRGB8888")

    def show(self):
        check(egl.eglSwapBuffers(self.display, self.window), "eglSwapBuffers")
        buffer = c_void_p(self.gbm.gbm_surface_lock_front_buffer(self.surface))
        handle = c_uint32(self.gbm.gbm_bo_get_handle(buffer) & 0xFFFFFFFF)
        fb = c_uint32()
        check(self.drm.drmModeAddFB(self.card.file, self.width, self.height, 24, 32, self.gbm.gbm_bo_get_stride(buffer),
                                    handle, byref(fb)) == 0, "drmModeAddFB")
        connector = c_uint32(self.connector)
        check(self.drm.drmModeSetCrtc(self.card.file, self.crtc, fb, 0, 0, byref(connector), 1, byref(self.mode)) == 0,
              "drmModeSetCrtc")


# --- what is drawn -----------------------------------------------------------------

def program():
    made = gl.glCreateProgram()
    for kind, source in ((0x8B31, VERTEX), (0x8B30, FRAGMENT)):
        shader = gl.glCreateShader(kind)
        gl.glShaderSource(shader, 1, byref(c_char_p(source)), None)
        gl.glCompileShader(shader)
        gl.glAttachShader(made, shader)
    gl.glBindAttribLocation(made, 0, b"position")
    gl.glLinkProgram(made)
    linked = c_int()
    gl.glGetProgramiv(made, 0x8B82, byref(linked))
    check(linked.value, "glLinkProgram")
    gl.glUseProgram(made)
    return made


def texture():
    name = c_uint()
    gl.glGenTextures(1, byref(name))
    gl.glBindTexture(0x0DE1, name)
    for parameter, value in ((0x2801, 0x2600), (0x2800, 0x2600), (0x2802, 0x812F), (0x2803, 0x812F)):
        gl.glTexParameteri(0x0DE1, parameter, value)
    # 32 texels for 96 pixels: no pixel's centre is on a texel's edge, where rounding decides.
    whole = bytes(v for y in range(32) for x in range(32) for v in (x * 8, y * 8, (x ^ y) * 8, 255))
    gl.glTexImage2D(0x0DE1, 0, 0x1908, 32, 32, 0, 0x1908, 0x1401, whole)
    part = bytes(v for y in range(9) for x in range(13) for v in (255 - x * 8, 20, y * 20, 255))
    gl.glTexSubImage2D(0x0DE1, 0, 15, 17, 13, 9, 0x1908, 0x1401, part)


def draw(width, height, head=0):
    """The scene; its background and its direction are the head's."""
    made = program()
    place, colour = gl.glGetUniformLocation(made, b"place"), gl.glGetUniformLocation(made, b"colour")
    texture()
    corners = (c_float * 8)(-1, -1, 1, -1, 1, 1, -1, 1)
    buffers = (c_uint * 2)()
    gl.glGenBuffers(2, buffers)
    gl.glBindBuffer(0x8892, buffers[0])
    gl.glBufferData(0x8892, 32, corners, 0x88E4)
    gl.glVertexAttribPointer(0, 2, 0x1406, 0, 0, None)
    gl.glEnableVertexAttribArray(0)
    gl.glBindBuffer(0x8893, buffers[1])
    gl.glBufferData(0x8893, 12, None, 0x88E8)
    gl.glViewport(0, 0, width, height)
    gl.glEnable(0x0B71)
    gl.glClearColor(*(c_float(0.25 * (1 + (i + head) % 3)) for i in range(3)), c_float(1))
    gl.glClear(0x4100)
    four = ctypes.CFUNCTYPE(None, c_int, c_float, c_float, c_float, c_float)(("glUniform4f", gl))
    orders = ((0, 1, 2, 0, 2, 3), (0, 1, 3, 0, 1, 3), (1, 2, 3, 1, 2, 3))
    for i in range(12):
        gl.glBufferSubData(0x8893, 0, 12, (c_uint16 * 6)(*orders[i % 3]))
        if i == 8:
            gl.glEnable(0x0BE2)
            gl.glBlendFunc(0x0302, 0x0303)
        if i == 10:
            gl.glEnable(0x0C11)
            gl.glScissor(width // 4, height // 4, width // 2, height // 3)
        four(place, (-0.75 + 0.5 * (i % 4)) * (1 - head % 2 * 2), -0.625 + 0.625 * (i // 4), 0.375, 0.375)
        four(colour, 1, 1 - i / 16, 0.5 + i / 24, 0.5)
        gl.glDrawElements(4, 6, 0x1403, None)
    check(gl.glGetError() == 0, "drawing")


def pixels(width, height):
    data = ctypes.create_string_buffer(width * height * 4)
    gl.glReadPixels(0, 0, width, height, 0x1908, 0x1401, data)
    return data.raw


def write(path, data):
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.rename(path + ".new", path)


def heads(step):
    """[(head, its size or None)] of a step."""
    words = (word.partition(":") for word in step.split(","))
    return [(int(head), tuple(map(int, size.split("x"))) if size else None) for head, _, size in words]


def show(card, path, step):
    for head, size in heads(step):
        screen = Screen(card, head, size)
        draw(screen.width, screen.height, head)
        shown = pixels(screen.width, screen.height)
        screen.show()
        write(f"{path}.{head}", shown)
    while not os.path.exists(f"{path}.done"):
        time.sleep(0.05)


def main():
    path, steps = sys.argv[1], sys.argv[2:]
    if not steps:
        size = offscreen()
        draw(*size)
        write(path, pixels(*size))
    card = Card() if steps else None
    for number, step in enumerate(steps):
        show(card, f"{path}.{number}", step)
    print(gl.glGetString(0x1F01).decode(), flush=True)


if __name__ == "__main__":
    main()
