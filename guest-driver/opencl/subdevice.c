/*
 * Sub-devices: parts of the host's devices, made and counted like other objects.
 * Root devices are not counted.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kinds.h"

#include <CL/cl_ext.h>
#include <stdlib.h>
#include <string.h>

#include "opencl_call.h"

#define PROPERTIES_MAX 250
#define PARTS_MAX      256

/* --- making ----------------------------------------------------------------------- */

/*
 * The items of @properties without the zeros at their end; 0 if they are none. What a
 * property means is the host's to judge.
 */
static cl_uint count_properties(const cl_device_partition_property *properties)
{
    cl_uint n = 0;

    if (!properties || !properties[0]) {
        return 0;
    }
    if (properties[0] != CL_DEVICE_PARTITION_BY_COUNTS) {
        return properties[2] ? 0 : 2;
    }
    while (properties[n] && n < PROPERTIES_MAX) {
        n++;
    }
    return n < PROPERTIES_MAX ? n : 0;
}

/* What CL_DEVICE_PARTITION_TYPE answers: with all zeros. */
static bool remember(cl_device_id d,
                     const cl_device_partition_property *properties, cl_uint n)
{
    bool list = properties[0] == CL_DEVICE_PARTITION_BY_COUNTS;

    d->partition_count = n + (list ? 2 : 1);
    d->partition = calloc(d->partition_count, sizeof(properties[0]));
    if (d->partition) {
        memcpy(d->partition, properties, n * sizeof(properties[0]));
    }
    return d->partition != NULL;
}

static cl_device_id create_shadow(cl_device_id parent,
                                  const cl_device_partition_property *properties,
                                  cl_uint n)
{
    struct session *s = parent->obj.session;
    cl_device_id d = cl_object_create(s, OPENCL_cl_device_id);

    if (!d) {
        return NULL;
    }
    d->platform = parent->platform;
    d->parent = parent;
    cl_object_hold(parent);
    d->obj.id = session_new_id(s);
    if (!d->obj.id || !remember(d, properties, n)) {
        cl_object_undo(d);
        return NULL;
    }
    return d;
}

