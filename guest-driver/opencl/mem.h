/*
 * Memory objects: what buffers, images and transfers share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MEM_H
#define MEM_H

#include "command.h"

#define MEM_HOST_PTR_FLAGS                                                  \
    (CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR)
#define MEM_ACCESS_FLAGS                                                    \
    (CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY | CL_MEM_READ_ONLY)
#define MEM_HOST_ACCESS_FLAGS                                               \
    (CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS)

/** mem_check_flags: CL_INVALID_VALUE for combinations that exclude each other. */
cl_int mem_check_flags(cl_mem_flags flags);

/** mem_check_host_ptr: CL_INVALID_HOST_PTR if it does not go with @flags. */
cl_int mem_check_host_ptr(cl_mem_flags flags, const void *host_ptr);

/** mem_check_properties: there are none that we know. */
cl_int mem_check_properties(const cl_mem_properties *properties);

/**
 * mem_create: a shadow of @kind in @context, with an id, not known to the
 * host yet; NULL if there is no room.
 */
cl_mem mem_create(cl_context context, cl_mem_object_type kind,
                  cl_mem_flags flags, size_t size);

/** mem_allows: whether a host that reads (@write: writes) may touch @mem. */
bool mem_allows(cl_mem mem, bool write);

/** mem_home: where in shared memory byte @offset of @mem lives; NULL: nowhere. */
char *mem_home(cl_mem mem, size_t offset);

/** map_abandon: @m, in no list any more, will never be unmapped. */
void map_abandon(struct session *s, struct mapping *m);

/* --- transfers ---------------------------------------------------------------- */

/*
 * A box of bytes in the program's memory: @rows of @row bytes in each of
 * @slices, so far apart. A row alone is a box.
 */
struct box {
    size_t row, rows, slices;
    size_t row_pitch, slice_pitch;
};

/** box_bytes: of the box without gaps. box_is_dense: it has none. */
size_t box_bytes(const struct box *b);
bool box_is_dense(const struct box *b);
/** box_pack, box_unpack: between the box at @at and dense bytes. */
void box_pack(const struct box *b, const void *at, void *dense);
void box_unpack(const struct box *b, void *at, const void *dense);

/*
 * How a command's data reach the host: one of these per kind of command. @dense
 * and @span (NULL: inline or with the answer) hold box_bytes() bytes without gaps.
 */
struct transfer {
    cl_int (*send)(struct transfer *t, bool blocking, void *dense,
                   const struct wire_span *span);
    struct command *command;
    cl_mem mem; /* NULL: shared virtual memory */
    struct box box; /* in the program's memory */
    size_t offset;  /* of a buffer, or from address on */
    uint64_t address;
    size_t origin[3], region[3], row_pitch, slice_pitch;
};

/** transfer_read, transfer_write: move the data between @mem and @ptr. */
cl_int transfer_read(struct transfer *t, bool blocking, void *ptr);
cl_int transfer_write(struct transfer *t, bool blocking, const void *ptr);

/**
 * transfer_forget: the @size bytes at @memory are about to go: what has not
 * arrived there yet never will.
 */
void transfer_forget(struct session *s, const char *memory, size_t size);

/**
 * transfer_settle: let go of what reads have held that have arrived. This may run
 * a program's destructors: wherever it has waited, and nothing of ours is half done.
 */
void transfer_settle(void);

/*
 * stream_run: a large blocking transfer of a plain stretch, for which
 * stream_is_worth_it().
 */
#define STREAM_MIN ((size_t)256 << 10)
bool stream_is_worth_it(const struct transfer *t);
cl_int stream_run(struct transfer *t, void *ptr, bool write);

/*
 * A transfer that is not waited for takes as much of the pool as it has bytes. A
 * queue that keeps the order can have a large one in parts, so that the pool
 * need not hold all of it at once.
 */
#define LATE_CHUNK ((size_t)16 << 20)
bool stream_is_too_large(const struct transfer *t);

/**
 * stream_chunks: call @fn for each @chunk bytes of the plain stretch @t, which is
 * that chunk during the call; it begins @at bytes into the whole.
 */
typedef cl_int (*chunk_fn)(struct transfer *t, size_t at, void *opaque);
cl_int stream_chunks(struct transfer *t, size_t chunk, chunk_fn fn,
                     void *opaque);

/**
 * transfer_initial: write all @mem->size bytes at @data into the new buffer @mem,
 * whatever its flags allow later.
 */
cl_int transfer_initial(cl_mem mem, const void *data);

/* The send functions; reads and writes. */
cl_int send_read_buffer(struct transfer *t, bool blocking, void *dense,
                        const struct wire_span *span);
cl_int send_write_buffer(struct transfer *t, bool blocking, void *dense,
                         const struct wire_span *span);
cl_int send_read_svm(struct transfer *t, bool blocking, void *dense,
                     const struct wire_span *span);
cl_int send_write_svm(struct transfer *t, bool blocking, void *dense,
                      const struct wire_span *span);
cl_int send_read_image(struct transfer *t, bool blocking, void *dense,
                       const struct wire_span *span);
cl_int send_write_image(struct transfer *t, bool blocking, void *dense,
                        const struct wire_span *span);

/** image_check_box: whether @origin and @region lie within image @mem. */
cl_int image_check_box(cl_mem mem, const size_t *origin, const size_t *region);
/** image_has_slices: whether its data have a slice pitch. */
bool image_has_slices(cl_mem mem);
/** image_box: the box that @region of @mem is in memory of these pitches. */
cl_int image_box(cl_mem mem, const size_t *region, size_t row_pitch,
                 size_t slice_pitch, struct box *box);

#endif
