"""In the guest: runs piglit's tests, as many at once as there are processors.

    piglit_tests.py FOLDER LIST FILE

LIST is JSON, [[name, [program, argument...]]...]; FILE gets a line for each test, and for each
of its subtests: the verdict, a tab, the name.

SPDX-License-Identifier: MIT
"""
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIMIT = 120
SAID = re.compile(r"^PIGLIT: (\{.*\})\s*$", re.M)


def verdicts(folder, name, command):
    """[(name, verdict)] of a test."""
    environment = {**os.environ, "PIGLIT_PLATFORM": "gbm", "PIGLIT_SOURCE_DIR": str(folder),
                   "LD_LIBRARY_PATH": f"{folder}/lib"}
    program = [folder / "bin" / command[0], *command[1:]]
    try:
        end = subprocess.run(program, cwd=folder, env=environment, timeout=LIMIT, capture_output=True, text=True,
                             errors="replace", stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return [(name, "timeout")]
    if end.returncode < 0:
        return [(name, "crash")]
    said = [json.loads(text) for text in SAID.findall(end.stdout)]
    found = [(f"{name}@{part}", verdict) for one in said for part, verdict in one.get("subtest", {}).items()]
    whole = [one["result"] for one in said if "result" in one]
    return [*found, (name, whole[-1] if whole else "fail")]


def main():
    folder, tests = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    with open(sys.argv[3], "w") as out, ThreadPoolExecutor(os.cpu_count()) as pool:
        for results in pool.map(lambda test: verdicts(folder, *test), tests):
            for name, verdict in results:
                out.write(f"{verdict}\t{name}\n")
            out.flush()


main()
