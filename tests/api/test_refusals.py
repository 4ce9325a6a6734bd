# SPDX-License-Identifier: MIT
"""A description that the wire cannot carry is refused: one line with file, line
and a sentence that names the culprit. And one that it can is not."""

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
VGPU_GEN = os.path.join(ROOT, "scripts", "vgpu-gen")

HEAD = """api demo 1 <CL/cl.h> error cl_int lost CL_OUT_OF_RESOURCES;
scalar i32 cl_int;
scalar u32 cl_uint, cl_bool, cl_mem_info;
scalar u64 size_t, cl_mem_flags;
scalar u8 char;
struct cl_image_format 8;
handle cl_device_id CL_INVALID_DEVICE;
handle cl_context CL_INVALID_CONTEXT clRetainContext clReleaseContext;
handle cl_command_queue CL_INVALID_COMMAND_QUEUE clRetainCommandQueue clReleaseCommandQueue;
handle cl_mem CL_INVALID_MEM_OBJECT clRetainMemObject clReleaseMemObject;
handle cl_event CL_INVALID_EVENT clRetainEvent clReleaseEvent;
info cl_mem_info else CL_INVALID_VALUE { CL_MEM_SIZE size_t; }
"""
LINE = HEAD.count("\n") + 1


def generate(tmp_path, text, *args):
    path = tmp_path / "demo.api"
    path.write_text(text)
    return subprocess.run([sys.executable, VGPU_GEN, "demo.api", *args],
                          cwd=tmp_path, capture_output=True, text=True,
                          timeout=60, check=False)


def refused(tmp_path, text, line, *words):
    done = generate(tmp_path, text)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"demo.api:{line}: "), done.stderr
    for word in words:
        assert word in done.stderr


