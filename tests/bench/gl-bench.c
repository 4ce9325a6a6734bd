/*
 * What OpenGL ES 2 calls cost on whatever driver EGL finds without a window: draws,
 * uniforms, waits, readbacks, uploads. Prints one JSON object, a key per figure; the
 * renderer is among them. scripts/bench-gl runs it natively and in VMs.
 *
 * A figure is the median of several runs of a fixed amount of work, after one run
 * that is not counted. Any GL error ends the program.
 *
 * SPDX-License-Identifier: MIT
 */
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GLES2/gl2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIZE = 64, DRAWS = 1000, RUNS_MAX = 31, SINGLE = 501, TEXTURE = 512,
       UPLOAD = TEXTURE * TEXTURE * 4, BUFFER = 64 << 10 };

static GLuint plain, textured; /* programs */
static GLint colour;
static uint8_t *bytes;

static void die(const char *what)
{
    fprintf(stderr, "gl-bench: %s failed (EGL 0x%x, GL 0x%x)\n", what,
            eglGetError(), glGetError());
    exit(1);
}

static void check(bool ok, const char *what)
{
    if (!ok || glGetError() != GL_NO_ERROR) {
        die(what);
    }
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* --- what is there to draw ----------------------------------------------- */

static void have_context(void)
{
    static const EGLint attributes[] = { EGL_CONTEXT_CLIENT_VERSION, 2,
                                         EGL_NONE };
    EGLDisplay display;
    EGLContext context;

    display = eglGetPlatformDisplay(EGL_PLATFORM_SURFACELESS_MESA,
                                    EGL_DEFAULT_DISPLAY, NULL);
    if (!eglInitialize(display, NULL, NULL)) {
        die("eglInitialize");
    }
    eglBindAPI(EGL_OPENGL_ES_API);
    context = eglCreateContext(display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT,
                               attributes);
    if (!context || !eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE,
                                    context)) {
        die("eglMakeCurrent");
    }
}

static void have_target(void)
{
    GLuint frame, target;

    glGenFramebuffers(1, &frame);
    glBindFramebuffer(GL_FRAMEBUFFER, frame);
    glGenRenderbuffers(1, &target);
    glBindRenderbuffer(GL_RENDERBUFFER, target);
    glRenderbufferStorage(GL_RENDERBUFFER, 0x8058 /* GL_RGBA8_OES */, SIZE, SIZE);
    glFramebufferRenderbuffer(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0,
                              GL_RENDERBUFFER, target);
    glViewport(0, 0, SIZE, SIZE);
    check(glCheckFramebufferStatus(GL_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE,
          "the framebuffer");
}

static GLuint make_program(const char *vertex, const char *fragment)
{
    const char *const sources[] = { vertex, fragment };
    GLuint program = glCreateProgram();

    for (int i = 0; i < 2; i++) {
        GLuint shader = glCreateShader(i ? GL_FRAGMENT_SHADER
                                         : GL_VERTEX_SHADER);

        glShaderSource(shader, 1, &sources[i], NULL);
        glCompileShader(shader);
        glAttachShader(program, shader);
    }
    glBindAttribLocation(program, 0, "at");
    glLinkProgram(program);
    return program;
}

static void have_programs(void)
{
    static const float corners[] = { -1, -1, 1, -1, 0, 1 };
    GLuint buffer;

    plain = make_program(
        "attribute vec2 at; void main() { gl_Position = vec4(at, 0.0, 1.0); }",
        "precision mediump float; uniform vec4 colour;"
        "void main() { gl_FragColor = colour; }");
    textured = make_program(
        "attribute vec2 at; varying vec2 place;"
        "void main() { place = at; gl_Position = vec4(at, 0.0, 1.0); }",
        "precision mediump float; uniform sampler2D picture;"
        "varying vec2 place;"
        "void main() { gl_FragColor = texture2D(picture, place); }");
    colour = glGetUniformLocation(plain, "colour");
    glUseProgram(plain);
    glGenBuffers(1, &buffer);
    glBindBuffer(GL_ARRAY_BUFFER, buffer);
    glBufferData(GL_ARRAY_BUFFER, sizeof(corners), corners, GL_STATIC_DRAW);
    glVertexAttribPointer(0, 2, GL_FLOAT, GL_FALSE, 0, NULL);
    glEnableVertexAttribArray(0);
    check(colour >= 0, "the programs");
}

static void have_texture(void)
{
    GLuint texture;

    bytes = calloc(1, UPLOAD);
    if (!bytes) {
        die("memory");
    }
    glGenTextures(1, &texture);
    glBindTexture(GL_TEXTURE_2D, texture);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, TEXTURE, TEXTURE, 0, GL_RGBA,
                 GL_UNSIGNED_BYTE, bytes);
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
    check(true, "the texture");
}

