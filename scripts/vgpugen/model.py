# SPDX-License-Identifier: MIT
"""What a description says, as plain objects. Nothing here knows of C or bytes,
but for the questions that every emitter asks about a parameter."""

from dataclasses import dataclass, field

# kind of a scalar: bytes, signed
SCALARS = {
    "u8": (1, False), "i8": (1, True), "u16": (2, False), "i16": (2, True),
    "u32": (4, False), "i32": (4, True), "u64": (8, False), "i64": (8, True),
}


class DescriptionError(Exception):
    """A description that is refused: where, and a sentence."""

    def __init__(self, where, text):
        super().__init__(f"{where}: {text}")


@dataclass
class Scalar:
    name: str
    kind: str

    @property
    def size(self):
        return SCALARS[self.kind][0]

    @property
    def signed(self):
        return SCALARS[self.kind][1]


@dataclass
class Struct:
    name: str
    size: int


@dataclass
class Handle:
    name: str
    error: str
    retain: str
    release: str
    number: int
    where: str
    size: int = 8


@dataclass
class InfoEntry:
    name: str
    type: str
    array: bool
    local: bool
    where: str


@dataclass
class Info:
    type: str
    error: str             # for a name that is not listed
    entries: list
    where: str


@dataclass
class Extent:
    """How many elements: `product` of names and numbers; nul: a text; pairs: a list of
    pairs, ended by a 0 where the next pair would start."""
    kind: str              # "one", "product", "nul", "pairs"
    product: list = field(default_factory=list)
    used: str = ""         # the parameter that gets the number used
    max: int = 0           # 0: bounded by the message alone


@dataclass
class Param:
    name: str
    where: str
    words: set
    ctype: str             # the base type, without const and stars
    const: bool
    stars: int
    extent: Extent
    prototype: str         # the parameter as C
    direction: str = ""    # "in", "out" or "" (by value)
    optional: bool = False
    by: str = ""
    when: str = ""
    type: object = None    # Scalar, Struct or Handle; None: bytes (void)

    @property
    def sent(self):
        """Whether it is part of the message at all."""
        return not (self.words & {"unsent", "null", "callback", "errcode"})

    @property
    def is_handle(self):
        return isinstance(self.type, Handle)

    @property
    def is_new(self):
        return "new" in self.words

    @property
    def is_value(self):
        return self.sent and self.stars == 0

    @property
    def is_array(self):
        return self.sent and self.stars > 0 and self.extent.kind != "one"

    @property
    def is_in(self):
        """Data behind a pointer that goes to the worker."""
        return self.sent and self.direction == "in" and self.stars > 0

    @property
    def is_bulk(self):
        return "bulk" in self.words

    @property
    def is_late(self):
        return "late" in self.words

    @property
    def is_out_scalar(self):
        return (self.sent and self.direction == "out" and not self.is_new and
                self.extent.kind == "one")

    @property
    def is_out_array(self):
        return self.sent and self.direction == "out" and self.is_array

    @property
    def element_size(self):
        return self.type.size if self.type else 1


@dataclass
class Call:
    name: str
    where: str
    number: int
    ret: str               # "cl_int", or the type of the new object
    new: bool              # the return value is a new object
    params: list
    doc: list
    wire_only: bool = False
    words: set = field(default_factory=set)
    wait: str = "true"     # a C expression over the parameters
    command: str = ""      # the command type of its event

    def param(self, name):
        return next((p for p in self.params if p.name == name), None)

    @property
    def sent(self):
        return [p for p in self.params if p.sent]

    @property
    def never_waits(self):
        return self.wait == "false"

    @property
    def new_name(self):
        """The name of the id of a new object that is returned."""
        return "new_" + self.ret.split("_", 1)[1]

    @property
    def used_names(self):
        return {p.extent.used for p in self.params if p.extent.used}

    @property
    def queue(self):
        """The parameter that is the queue the call is made on, if any."""
        return next((p for p in self.sent
                     if p.is_value and p.ctype == "cl_command_queue"), None)


@dataclass
class Refused:
    """A function that does nothing but return an error, for the reason in its doc."""
    name: str
    where: str
    error: str
    ret: str
    params: list
    doc: list


@dataclass
class Name:
    """A function that is listed only: custom, by_name or absent."""
    name: str
    where: str
    doc: list


@dataclass
class Api:
    name: str = ""
    number: int = 0
    headers: list = field(default_factory=list)
    error: str = ""
    lost: str = ""
    source: str = ""
    types: dict = field(default_factory=dict)
    infos: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    refusals: list = field(default_factory=list)
    customs: list = field(default_factory=list)
    by_names: list = field(default_factory=list)
    absents: list = field(default_factory=list)
    order: list = field(default_factory=list)   # calls, refusals, ... as written

    @property
    def upper(self):
        return self.name.upper()

    @property
    def found_by_name(self):
        """The names of functions that are not in the ICD loader's table."""
        return ([n.name for n in self.by_names] +
                [c.name for c in self.calls if "by_name" in c.words])

    @property
    def handles(self):
        return [t for t in self.types.values() if isinstance(t, Handle)]
