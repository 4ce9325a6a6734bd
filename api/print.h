/*
 * Calls as text: one line each, the same on both ends, so that a diff of the
 * shim's trace and the worker's finds where they part.
 *
 *     clEnqueueCopyBuffer(command_queue=#3, src_buffer=#7, dst_buffer=#8,
 *     src_offset=0, dst_offset=0, size=4096, ..., event_wait_list=[#9], event=#10)
 *
 * `#` is an object's id, `-` a NULL. Long arrays and texts are cut short with "...". The
 * generator makes a table of parameters per call; this prints by it, and trusts
 * the message as little as a decoder does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PRINT_H
#define PRINT_H

#include <stdint.h>
#include <stdio.h>

#include "wire.h"

/* What a parameter is in the message. */
enum print_kind {
    PRINT_UNSIGNED, /* a value: one item */
    PRINT_SIGNED,
    PRINT_ID,       /* an object's id */
    PRINT_TEXT,     /* its bytes with the NUL: one item; the text among the arrays */
    PRINT_LIST,     /* its elements with the 0: one item; the list among the arrays */
    PRINT_ARRAY,    /* among the arrays, as many as other items say */
    PRINT_BULK,     /* three items; among the arrays if its blob is 0 */
    PRINT_PLACE,    /* three items: where output goes */
    PRINT_WANTED,   /* output that is wanted or not */
};

/* What the elements of an array are. */
enum print_element {
    PRINT_BYTES,
    PRINT_UNSIGNED_ELEMENT,
    PRINT_SIGNED_ELEMENT,
    PRINT_ID_ELEMENT,
};

struct print_param {
    const char *name;
    uint8_t kind;     /* enum print_kind */
    int8_t item;      /* its first own item, -1: none */
    int8_t present;   /* the item that says whether it is NULL, -1: it is not */
    uint8_t element;  /* enum print_element */
    uint16_t size;    /* bytes of an element */
    uint16_t factor;  /* count = factor times the items named by `counts` */
    int8_t counts[2]; /* -1: no item */
};

struct print_call {
    const char *name;
    uint8_t items; /* of the fixed part */
    uint8_t params;
    const struct print_param *param;
};

/**
 * print_call: print the call whose payload @in holds as one line on @f.
 *
 * A payload that cannot be decoded ends with "malformed" where it breaks off.
 */
void print_call(FILE *f, const struct print_call *call, struct wire_in in);

#endif
