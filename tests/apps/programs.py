"""Which programs of others are run, and what of a run has to be the same.

A program is a name, the Debian package that has it, a command, and what to look
at when it has ended: a function from the run to a dict of verdicts, one a test
within the program. `{tmp}` is a directory of the run's own, `{photo}` and
`{clip}` are files to work on. A program that needs no more than `deps tests` and
takes a second or two is `quick`: those run in `make check`.

SPDX-License-Identifier: MIT
"""
import glob
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

EXAMPLES = "/usr/share/doc/python-pyopencl-doc/examples"


@dataclass
class Run:
    """A program that has ended."""
    status: int         # negative: the signal
    text: str           # stdout and stderr
    tmp: Path


# --- what is compared ---------------------------------------------------------

OURS = {}           # a name that the shim gives: what the host has there


def plain(text):
    """Without what names the way to the device, colours, addresses and times."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    for ours, hosts in OURS.items():
        text = text.replace(ours, hosts)
    text = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", text)
    # A compiler's talk comes only where the host's cache has no binary yet.
    text = re.sub(r"^\d+ (warning|error)s? generated\.\n", "", text, flags=re.M)
    return re.sub(r"[\d.]+ ?(?:seconds|secs?|ms|us|s)\b", "TIME", text)


def status(run):
    return {"status": run.status}


def output(run):
    """Every line of what it says."""
    return {**status(run), "output": plain(run.text).splitlines()}


def coarse(run):
    """The lines that are not about memory that host and device see at once."""
    return {**status(run), "output": [line for line in plain(run.text).splitlines() if "ine-grained" not in line]}


def shape(run):
    """The lines without numbers: of what is a measurement."""
    return {**status(run), "output": [re.sub(r"-?\d[\d.e+-]*", "N", line) for line in plain(run.text).splitlines()]}


def verdict(run):
    """The lines that say how it went: around them is a compiler's talk."""
    return {**status(run), "output": re.findall(r".*(?:PASS|FAIL|rror:).*", plain(run.text))}


def piglit(run):
    """Piglit's own verdict on a program and on each of its parts."""
    return {**status(run), **{f"{i}: {verdict}": 1 for i, verdict in
                              enumerate(re.findall(r"^PIGLIT: (.*)", run.text, re.M))}}


def clblast(run):
    """How many cases of each routine and precision passed."""
    verdicts = status(run)
    routine = "?"
    for line in plain(run.text).splitlines():
        found = re.search(r"Starting tests for the '(\w+)'", line)
        if found:
            routine = found[1]
        found = re.search(r"^\s+(\d+) test\(s\) (\w+)|(All tests skipped)", line)
        if found:
            verdicts[f"{routine} {found[2] or found[3]}"] = found[1]
    return verdicts


def pytest(run):
    """Each test's verdict."""
    return {**status(run), **dict(re.findall(r"^(\S+::.*?) (PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)\b",
                                             plain(run.text), re.M))}


def made(run):
    """The bytes of the files that it made."""
    return {**status(run), **{str(path.relative_to(run.tmp)): hashlib.sha256(path.read_bytes()).hexdigest()
                              for path in sorted(run.tmp.rglob("*"))
                              if path.is_file() and path.suffix != ".clbin"}}      # x264's compiled kernels


def darktable(run):
    """What it could use the device for, and the picture's bytes."""
    return {**made(run), "OpenCL": re.findall(r"(?:FINALLY|could not build|failed|processed|\d+ out of).*", run.text)}


# --- programs -----------------------------------------------------------------

@dataclass
class Program:
    name: str
    package: str
    command: list
    compare: object = status
    limit: int = 120            # seconds, either way
    calls: int = 1              # that it makes at least, or it did nothing worth comparing
    quick: bool = False
    env: dict = field(default_factory=dict)
    needs: str = ""             # a command that has to be there besides
    files: tuple = ()           # copied into its directory


def ffmpeg(name, graph, inputs=("clip",), quick=False):
    """The hash of every frame behind a filter; decoder and scaler are the exact ones."""
    words = [word for i in inputs for word in ("-idct", "simple", "-i", "{%s}" % i)]
    return Program(f"ffmpeg {name}", "ffmpeg",
                   ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-y", "-init_hw_device",
                    "opencl=cl:0.0", "-filter_hw_device", "cl", *words, "-sws_flags", "bitexact+accurate_rnd",
                    "-filter_complex", graph, "-frames:v", "8", "-f", "framemd5", "{tmp}/frames"],
                   made, calls=20, quick=quick)


def around(filters, pixels="yuv420p"):
    return f"format={pixels},hwupload,{filters},hwdownload,format={pixels}"


def two(filters, pixels="yuv420p"):
    return (f"[0:v]format={pixels},hwupload[a];[1:v]format={pixels},hwupload[b];"
            f"[a][b]{filters},hwdownload,format={pixels}")