/* A buffer beside the one that is drawn from. */
static void have_buffer(void)
{
    GLuint buffer;

    glGenBuffers(1, &buffer);
    glBindBuffer(GL_ARRAY_BUFFER, buffer);
    glBufferData(GL_ARRAY_BUFFER, BUFFER, bytes, GL_DYNAMIC_DRAW);
    check(true, "the buffer");
}

/* --- figures ------------------------------------------------------------- */

static void draws(int n)
{
    for (int i = 0; i < n; i++) {
        glDrawArrays(GL_TRIANGLES, 0, 3);
    }
    glFinish();
}

static void uniforms(int n)
{
    for (int i = 0; i < n; i++) {
        glUniform4f(colour, 0.1f, 0.2f, i * 0.001f, 1.0f);
        glUniform4f(colour, 0.3f, i * 0.001f, 0.2f, 1.0f);
        glDrawArrays(GL_TRIANGLES, 0, 3);
    }
    glFinish();
}

static void draw_finish(int n)
{
    for (int i = 0; i < n; i++) {
        glDrawArrays(GL_TRIANGLES, 0, 3);
        glFinish();
    }
}

static void draw_read(int n)
{
    uint32_t pixel;

    for (int i = 0; i < n; i++) {
        glReadPixels(i % SIZE, 0, 1, 1, GL_RGBA, GL_UNSIGNED_BYTE, &pixel);
    }
}

static void upload_texture(int n)
{
    for (int i = 0; i < n; i++) {
        bytes[i]++;
        glTexSubImage2D(GL_TEXTURE_2D, 0, 0, 0, TEXTURE, TEXTURE, GL_RGBA,
                        GL_UNSIGNED_BYTE, bytes);
    }
    glFinish();
}

/* As a film is shown: the texture is in use when it is changed. */
static void upload_and_draw(int n)
{
    glUseProgram(textured);
    for (int i = 0; i < n; i++) {
        bytes[i]++;
        glTexSubImage2D(GL_TEXTURE_2D, 0, 0, 0, TEXTURE, TEXTURE / 4, GL_RGBA,
                        GL_UNSIGNED_BYTE, bytes);
        glDrawArrays(GL_TRIANGLES, 0, 3);
    }
    glFinish();
    glUseProgram(plain);
}

static void upload_buffer(int n)
{
    for (int i = 0; i < n; i++) {
        bytes[i]++;
        glBufferSubData(GL_ARRAY_BUFFER, 0, BUFFER, bytes);
    }
    glFinish();
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Median microseconds for one of the @n steps of @run. */
static void measure(const char *name, void (*run)(int n), int n, int runs)
{
    static double us[SINGLE];

    run(n);
    for (int i = 0; i < runs; i++) {
        double begin = now_us();

        run(n);
        us[i] = (now_us() - begin) / n;
    }
    check(true, name);
    if (runs == SINGLE) {
        double sum = 0;

        for (int i = 0; i < runs; i++) {
            sum += us[i];
        }
        printf("  \"%s, mean\": %.6g,\n", name, sum / runs);
    }
    qsort(us, (size_t)runs, sizeof(us[0]), compare);
    printf("  \"%s\": %.6g,\n", name, us[runs / 2]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int runs = argc > 1 ? atoi(argv[1]) : 9;

    if (runs < 1 || runs > RUNS_MAX) {
        fprintf(stderr, "Usage: gl-bench [RUNS]   (1 to %d)\n", RUNS_MAX);
        return 1;
    }
    have_context();
    have_target();
    have_programs();
    have_texture();
    printf("{\n");
    measure("draw", draws, DRAWS, runs);
    measure("two uniforms and draw", uniforms, DRAWS, runs);
    /* Each by itself: who polls is slow now and then, which the mean shows. */
    measure("draw and finish", draw_finish, 1, SINGLE);
    measure("read one pixel", draw_read, 1, SINGLE);
    measure("texture of 1 MiB", upload_texture, 20, 2 * runs);
    measure("256 KiB of it, and draw", upload_and_draw, 20, 2 * runs);
    have_buffer();
    measure("buffer of 64 KiB", upload_buffer, 50, 2 * runs);
    printf("  \"renderer\": \"%s\"\n}\n", glGetString(GL_RENDERER));
    return 0;
}
