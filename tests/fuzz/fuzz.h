/*
 * What the fuzz targets share: taking a fuzzer's bytes apart, and stopping when
 * something is not as it should be.
 *
 * A target is one input function that libFuzzer calls with bytes which it changes so
 * that they reach new code. It links the code under test as it is; what that code must
 * not really do (fork, call a driver) the target replaces, by its own function
 * of that name or by the linker's --wrap.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is left of the input; after its end everything reads as zero. */
struct fuzz_input {
    const uint8_t *p;
    size_t left;
};

static inline void fuzz_bytes(struct fuzz_input *in, void *to, size_t n)
{
    size_t have = n < in->left ? n : in->left;

    if (have) {
        memcpy(to, in->p, have);
    }
    memset((char *)to + have, 0, n - have);
    in->p += have;
    in->left -= have;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
    uint8_t v;

    fuzz_bytes(in, &v, sizeof(v));
    return v;
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
    uint32_t v;

    fuzz_bytes(in, &v, sizeof(v));
    return v;
}

/** fuzz_require: end the fuzzer, which keeps the input, unless @ok. */
#define fuzz_require(ok)                                                   \
    do {                                                                   \
        if (!(ok)) {                                                       \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #ok); \
            abort();                                                       \
        }                                                                  \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
