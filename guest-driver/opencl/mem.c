/*
 * Memory objects of all kinds: flags, reference counts, information, the end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <stdlib.h>

#include "opencl_call.h"

static bool at_most_one(cl_mem_flags flags)
{
    return (flags & (flags - 1)) == 0;
}

cl_int mem_check_flags(cl_mem_flags flags)
{
    const cl_mem_flags known =
        MEM_ACCESS_FLAGS | MEM_HOST_PTR_FLAGS | MEM_HOST_ACCESS_FLAGS |
        CL_MEM_KERNEL_READ_AND_WRITE;

    if ((flags & ~known) || !at_most_one(flags & MEM_ACCESS_FLAGS) ||
        !at_most_one(flags & MEM_HOST_ACCESS_FLAGS) ||
        ((flags & CL_MEM_USE_HOST_PTR) &&
         (flags & (CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR)))) {
        return CL_INVALID_VALUE;
    }
    return CL_SUCCESS;
}

cl_int mem_check_host_ptr(cl_mem_flags flags, const void *host_ptr)
{
    bool needed = flags & (CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR);

    return needed == (host_ptr != NULL) ? CL_SUCCESS : CL_INVALID_HOST_PTR;
}

cl_int mem_check_properties(const cl_mem_properties *properties)
{
    return properties && properties[0] ? CL_INVALID_PROPERTY : CL_SUCCESS;
}

cl_mem mem_create(cl_context context, cl_mem_object_type kind,
                  cl_mem_flags flags, size_t size)
{
    struct session *s = context->obj.session;
    cl_mem mem = cl_object_create(s, OPENCL_cl_mem);

    if (!mem) {
        return NULL;
    }
    mem->context = context;
    mem->kind = kind;
    mem->flags = flags & MEM_ACCESS_FLAGS ? flags : flags | CL_MEM_READ_WRITE;
    mem->size = size;
    cl_object_hold(context);
    mem->obj.id = session_new_id(s);
    if (!mem->obj.id) {
        cl_object_undo(mem);
        return NULL;
    }
    return mem;
}

bool mem_allows(cl_mem mem, bool write)
{
    cl_mem_flags no = write ? CL_MEM_HOST_READ_ONLY : CL_MEM_HOST_WRITE_ONLY;

    return !(mem->flags & (no | CL_MEM_HOST_NO_ACCESS));
}

char *mem_home(cl_mem mem, size_t offset)
{
    if (mem->parent) {
        return mem->kind == CL_MEM_OBJECT_BUFFER
                   ? mem_home(mem->parent, mem->origin + offset)
                   : NULL;
    }
    return mem->region.data ? (char *)mem->region.data + offset : NULL;
}

CL_API_ENTRY cl_int CL_API_CALL clRetainMemObject(cl_mem mem)
{
    if (!cl_live(mem, OPENCL_cl_mem)) {
        return CL_INVALID_MEM_OBJECT;
    }
    cl_object_retain(mem);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseMemObject(cl_mem mem)
{
    if (!cl_live(mem, OPENCL_cl_mem) || !cl_object_release(mem)) {
        return CL_INVALID_MEM_OBJECT;
    }
    return CL_SUCCESS;
}

void mem_finish(void *object)
{
    cl_mem mem = object;
    struct session *s = mem->obj.session;

    while (mem->maps) {
        struct mapping *m = mem->maps;

        mem->maps = m->next;
        map_abandon(s, m);
    }
    callback_run(&mem->destructors, mem);
    if (mem->region.data) {
        region_destroy(s, &mem->region);
    }
    free(mem->image);
    cl_object_unhold(mem->parent);
    cl_object_unhold(mem->context);
}

CL_API_ENTRY cl_int CL_API_CALL clSetMemObjectDestructorCallback(
    cl_mem mem, void(CL_CALLBACK *pfn_notify)(cl_mem mem, void *user_data),
    void *user_data)
{
    if (!cl_live(mem, OPENCL_cl_mem)) {
        return CL_INVALID_MEM_OBJECT;
    }
    if (!pfn_notify) {
        return CL_INVALID_VALUE;
    }
    return callback_add(&mem->destructors,
                        (void (*)(void *, void *))pfn_notify, user_data);
}

CL_API_ENTRY cl_int CL_API_CALL clGetMemObjectInfo(cl_mem mem,
                                                   cl_mem_info param_name,
                                                   size_t param_value_size,
                                                   void *param_value,
                                                   size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };

    if (!cl_live(mem, OPENCL_cl_mem)) {
        return CL_INVALID_MEM_OBJECT;
    }
    switch (param_name) {
    case CL_MEM_TYPE:
        return info_value(&out, cl_mem_object_type, mem->kind);
    case CL_MEM_FLAGS:
        return info_value(&out, cl_mem_flags, mem->flags);
    case CL_MEM_SIZE:
        if (mem->kind != CL_MEM_OBJECT_BUFFER) {
            /* With whatever gaps the host leaves. */
            return call_clGetMemObjectInfo(mem->obj.session, mem->obj.id,
                                           CL_MEM_SIZE, param_value_size,
                                           param_value, param_value_size_ret);
        }
        return info_value(&out, size_t, mem->size);
    case CL_MEM_HOST_PTR:
        return info_value(&out, void *, mem->host_ptr);
    case CL_MEM_MAP_COUNT:
        return info_value(&out, cl_uint, mem->map_count);
    case CL_MEM_REFERENCE_COUNT:
        return info_value(&out, cl_uint, cl_object_refs(mem));
    case CL_MEM_CONTEXT:
        return info_value(&out, cl_context, mem->context);
    case CL_MEM_ASSOCIATED_MEMOBJECT:
        return info_value(&out, cl_mem, mem->parent);
    case CL_MEM_OFFSET:
        return info_value(&out, size_t, mem->origin);
    case CL_MEM_USES_SVM_POINTER:
        return info_value(&out, cl_bool, mem->in_svm);
    case CL_MEM_PROPERTIES:
        return info_bytes(&out, (cl_mem_properties[]){ 0 },
                          mem->property_count * sizeof(cl_mem_properties));
    default:
        return CL_INVALID_VALUE;
    }
}
