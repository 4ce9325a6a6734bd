# SPDX-License-Identifier: MIT
"""The generated manual has every function of the Khronos headers, none to be done."""

import os
import re
from pathlib import Path

MANUAL = Path(os.environ["VGPU_MANUAL"]).read_text(encoding="utf-8")
HEADERS = Path(os.environ["VGPU_HEADERS"]) / "CL"
STATUS = dict(re.findall(r"^   \* - (cl\w+)\n     - (.*)$", MANUAL, re.M))


def test_every_function_of_the_header_is_described():
    functions = re.findall(r"CL_API_CALL\s+(cl[A-Z]\w+)\(", (HEADERS / "cl.h").read_text(encoding="utf-8"))
    assert len(functions) > 100
    assert not set(functions) - set(STATUS)


def test_every_entry_of_the_loaders_table_is_described():
    text = (HEADERS / "cl_icd.h").read_text(encoding="utf-8")
    entries = re.findall(r"\b(cl[A-Z]\w+);", text[text.index("struct _cl_icd_dispatch"):])
    assert len(entries) > 140
    assert not set(entries) - set(STATUS)


def test_nothing_is_left_to_be_done():
    assert set(STATUS.values()) <= {"direct", "shim", "by name", "refused", "none"}
    # Only what no guest of ours can have: objects of Direct3D.
    assert all(re.search("D3D1|DX9", name) for name, status in STATUS.items() if status == "none")