/* All @count parts that there are, into @parts. */
static cl_int create(cl_device_id parent,
                     const cl_device_partition_property *properties, cl_uint n,
                     cl_uint count, cl_device_id *parts)
{
    uint64_t ids[PARTS_MAX] = { 0 };
    cl_int err = CL_SUCCESS;
    cl_uint made, got;

    for (made = 0; made < count; made++) {
        parts[made] = create_shadow(parent, properties, n);
        if (!parts[made]) {
            err = CL_OUT_OF_HOST_MEMORY;
            break;
        }
        ids[made] = parts[made]->obj.id;
    }
    if (err == CL_SUCCESS) {
        err = call_vclCreateSubDevices(parent->obj.session, parent->obj.id, n,
                                       properties, count, ids, &got);
    }
    while (err != CL_SUCCESS && made) {
        cl_object_undo(parts[--made]);
    }
    for (cl_uint i = 0; err == CL_SUCCESS && i < count; i++) {
        device_load(parts[i]);
    }
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clCreateSubDevices(
    cl_device_id in_device, const cl_device_partition_property *properties,
    cl_uint num_devices, cl_device_id *out_devices, cl_uint *num_devices_ret)
{
    struct session *s = cl_session();
    cl_uint n, count = 0;
    cl_int err;

    if (!s || !cl_live(in_device, OPENCL_cl_device_id)) {
        return CL_INVALID_DEVICE;
    }
    n = count_properties(properties);
    if (!n || (!out_devices && !num_devices_ret)) {
        return CL_INVALID_VALUE;
    }
    err = call_vclCreateSubDevices(s, in_device->obj.id, n, properties, 0, NULL,
                                   &count);
    if (err == CL_SUCCESS && out_devices && num_devices < count) {
        err = CL_INVALID_VALUE;
    }
    if (err == CL_SUCCESS && out_devices) {
        err = count > PARTS_MAX ? CL_OUT_OF_RESOURCES
                                : create(in_device, properties, n, count,
                                         out_devices);
    }
    if (err == CL_SUCCESS && num_devices_ret) {
        *num_devices_ret = count;
    }
    return err;
}

/* --- the names of cl_ext_device_fission --------------------------------------------- */

static const cl_device_partition_property kinds[][2] = {
    { CL_DEVICE_PARTITION_EQUALLY_EXT, CL_DEVICE_PARTITION_EQUALLY },
    { CL_DEVICE_PARTITION_BY_COUNTS_EXT, CL_DEVICE_PARTITION_BY_COUNTS },
    { CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN_EXT,
      CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN },
};

static const cl_device_partition_property domains[][2] = {
    { CL_AFFINITY_DOMAIN_L1_CACHE_EXT, CL_DEVICE_AFFINITY_DOMAIN_L1_CACHE },
    { CL_AFFINITY_DOMAIN_L2_CACHE_EXT, CL_DEVICE_AFFINITY_DOMAIN_L2_CACHE },
    { CL_AFFINITY_DOMAIN_L3_CACHE_EXT, CL_DEVICE_AFFINITY_DOMAIN_L3_CACHE },
    { CL_AFFINITY_DOMAIN_L4_CACHE_EXT, CL_DEVICE_AFFINITY_DOMAIN_L4_CACHE },
    { CL_AFFINITY_DOMAIN_NUMA_EXT, CL_DEVICE_AFFINITY_DOMAIN_NUMA },
    { CL_AFFINITY_DOMAIN_NEXT_FISSIONABLE_EXT,
      CL_DEVICE_AFFINITY_DOMAIN_NEXT_PARTITIONABLE },
};

/* What stands beside @from in the @n pairs of @table; 0: it is not there. */
static cl_device_partition_property
translate(const cl_device_partition_property (*table)[2], size_t n,
          cl_ulong from)
{
    for (size_t i = 0; i < n; i++) {
        if (table[i][0] == (cl_device_partition_property)from) {
            return table[i][1];
        }
    }
    return 0;
}

CL_API_ENTRY cl_int CL_API_CALL clCreateSubDevicesEXT(
    cl_device_id in_device, const cl_device_partition_property_ext *properties,
    cl_uint num_entries, cl_device_id *out_devices, cl_uint *num_devices)
{
    cl_device_partition_property list[PROPERTIES_MAX] = { 0 };

    cl_session();
    if (!cl_live(in_device, OPENCL_cl_device_id)) {
        return CL_INVALID_DEVICE;
    }
    if (!properties) {
        return CL_INVALID_VALUE;
    }
    list[0] = translate(kinds, sizeof(kinds) / sizeof(kinds[0]), properties[0]);
    if (list[0] == CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN) {
        list[1] = translate(domains, sizeof(domains) / sizeof(domains[0]),
                            properties[1]);
    } else {
        for (size_t i = 1; list[0] && i < PROPERTIES_MAX - 2 && properties[i];
             i++) {
            list[i] = (cl_device_partition_property)properties[i];
        }
    }
    return clCreateSubDevices(in_device, list, num_entries, out_devices,
                              num_devices);
}

/* --- counting --------------------------------------------------------------------- */

CL_API_ENTRY cl_int CL_API_CALL clRetainDevice(cl_device_id device)
{
    cl_session();
    if (!cl_live(device, OPENCL_cl_device_id)) {
        return CL_INVALID_DEVICE;
    }
    if (device->parent) {
        cl_object_retain(device);
    }
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseDevice(cl_device_id device)
{
    cl_session();
    if (!cl_live(device, OPENCL_cl_device_id) ||
        (device->parent && !cl_object_release(device))) {
        return CL_INVALID_DEVICE;
    }
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clRetainDeviceEXT(cl_device_id device)
{
    return clRetainDevice(device);
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseDeviceEXT(cl_device_id device)
{
    return clReleaseDevice(device);
}

void device_finish(void *object)
{
    cl_device_id d = object;

    info_cache_clear(&d->cache);
    free(d->partition);
    cl_object_unhold(d->parent);
}
