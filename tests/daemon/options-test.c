/*
 * Which build options a guest may give, and what the host's compiler gets.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cl.h"

#define ADDED " -cl-kernel-arg-info"

static void expect(const char *options, const char *made)
{
    cl_int err = CL_SUCCESS;
    char *got = options_make(options, CL_INVALID_BUILD_OPTIONS, &err);
    char wanted[1024];

    if (!made) {
        if (got) {
            fail_msg("'%s' is let through as '%s'", options, got);
        }
        assert_int_equal(err, CL_INVALID_BUILD_OPTIONS);
        return;
    }
    if (!got) {
        fail_msg("'%s' is refused", options);
    }
    snprintf(wanted, sizeof(wanted), "%s%s", made, ADDED);
    assert_string_equal(got, wanted);
    free(got);
}

static void none_are_fine(void **state)
{
    expect(NULL, "");
    expect("", "");
    expect("  \t", "");
}

static void options_of_the_specification_pass(void **state)
{
    static const char *const options[] = {
        "-cl-single-precision-constant", "-cl-denorms-are-zero",
        "-cl-fp32-correctly-rounded-divide-sqrt", "-cl-opt-disable",
        "-cl-strict-aliasing", "-cl-uniform-work-group-size",
        "-cl-no-subgroup-ifp", "-cl-mad-enable", "-cl-no-signed-zeros",
        "-cl-unsafe-math-optimizations", "-cl-finite-math-only",
        "-cl-fast-relaxed-math", "-w", "-Werror", "-cl-std=CL1.2",
        "-cl-std=CL3.0", "-cl-std=CLC++2021", "-cl-kernel-arg-info", "-g",
        "-create-library", "-enable-link-options", "-spir-std=1.2",
    };
    char made[256];

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        snprintf(made, sizeof(made), "%s ", options[i]);
        expect(options[i], made);
    }
}

static void options_of_drivers_pass(void **state)
{
    expect("-O3 -Wall -Wno-unused", "-O3 -Wall -Wno-unused ");
    expect("-cl-nv-maxrregcount=32 -cl-nv-verbose",
           "-cl-nv-maxrregcount=32 -cl-nv-verbose ");
    expect("-cl-intel-256-GRF-per-thread", "-cl-intel-256-GRF-per-thread ");
    expect("-fno-bin-source -fbin-exe", "-fno-bin-source -fbin-exe ");
    expect("-x clc -x spir", "-x clc -x spir ");
}

static void definitions_take_any_text(void **state)
{
    expect("-DA", "-D A ");
    expect("-D A=1 -UB", "-D A=1 -U B ");
    expect("-DF=\"a b\"", "-D F=\"a b\" ");
    expect("-D 'F=(a+b)' -w", "-D 'F=(a+b)' -w ");
    expect("\"-DA=1\"", "-D A=1 ");
    expect("-DMINUS=-1", "-D MINUS=-1 ");
}

static void definitions_hide_no_option(void **state)
{
    expect("-D\"A -include /etc/passwd\"", NULL);
    expect("-D \"A -include /etc/passwd\"", NULL);
    expect("-DA=b\\ -fplugin=x", NULL);
    expect("-D'A' '-fplugin=x'", NULL);
    expect("-D\"A \"-fplugin=x", NULL);
    expect("-D -fplugin=x", NULL);
    expect("-D", NULL);
    expect("-D \"\"", NULL);
    expect("\"-DA -w\"", NULL);
}

static void include_paths_are_the_guests_or_none(void **state)
{
    char made[8192], cwd[4096];

    assert_non_null(getcwd(cwd, sizeof(cwd)));
    snprintf(made, sizeof(made), "-I %s/guest/opt/x ", cwd);
    expect("-I/vgpu-guest/opt/x", made);
    expect("-I /vgpu-guest/opt/x", made);
    expect("-I/usr/include -I ../x -I.", "");
    expect("-I/vgpu-guest/../../etc", "");
    expect("-I/vgpu-guest/x\" -w\"", NULL);
}

static void all_else_is_refused(void **state)
{
    static const char *const options[] = {
        "-include x", "-imacros x", "@x", "/etc/passwd", "-isystem /etc",
        "-iquote x", "-Xclang -load", "-o x", "-Wp,-include,x", "-Wl,-x",
        "-Wa,-x", "-fplugin=x", "\"-include\" x", "-mllvm x", "-save-temps",
        "-save-temps=x", "-cl-unknown", "-cl-std=../x", "-cl-ext=/x",
        "-cl-nv-dump=/tmp/x", "-O/x", "-x", "-x c", "-x ../x", "-ferror", "-M",
        "-MF x", "-I", "-fno-bin-/x", "-g/x", "--help", "-", "\"\"x",
        "-cl-opt-disableX", "x=y",
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        expect(options[i], NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_are_fine),
        cmocka_unit_test(options_of_the_specification_pass),
        cmocka_unit_test(options_of_drivers_pass),
        cmocka_unit_test(definitions_take_any_text),
        cmocka_unit_test(definitions_hide_no_option),
        cmocka_unit_test(include_paths_are_the_guests_or_none),
        cmocka_unit_test(all_else_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
