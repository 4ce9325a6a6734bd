/*
 * The table from the guest's object ids to the host's objects. Every entry has a
 * type, so that no id of one kind is ever used as another.
 *
 * Ids below HANDLE_HOST_FIRST are chosen by the guest; from there on by the
 * worker, for objects that exist before the guest asks (platforms, devices).
 *
 * An object whose asynchronous creation failed stays in the table as an error:
 * whoever names it gets that error, until the guest drops it.
 *
 * Thread-safe: every function takes the table's lock for a few instructions.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef HANDLES_H
#define HANDLES_H

#include <stdbool.h>
#include <stdint.h>

#define HANDLE_HOST_FIRST (1ull << 31)

struct handles;

/** handles_create: an empty table for at most @max guest objects, or NULL. */
struct handles *handles_create(uint32_t max);
void handles_destroy(struct handles *h);

/**
 * handles_put: enter @object under @id. Returns 0, -EEXIST if the id is in use,
 * -EINVAL if it is no guest's to choose, -ENOSPC/-ENOMEM.
 */
int handles_put(struct handles *h, uint64_t id, unsigned type, void *object);

/** handles_put_error: like handles_put, for an object that failed with @error. */
int handles_put_error(struct handles *h, uint64_t id, unsigned type,
                      int32_t error);

/**
 * handles_get: the object @id of @type.
 *
 * Returns NULL if there is none; *@error is then the error it failed with, or
 * left alone if there never was such an object.
 */
void *handles_get(struct handles *h, uint64_t id, unsigned type,
                  int32_t *error);

/** handles_take: like handles_get, and remove it from the table. */
void *handles_take(struct handles *h, uint64_t id, unsigned type,
                   int32_t *error);

/**
 * handles_host_id: the id of the host object @object (a platform, a device),
 * entering it if it is new. Returns 0 if the table is full.
 */
uint64_t handles_host_id(struct handles *h, unsigned type, void *object);

/** handles_count: live guest objects. */
uint32_t handles_count(struct handles *h);

#endif
