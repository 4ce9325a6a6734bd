"""Draws by OpenGL ES 3, and asks each time how much of it was seen.

    queries.py FILE

FILE is there once it has had ten answers, and it ends when FILE.stop is. It prints the
last answer.

SPDX-License-Identifier: MIT
"""
import os
import sys
from ctypes import byref, c_uint
from pathlib import Path

import gles_scene
from gles_scene import check, gl

ANY_SAMPLES_PASSED, QUERY_RESULT = 0x8C2F, 0x8866


def ask(query):
    """Draw, and wait for the answer."""
    answer = c_uint(99)
    gl.glBeginQuery(ANY_SAMPLES_PASSED, query)
    gl.glDrawArrays(6, 0, 4)
    gl.glEndQuery(ANY_SAMPLES_PASSED)
    gl.glGetQueryObjectuiv(query, QUERY_RESULT, byref(answer))
    return answer.value


def main():
    path = sys.argv[1]
    size = gles_scene.offscreen(version=3)
    gles_scene.draw(*size)
    for what in (0x0B71, 0x0C11):   # depth and scissors: all is seen
        gl.glDisable(what)
    query = c_uint()
    gl.glGenQueries(1, byref(query))
    check(all(ask(query) == 1 for _ in range(10)), "a query")
    Path(path).touch()
    answer = None
    while not os.path.exists(path + ".stop"):
        answer = ask(query)
    print(answer)


main()