INVERT = "{here}/invert.cl"
FFMPEG = {
    "avgblur": around("avgblur_opencl=sizeX=5:sizeY=3"),
    "boxblur": around("boxblur_opencl=luma_radius=4:luma_power=2"),
    "colorkey": around("colorkey_opencl=color=green:similarity=0.4:blend=0.1", "rgba"),
    "convolution": around("convolution_opencl=0m='0 -1 0 -1 5 -1 0 -1 0':1rdiv=0.2"),
    "deshake": around("deshake_opencl=tripod=0"),
    "dilation": around("dilation_opencl"),
    "erosion": around("erosion_opencl=threshold0=30"),
    "nlmeans": around("nlmeans_opencl=s=3:p=5:r=7"),
    "pad": around("pad_opencl=iw+16:ih+16:8:8:red"),
    "prewitt": around("prewitt_opencl=scale=2"),
    "program": around(f"program_opencl=source={INVERT}:kernel=invert", "rgba"),
    "roberts": around("roberts_opencl"),
    "sobel": around("sobel_opencl=delta=10"),
    "tonemap": ("setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc,format=p010,hwupload,"
                "tonemap_opencl=tonemap=hable:format=nv12:t=bt709:m=bt709:p=bt709,hwdownload,format=nv12"),
    "transpose": around("transpose_opencl=clock"),
    "unsharp": around("unsharp_opencl=lx=7:ly=7:la=1.5"),
}
FFMPEG_TWO = {
    "overlay": two("overlay_opencl=20:10"),
    "xfade": two("xfade_opencl=transition=wipeleft:duration=0.2:offset=0.1", "rgba"),
}
REMAP = ("[0:v]format=rgba,hwupload[a];color=black:320x240:25,geq='mod(X+8\\,W)',format=gray16le,hwupload[x];"
         "color=black:320x240:25,geq='Y',format=gray16le,hwupload[y];"
         "[a][x][y]remap_opencl,hwdownload,format=rgba")


def ffmpeg_programs():
    yield from (ffmpeg(name, graph, quick=name in ("unsharp", "transpose")) for name, graph in FFMPEG.items())
    yield from (ffmpeg(name, graph, ("clip", "clip")) for name, graph in FFMPEG_TWO.items())
    yield ffmpeg("remap", REMAP)
    yield ffmpeg("unsharp of a photograph", around("unsharp_opencl=lx=7:ly=7:la=1.5", "yuv444p"), ("photo",))


# Modes of hashcat, and the hash of "gpu7" in each; its own self-test runs before.
def hexadecimal(kind, text=b"gpu7"):
    return hashlib.new(kind, text, usedforsecurity=False).hexdigest()


HASHCAT = {
    "0 md5": hexadecimal("md5"), "100 sha1": hexadecimal("sha1"), "1300 sha224": hexadecimal("sha224"),
    "1400 sha256": hexadecimal("sha256"), "10800 sha384": hexadecimal("sha384"), "1700 sha512": hexadecimal("sha512"),
    "600 blake2b": "$BLAKE2$" + hexadecimal("blake2b"), "17400 sha3-256": hexadecimal("sha3_256"),
    "2600 md5 of md5": hexadecimal("md5", hexadecimal("md5").encode()),
    "4500 sha1 of sha1": hexadecimal("sha1", hexadecimal("sha1").encode()),
}


def hashcat_programs():
    for mode, digest in HASHCAT.items():
        yield Program(f"hashcat {mode}", "hashcat",
                      ["hashcat", "--quiet", "-m", mode.split()[0], "-a", "3", "--potfile-disable", "--restore-disable",
                       "--session", "apps", "--outfile-format", "2", "-o", "{tmp}/plain", digest, "?l?l?l?d"],
                      made, limit=240, calls=20)


# For those that take nothing but a GPU, or go by a platform's name: see layer.c.
GPU = {"OPENCL_LAYERS": "{layer}", "VGPU_LAYER": "gpu"}
NAME = {"OPENCL_LAYERS": "{layer}", "VGPU_LAYER": "name"}

# Of the examples, those that show a window or need what Debian has not.
NO_EXAMPLE = {"gl_interop_demo.py": "it opens a window", "gl_particle_animation.py": "it opens a window",
              "demo_meta_codepy.py": "it needs cgen"}
# What they read from where they are run.
FILES = {"median-filter.py": (f"{EXAMPLES}/noisyImage.jpg",)}
MEASURED = {"n-body.py", "transpose.py", "pi-monte-carlo.py",
            "demo_array_svm.py", "demo_mandelbrot.py", "narray.py", "black-hole-accretion.py",
            "demo_meta_template.py", "demo.py", "demo_elementwise.py",
            "demo_elementwise_complex.py", "demo_array.py"}
