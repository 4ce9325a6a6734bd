/*
 * An OpenCL that computes nothing and believes nothing: every handle must be a
 * live object of the right kind, every byte that a driver would read is read, and every
 * one it would write is written. Under AddressSanitizer a decoder that passes a dead
 * object, or less memory than it says, ends the fuzzer.
 *
 * Commands end when somebody looks at their events, and use their memory once more
 * then. Whether a call fails is the input's to decide.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FAKE_OPENCL_H
#define FAKE_OPENCL_H

#include "fuzz.h"

/** fake_begin: start with no objects; @chance says which calls fail. */
void fake_begin(struct fuzz_input *chance);

/** fake_end: free every object. */
void fake_end(void);

/** fake_references: those held to all objects but platforms and devices. */
unsigned fake_references(void);

#endif
