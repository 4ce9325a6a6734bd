/*
 * codes FIRST: makes the generated calls from case number FIRST on and prints of
 * each its number, what was wrong in it, and the code that came back:
 *
 *   412 clCreateBuffer: size = 0 -> CL_INVALID_BUFFER_SIZE
 *
 * test_codes.py runs it natively and through the shim and compares. A case that
 * ends the program (natively a bad argument may) has no code on its line, and the
 * test starts the program again behind it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "codes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CASE_SECONDS 3 /* a call that takes longer hangs */
#define UNSET 12345

const char *call;

static int number, first;
static cl_int wanted; /* of the case that runs; 0: whatever is right */

/* --- a case ---------------------------------------------------------------------- */

bool begin(const char *label, cl_int code)
{
    if (number++ < first || (code && !remote)) {
        return false;
    }
    printf("%d %s: %s", number - 1, call, label);
    fflush(stdout);
    memset(scratch, 0, sizeof(scratch));
    err = UNSET;
    wanted = code;
    alarm(CASE_SECONDS);
    return true;
}

static void settle(void)
{
    if (!strncmp(call, "clEnqueue", 9)) {
        clFinish(a.queue);
        clFinish(b.queue);
    }
    if (new_event) {
        clReleaseEvent(new_event);
        new_event = NULL;
    }
    alarm(0);
}

static void say(cl_int code)
{
    const char *name = code_name(code);

    if (name) {
        printf(" -> %s", name);
    } else {
        printf(" -> %d", code);
    }
}

/* A worker that died of the call, as the program natively might have. */
static bool lost(void)
{
    return remote && clFinish(a.queue) == CL_OUT_OF_RESOURCES;
}

static void finish_line(cl_int code)
{
    if (lost()) {
        printf(" -> lost\n");
        fflush(stdout);
        _exit(3);
    }
    if (wanted) {
        printf(" wanted %s", code_name(wanted));
    }
    printf("\n");
    fflush(stdout);
    settle();
    codes_take_back(code);
}

void end(cl_int code)
{
    say(code);
    finish_line(code);
}

void end_with(void *object, enum codes_object kind)
{
    if (err == UNSET) {
        printf(" -> %s", object ? "an object" : "NULL");
    } else {
        say(err);
        if (!object != (err != CL_SUCCESS)) {
            printf(object ? " and an object" : " and NULL");
        }
    }
    if (object) {
        codes_release(object, kind);
    }
    finish_line(err);
}

int main(int argc, char **argv)
{
    first = argc > 1 ? atoi(argv[1]) : 0;
    codes_set_up(&a);
    codes_set_up(&b);
    try_all();
    printf("all\n");
    fflush(stdout);
    _exit(0); /* objects that the calls spoiled are nobody's business */
}