# How far they get depends on the clock, or they list what we say differently.
LISTS = {"dump-performance.py", "dump-properties.py"}
# How the others are looked at than by every line.
COMPARED = {**dict.fromkeys(MEASURED, shape), **dict.fromkeys(LISTS, status),
            "svm.py": coarse, "median-filter.py": made}
# Memory that host and device see at once is not to be had across machines:
# see coarse(), too.
WITHOUT = {"test_wrapper.py": ["-k", "not test_fine_grain_svm"]}
# It knows pocl by its platform's name.
PYOPENCL = {**NAME, "PYOPENCL_CTX": "0", "PYOPENCL_NO_CACHE": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
            "PYTHONHASHSEED": "0", "PYOPENCL_TEST": "0:0"}


def pyopencl_programs():
    for path in sorted(glob.glob(f"{EXAMPLES}/*.py")):
        name = Path(path).name
        if name in NO_EXAMPLE:
            continue
        command, compare = ["/usr/bin/python3", path], COMPARED.get(name, output)
        if name.startswith("test_"):
            command = ["/usr/bin/python3", "-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider", path]
            compare = pytest
            command += WITHOUT.get(name, [])
        yield Program(f"pyopencl {name}", "python-pyopencl-doc", command, compare, limit=1800, env=PYOPENCL,
                      files=FILES.get(name, ()))


FFT_SIZES = (("1024",), ("4096",), ("3", "5", "7"), ("1000",), ("64", "64"), ("27", "25", "49"), ("2187",))


def clfft_programs():
    for sizes in FFT_SIZES:
        words = [word for axis, size in zip("xyz", sizes) for word in (f"-{axis}", size)]
        for kind, more in (("", []), (" double", ["--double"]), (" inverse", ["--inv", "-o"]),
                           (" real", ["--inLayout", "5", "--outLayout", "3", "-o"])):
            yield Program(f"clFFT {'x'.join(sizes)}{kind}", "clfft-client",
                          ["clFFT-client", *words, *more, "-p", "0"], verdict, calls=20)


def clblast_programs():
    for path in sorted(glob.glob("/usr/bin/clblast_test_*")):
        yield Program(Path(path).name.replace("clblast_test_", "clblast "), "clblast-tests", [path], clblast,
                      limit=1800, calls=20)


def piglit_programs(folder):
    """@folder: where piglit's OpenCL part lies, see piglit.py."""
    env = {"LD_LIBRARY_PATH": f"{folder}/lib"}
    for path in sorted(glob.glob(f"{folder}/bin/cl-*")):
        name = Path(path).name
        if name != "cl-program-tester":
            yield Program(f"piglit {name}", "piglit", [path], piglit, env=env)
    for path in sorted(p for kind in ("*.cl", "*.program_test") for p in Path(folder).rglob(kind)):
        if path.with_suffix(".program_test") != path and path.with_suffix(".program_test").exists():
            continue            # a part of that test
        if path.stem == "template_program":
            continue            # for who writes a test
        yield Program(f"piglit {path.relative_to(folder)}", "piglit",
                      [f"{folder}/bin/cl-program-tester", str(path)], piglit, env=env)


GEGL = {"gaussian-blur": "std-dev-x=4 std-dev-y=4", "box-blur": "radius=5", "brightness-contrast": "contrast=1.4",
        "pixelize": "size-x=8 size-y=8", "edge-sobel": "", "noise-hurl": "seed=7"}


def others():
    yield Program("clinfo", "clinfo", ["clinfo", "-l"], output, quick=True)
    # Its kernels read without a barrier what other work-items write into local
    # memory; the same each time is only what one thread of pocl's finds there.
    yield Program("x264", "x264", ["x264", "--opencl", "--quiet", "--threads", "1", "--no-asm", "-o", "{tmp}/clip.264",
                                   "{clip}"], made, calls=20, env={**GPU, "POCL_MAX_PTHREAD_COUNT": "1"})
    yield Program("darktable-cltest", "darktable", ["sh", "{here}/darktable", "{photo}", "{tmp}/photo.ppm"],
                  darktable, limit=600, calls=500, env=GPU, needs="darktable-cltest")
    for name, words in GEGL.items():
        yield Program(f"GEGL {name}", "gegl", ["gegl", "{photo}", "-o", "{tmp}/out.png", "--", name, *words.split()],
                      made, env={"GEGL_USE_OPENCL": "cpu"}, calls=20)


def programs(piglit_folder):
    yield from others()
    yield from ffmpeg_programs()
    yield from hashcat_programs()
    yield from pyopencl_programs()
    yield from clfft_programs()
    yield from clblast_programs()
    if piglit_folder:
        yield from piglit_programs(piglit_folder)
