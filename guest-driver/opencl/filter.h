/*
 * Which of the host's extensions a guest may use: those whose whole interface
 * crosses. What is not listed in filter.c is not shown.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FILTER_H
#define FILTER_H

#include "info.h"
#include "kinds.h"

/**
 * filter_extensions: answer with those names in the @size bytes at @text that
 * may be used of @device; NULL: of a platform, which has cl_khr_icd too.
 */
cl_int filter_extensions(const struct info_out *out, const char *text,
                         size_t size, cl_device_id device);

/** filter_versions: the same for an array of cl_name_version. */
cl_int filter_versions(const struct info_out *out, const void *list,
                       size_t size, cl_device_id device);

#endif