# name: (statement after HEAD, line after it, words that the sentence has)
REFUSED = {
    # the text itself
    "character_without_meaning":
        ("0x1 cl_int clF(cl_mem m) $;", 0, ["'$'"]),
    "statement_unknown": ("handel cl_x CL_Y;", 0, ["'handel'", "handle"]),
    "second_api": ("api other 2 error cl_int lost CL_X;", 0, ["second 'api'"]),
    "missing_semicolon": ("custom clF", 1, ["';'"]),
    "unclosed_parameters": ("0x1 cl_int clF(cl_mem m;", 0, ["')'", "';'"]),
    "unclosed_condition":
        ("0x1 cl_int clF(cl_mem m) wait (1;", 0, ["'('", "not closed"]),
    "call_word_unknown": ("0x1 cl_int clF(cl_mem m) asynch;", 0,
                          ["'asynch'", "async"]),
    "call_word_twice": ("0x1 cl_int clF(cl_mem m) async async;", 0,
                        ["twice"]),
    "lazy_and_waited_for": ("0x1 cl_int clF(cl_mem m) lazy;", 0,
                            ["'lazy'", "'async'"]),
    "wait_and_async": ("0x1 cl_int clF(cl_mem m) async wait (1);", 0,
                       ["'wait'", "'async'"]),
    "parameter_word_twice": ("0x1 cl_int clF(bulk bulk in void *p[3]);", 0,
                             ["'bulk'", "twice"]),
    "in_and_out": ("0x1 cl_int clF(in out cl_int *p);", 0,
                   ["either 'in' or 'out'"]),
    "suffix_unknown": ("0x1 cl_int clF(in cl_int *p[3] maximum 4);", 0,
                       ["'maximum'", "max"]),
    "extent_malformed": ("0x1 cl_int clF(in cl_int *p[-3]);", 0,
                         ["'p'", "'-'"]),
    "scalar_kind_unknown": ("scalar u33 cl_x;", 0, ["'u33'", "u32"]),
    "type_twice": ("scalar u32 cl_int;", 0, ["'cl_int'", "twice"]),
    "info_twice": ("info cl_mem_info else CL_X { }", 0, ["second table"]),
    "info_without_error": ("info cl_mem_info { CL_MEM_SIZE size_t; }", 0,
                           ["'else'"]),
    # names, numbers, types
    "number_zero": ("0x0 cl_int clF(cl_mem m);", 0, ["0x0", "0x1..0xfff"]),
    "number_too_large": ("0x1000 cl_int clF(cl_mem m);", 0, ["0x1000"]),
    "number_used_twice":
        ("0x1 cl_int clF(cl_mem m) entry;\n0x1 cl_int clG(cl_mem m) entry;",
         1, ["clG", "clF", "never"]),
    "name_used_twice":
        ("custom clF;\n0x1 cl_int clF(cl_mem m) entry;", 1,
         ["clF", "second time"]),
    "type_unknown": ("0x1 cl_int clF(cl_memory m);", 0,
                     ["'cl_memory'", "'m'"]),
    "return_type_not_an_error": ("0x1 cl_uint clF(cl_mem m);", 0,
                                 ["'cl_uint'", "cl_int"]),
    "new_return_not_a_handle": ("0x1 new cl_int clF(cl_mem m);", 0,
                                ["'cl_int'", "handle"]),
    "new_without_errcode": ("0x1 new cl_mem clF(cl_context c_);", 0,
                            ["errcode_ret"]),
    "parameter_name_twice": ("0x1 cl_int clF(cl_mem m, cl_mem m);", 0,
                             ["'m'"]),
    "parameter_name_reserved": ("0x1 cl_int clF(cl_mem s);", 0, ["'s'"]),
    "info_type_undeclared": ("info cl_foo_info else CL_X { }", 0,
                             ["'cl_foo_info'"]),
    "info_name_twice":
        ("scalar u32 cl_x_info;\ninfo cl_x_info else CL_X { A size_t; "
         "A size_t; }", 1, ["A", "twice"]),
    "info_answers_a_handle":
        ("scalar u32 cl_x_info;\ninfo cl_x_info else CL_X { A cl_mem; }", 1,
         ["A", "local"]),
    "info_element_undeclared":
        ("scalar u32 cl_x_info;\ninfo cl_x_info else CL_X { A cl_foo; }", 1,
         ["'cl_foo'"]),
    # values
    "value_with_direction": ("0x1 cl_int clF(in size_t n);", 0, ["'n'"]),
    "value_with_extent": ("0x1 cl_int clF(size_t n[3]);", 0, ["'n'"]),
    "struct_by_value": ("0x1 cl_int clF(cl_image_format f);", 0,
                        ["'f'", "pointer"]),
    "small_value": ("0x1 cl_int clF(char ch);", 0, ["'ch'", "4 or 8"]),
    "new_value": ("0x1 cl_int clF(new cl_mem m);", 0, ["'m'", "pointer"]),
    "bulk_value": ("0x1 cl_int clF(bulk size_t n);", 0, ["'n'", "bulk"]),
    "drop_of_a_scalar": ("0x1 cl_int clF(drop size_t n);", 0,
                         ["'n'", "dropped"]),
    "two_drops": ("0x1 cl_int clF(drop cl_mem m, drop cl_mem n) entry;", 0,
                  ["drops two"]),
    # pointers
    "pointer_without_direction": ("0x1 cl_int clF(cl_int *p);", 0,
                                  ["'p'", "direction"]),
    "pointer_to_pointers": ("0x1 cl_int clF(in const char **p[3]);", 0,
                            ["'p'", "'wire'"]),
    "out_to_const": ("0x1 cl_int clF(out const cl_int *p);", 0,
                     ["'p'", "const"]),
    "void_without_extent": ("0x1 cl_int clF(in void *p);", 0,
                            ["'p'", "extent"]),
    "drop_of_a_pointer": ("0x1 cl_int clF(in drop cl_mem *p);", 0, ["'p'"]),
    "when_without_optional":
        ("0x1 cl_int clF(cl_bool b, in cl_int *p[3] when (b));", 0,
         ["'p'", "'in?'"]),
    "new_array": ("0x1 cl_int clF(out new cl_mem *p[3]);", 0,
                  ["'p'", "one handle"]),
    "new_of_a_host_object":
        ("0x1 cl_int clF(cl_mem m, out new cl_device_id *d) entry;", 0,
         ["cl_device_id", "releases"]),
    # extents
    "extent_of_nothing": ("0x1 cl_int clF(in cl_int *p[n]);", 0,
                          ["'n'", "no parameter"]),
    "extent_of_a_handle": ("0x1 cl_int clF(cl_mem m, in cl_int *p[m]);", 0,
                           ["'m'", "not a scalar"]),
    "extent_may_be_negative":
        ("0x1 cl_int clF(cl_int n, in cl_int *p[n]);", 0,
         ["'n'", "negative"]),
    "extent_of_three_factors":
        ("0x1 cl_int clF(size_t i, size_t j, size_t k, "
         "in char *p[i * j * k]);", 0, ["'p'", "two"]),
    "text_of_numbers": ("0x1 cl_int clF(in const cl_int *p[nul]);", 0,
                        ["'p'", "NUL"]),
    "list_of_bytes": ("0x1 cl_int clF(in const char *p[pairs] max 9);", 0,
                      ["'p'", "8-byte"]),
    "list_without_bound": ("0x1 cl_int clF(in const size_t *p[pairs]);", 0,
                           ["'p'", "max"]),
    "used_of_nothing":
        ("0x1 cl_int clF(cl_uint n, out cl_int *p[n : *m] max 4);", 0,
         ["'m'", "'p'"]),
    "used_of_an_input":
        ("0x1 cl_int clF(cl_uint n, in cl_int *p[n : *m], "
         "out cl_uint *m);", 0, ["'p'", "'out'"]),
    # bulk and answers
    "bulk_without_extent": ("0x1 cl_int clF(bulk in cl_int *p);", 0,
                            ["'p'", "extent"]),
    "bulk_handles": ("0x1 cl_int clF(cl_uint n, bulk in cl_mem *p[n]);", 0,
                     ["'p'", "handles"]),
    "bulk_input_without_serve":
        ("0x1 cl_int clF(size_t n, bulk in void *p[n]) entry;", 0,
         ["'p'", "'serve'"]),
    "late_input": ("0x1 cl_int clF(size_t n, bulk late in void *p[n]);", 0,
                   ["'p'", "late"]),
    "late_without_serve":
        ("0x1 cl_int clF(size_t n, bulk late out void *p[n]) entry;", 0,
         ["'p'", "'serve'"]),
    "output_without_bound":
        ("0x1 cl_int clF(cl_uint n, out cl_int *p[n]) entry;", 0,
         ["'p'", "max"]),
    "output_too_large_for_the_stack":
        ("0x1 cl_int clF(cl_uint n, out size_t *p[n] max 1000) entry;", 0,
         ["'p'", "8000", "2048"]),
    "answer_too_large":
        ("0x1 cl_int clF(out size_t *p[256], out size_t *q[256]) entry;", 0,
         ["clF", "4096"]),
    "two_bulk_outputs":
        ("0x1 cl_int clF(size_t n, bulk out void *p[n], bulk out void *q[n])"
         " entry;", 0, ["2 bulk outputs"]),
    "output_that_nobody_waits_for":
        ("0x1 cl_int clF(cl_mem m, out cl_int *p) async;", 0,
         ["'p'", "wait"]),
    "output_of_a_struct":
        ("0x1 cl_int clF(cl_mem m, out cl_image_format *p);", 0,
         ["'p'", "[1]"]),
    "output_of_a_handle":
        ("0x1 cl_int clF(cl_mem m, out cl_context *p);", 0,
         ["'p'", "'serve'"]),
    "typed_by_nothing":
        ("0x1 cl_int clF(size_t n, bulk out void *p[n] by q) entry;", 0,
         ["'p'", "'q'"]),
    "typed_without_table":
        ("0x1 cl_int clF(cl_uint q, size_t n, bulk out void *p[n] by q) "
         "entry;", 0, ["'p'", "info cl_uint"]),
    # words
    "wire_call_without_serve": ("wire 0x1 cl_int vclF(cl_mem m);", 0,
                                ["vclF", "'serve'"]),
    "wire_call_with_entry":
        ("wire 0x1 cl_int vclF(cl_mem m) serve entry;", 0,
         ["vclF", "'entry'"]),
    "check_with_entry": ("0x1 cl_int clF(cl_mem m) entry check;", 0,
                         ["clF", "'check'"]),
    "blocks_with_serve":
        ("0x1 cl_int clF(cl_mem m) serve blocks;", 0, ["clF", "'blocks'"]),
    "blocks_without_retain":
        ("0x1 cl_int clF(cl_device_id d) blocks;", 0, ["'d'", "retained"]),
    # what a generated public function cannot do
    "entry_needed_for_new":
        ("0x1 new cl_mem clF(cl_context x, out? cl_int *errcode_ret);", 0,
         ["clF", "'entry'"]),
    "entry_needed_for_callback":
        ("0x1 cl_int clF(cl_mem m, callback void (CL_CALLBACK *pfn)(void));",
         0, ["'pfn'", "'entry'"]),
    "entry_needed_for_drop": ("0x1 cl_int clF(drop cl_mem m);", 0,
                              ["'m'", "'entry'"]),
    "entry_needed_for_event_without_command":
        ("0x1 cl_int clF(cl_command_queue q, out? new cl_event *e);", 0,
         ["'e'", "command"]),
    "null_value":
        ("0x1 cl_int clF(cl_mem m, null size_t n);", 0, ["'n'", "null"]),
    "wire_by_name":
        ("wire 0x1 cl_int vclF(cl_mem m) serve by_name;", 0, ["by_name"]),
    "refused_without_a_reason":
        ("refused CL_X cl_int clF(cl_mem m);", 0, ["##"]),
    "entry_needed_without_object":
        ("0x1 cl_int clF(size_t n);", 0, ["clF", "object"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(tmp_path, name):
    statement, line, words = REFUSED[name]
    refused(tmp_path, HEAD + statement + "\n", LINE + line, *words)


def test_empty_file_is_refused(tmp_path):
    refused(tmp_path, "", 1, "'api NAME")


def test_undeclared_error_type_is_refused(tmp_path):
    refused(tmp_path, "api demo 1 error cl_foo lost CL_X;\n", 1, "'cl_foo'")


def test_missing_file_is_named(tmp_path):
    done = subprocess.run([sys.executable, VGPU_GEN, "no.api"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no.api" in done.stderr and "No such file" in done.stderr


def test_unknown_output_is_named(tmp_path):
    done = generate(tmp_path, HEAD, "--only", "demo_foo.c", "-o", "out")
    assert done.returncode == 1
    assert "demo_foo.c" in done.stderr and "demo_call.c" in done.stderr


ACCEPTED = {
    "plain": "0x1 cl_int clF(cl_mem m);",
    "all_that_a_reply_holds":
        "0x1 cl_int clF(out size_t *p[250], out size_t *q[250]) entry;",
    "optional_handle": "0x1 cl_int clF(cl_mem m, in? cl_device_id d);",
    "comment_and_doc": "# a comment\n## for the manual\n0x1 cl_int clF("
                       "cl_mem m) async; # and more",
    "absent_and_custom": "absent clX, clY;\ncustom clZ;\nby_name clW;",
    "null": "0x1 cl_int clF(cl_mem m, null cl_foo *p) by_name;",
    "refused": "## It is so.\nrefused CL_X cl_int clF(cl_mem m),\n"
               "        cl_mem clG(cl_int n, cl_int *errcode_ret);",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_is_accepted(tmp_path, name):
    done = generate(tmp_path, HEAD + ACCEPTED[name] + "\n", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "demo_serve.c").exists()


def test_same_input_gives_same_output(tmp_path):
    """Also with another hash seed: nothing depends on the order of a set."""
    made = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        subprocess.run([sys.executable, VGPU_GEN,
                        os.path.join(ROOT, "api", "opencl.api"), "-o", out],
                       check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        made.append({p.name: p.read_bytes() for p in out.iterdir()})
    assert made[0] == made[1]
