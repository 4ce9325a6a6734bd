# SPDX-License-Identifier: MIT
"""Reads the notation. What is wrong with the text itself is refused here; what
is wrong with its meaning, in check.py."""

import re

from .model import (Api, Call, DescriptionError, Extent, Handle, Info,
                    InfoEntry, Name, Param, Refused, SCALARS, Scalar, Struct)

TOKEN = re.compile(r"""
      (?P<space>[ \t\r]+)
    | (?P<newline>\n)
    | (?P<doc>\#\#[^\n]*)
    | (?P<comment>\#[^\n]*)
    | (?P<header><[A-Za-z0-9_/.]+>)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>0x[0-9a-fA-F]+|[0-9]+)
    | (?P<punct>&&|\|\||==|!=|<<|>>|[-+()\[\]{},;:*?&|!<>])
""", re.X)

PARAM_WORDS = {"in", "out", "bulk", "late", "new", "drop", "unsent", "null",
               "callback"}
CALL_WORDS = {"wait", "async", "lazy", "entry", "serve", "blocks", "command", "check",
              "by_name"}


class Token:
    def __init__(self, kind, text, where):
        self.kind, self.text, self.where = kind, text, where


def tokens_of(text, source):
    line, at, tokens = 1, 0, []
    while at < len(text):
        m = TOKEN.match(text, at)
        where = f"{source}:{line}"
        if not m:
            raise DescriptionError(
                where, f"the character '{text[at]}' has no meaning here; "
                "comments start with #")
        kind = m.lastgroup
        if kind == "newline":
            line += 1
        elif kind not in ("space", "comment"):
            tokens.append(Token(kind, m.group(), where))
        at = m.end()
    tokens.append(Token("end", "the end of the file", f"{source}:{line}"))
    return tokens


class Parser:
    def __init__(self, text, source):
        self.tokens = tokens_of(text, source)
        self.at = 0
        self.api = Api(source=source)
        self.doc = []

    # -- tokens --------------------------------------------------------------

    @property
    def token(self):
        return self.tokens[self.at]

    def fail(self, text, token=None):
        raise DescriptionError((token or self.token).where, text)

    def take(self):
        token = self.token
        self.at += 1
        return token

    def accept(self, text):
        if self.token.text == text and self.token.kind != "end":
            self.at += 1
            return True
        return False

    def expect(self, text, after):
        if not self.accept(text):
            self.fail(f"expected '{text}' {after}, "
                      f"but there is '{self.token.text}'")

    def word(self, what):
        if self.token.kind != "word":
            self.fail(f"expected {what}, but there is '{self.token.text}'")
        return self.take().text

    def number(self, what):
        if self.token.kind != "number":
            self.fail(f"expected {what}, a number, "
                      f"but there is '{self.token.text}'")
        return int(self.take().text, 0)

    def take_doc(self):
        doc, self.doc = self.doc, []
        return doc

    # -- statements ----------------------------------------------------------

    def parse(self):
        statements = {
            "api": self.parse_api, "handle": self.parse_handle,
            "scalar": self.parse_scalar, "struct": self.parse_struct,
            "info": self.parse_info, "refused": self.parse_refused,
            "custom": self.parse_custom, "absent": self.parse_absent,
            "wire": self.parse_wire, "by_name": self.parse_by_name,
        }
        while self.token.kind != "end":
            token = self.token
            if token.kind == "doc":
                self.doc.append(self.take().text[2:].strip())
            elif token.kind == "number":
                self.parse_call(False)
            elif token.text in statements:
                self.take()
                statements[token.text](token)
                self.doc = []
            else:
                self.fail(f"'{token.text}' starts no statement; one of "
                          f"{', '.join(sorted(statements))}, or a call's "
                          "number, is expected")
        return self.api

    def parse_api(self, start):
        api = self.api
        if api.name:
            self.fail("there is a second 'api' statement; a file describes "
                      "one API", start)
        api.name = self.word("the API's name")
        api.number = self.number("the API's number in enum vgpu_api")
        while self.token.kind == "header":
            api.headers.append(self.take().text)
        self.expect("error", "before the type of the API's error codes")
        api.error = self.word("the type of the API's error codes")
        self.expect("lost", "before the error of a lost session")
        api.lost = self.word("the error of a lost session")
        self.expect(";", "after the 'api' statement")

    def add_type(self, token, t):
        if t.name in self.api.types:
            self.fail(f"the type '{t.name}' is declared twice", token)
        self.api.types[t.name] = t

    def parse_handle(self, start):
        token = self.token
        name = self.word("a handle's type")
        error = self.word(f"the error for a bad {name}")
        retain = release = ""
        if self.token.kind == "word":
            retain = self.word("the function that retains it")
            release = self.word("the function that releases it")
        self.expect(";", f"after the handle '{name}'")
        self.add_type(token, Handle(name, error, retain, release,
                                    len(self.api.handles) + 1, token.where))

    def parse_scalar(self, start):
        token = self.token
        kind = self.word("a scalar's kind")
        if kind not in SCALARS:
            self.fail(f"'{kind}' is no kind of scalar; there are "
                      f"{', '.join(SCALARS)}", token)
        while True:
            token = self.token
            self.add_type(token, Scalar(self.word("a scalar type"), kind))
            if not self.accept(","):
                break
        self.expect(";", "after the scalar types")

    def parse_struct(self, start):
        token = self.token
        name = self.word("a struct's type")
        self.add_type(token, Struct(name, self.number("its size in bytes")))
        self.expect(";", f"after the struct '{name}'")

    def parse_info(self, start):
        token = self.token
        info = Info(self.word("the type of the names"), "", [], token.where)
        self.expect("else", f"after 'info {info.type}'")
        info.error = self.word("the error for a name that is not listed")
        self.expect("{", f"after 'info {info.type} else {info.error}'")
        while not self.accept("}"):
            token = self.token
            name = self.word("a name, or '}'")
            type_name = self.word(f"the type of {name}")
            array = self.accept("[")
            if array:
                self.expect("]", f"after '{type_name}['")
            local = self.accept("local")
            self.expect(";", f"after the entry '{name}'")
            info.entries.append(
                InfoEntry(name, type_name, array, local, token.where))
        if info.type in self.api.infos:
            self.fail(f"there is a second table for {info.type}", start)
        self.api.infos[info.type] = info

    def parse_names(self, what, into):
        doc = self.take_doc()
        while True:
            token = self.token
            name = Name(self.word(f"a {what} function"), token.where, doc)
            into.append(name)
            self.api.order.append((what, name))
            if not self.accept(","):
                break
        self.expect(";", f"after the {what} functions")

    def parse_custom(self, start):
        self.parse_names("custom", self.api.customs)

    def parse_by_name(self, start):
        self.parse_names("by_name", self.api.by_names)

    def parse_absent(self, start):
        self.parse_names("absent", self.api.absents)

    def parse_refused(self, start):
        doc = self.take_doc()
        if not doc:
            self.fail("the manual needs a reason for what is refused: write it "
                      "in a line with ## above", start)
        error = self.word("the error that it returns")
        while True:
            ret = self.c_type()
            token = self.token
            name = self.word("the function's name")
            refused = Refused(name, token.where, error, ret,
                              self.parse_params(), doc)
            self.api.refusals.append(refused)
            self.api.order.append(("refused", refused))
            if not self.accept(","):
                break
        self.expect(";", f"after the prototype of {name}")

    def parse_wire(self, start):
        self.parse_call(True)

    def parse_call(self, wire_only):
        doc = self.take_doc()
        number = self.number("the call's number")
        new = self.accept("new")
        ret = self.word("the call's return type")
        token = self.token
        name = self.word("the call's name")
        call = Call(name, token.where, number, ret, new, self.parse_params(),
                    doc, wire_only)
        self.parse_call_words(call)
        self.api.calls.append(call)
        self.api.order.append(("call", call))

    def parse_call_words(self, call):
        while not self.accept(";"):
            token = self.token
            word = self.word(f"a word of the call {call.name}, or ';'")
            if word not in CALL_WORDS:
                self.fail(f"'{word}' is no word for a call; there are "
                          f"{', '.join(sorted(CALL_WORDS))}", token)
            if word in call.words:
                self.fail(f"'{word}' is there twice", token)
            call.words.add(word)
            if word == "wait":
                call.wait = self.expression(f"after 'wait' of {call.name}")
            elif word == "command":
                call.command = self.word("the command type of its event")
        if {"wait", "async"} <= call.words:
            raise DescriptionError(
                call.where, f"{call.name} cannot both 'wait' and be 'async'")
        if "async" in call.words:
            call.wait = "false"

    def expression(self, after):
        """A parenthesised C expression, as text."""
        self.expect("(", after)
        depth, text = 1, []
        while depth:
            token = self.take()
            if token.kind == "end" or token.text == ";":
                self.fail(f"the '(' {after} is not closed", token)
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth:
                text.append(token.text)
        return self.join_expression(text)

    @staticmethod
    def join_expression(text):
        joined = " ".join(text)
        joined = re.sub(r"([(!]) ", r"\1", joined)
        return joined.replace(" )", ")")

    # -- parameters ----------------------------------------------------------

    def c_type(self):
        text = self.word("a type")
        while self.accept("*"):
            text += " *" if not text.endswith("*") else "*"
        return text

    def parse_params(self):
        self.expect("(", "before the parameters")
        params = []
        if self.token.text == "void" and \
                self.tokens[self.at + 1].text == ")":
            self.at += 2
            return params
        while True:
            params.append(self.parse_param())
            if not self.accept(","):
                break
        self.expect(")", "after the parameters")
        return params

    def parse_param(self):
        words, optional, direction = set(), False, ""
        while self.token.text in PARAM_WORDS:
            token = self.take()
            if token.text in words:
                self.fail(f"'{token.text}' is there twice", token)
            words.add(token.text)
            if token.text in ("in", "out"):
                if direction:
                    self.fail("a parameter is either 'in' or 'out'", token)
                direction = token.text
                optional = self.accept("?")
        const = self.accept("const")
        where = self.token.where
        ctype = self.word("a parameter's type")
        if ctype in ("unsigned", "struct"):
            ctype += " " + self.word(f"the rest of '{ctype} ...'")
        if self.token.text == "(":
            return self.parse_callback(words, ctype, where)
        stars = 0
        while self.accept("*"):
            stars += 1
            self.accept("const")
        name = self.word(f"the name of a parameter of type {ctype}")
        p = Param(name, where, words, ctype, const, stars, Extent("one"),
                  "", direction, optional)
        if self.token.text == "[":
            if self.tokens[self.at + 1].text == "]":
                self.at += 2    # plain C: one more star
                p.stars += 1
            else:
                self.parse_extent(p)
        p.prototype = (("const " if const else "") + ctype + " " +
                       "*" * p.stars + name)
        self.parse_param_suffixes(p)
        return p

    def parse_extent(self, p):
        self.expect("[", "before an extent")
        e = p.extent
        if self.accept("nul"):
            e.kind = "nul"
        elif self.accept("pairs"):
            e.kind = "pairs"
        else:
            e.kind = "product"
            while True:
                token = self.take()
                if token.kind == "number":
                    e.product.append(int(token.text, 0))
                elif token.kind == "word":
                    e.product.append(token.text)
                else:
                    self.fail(f"an extent of '{p.name}' is a product of "
                              "parameters and numbers, or nul, or pairs; "
                              f"'{token.text}' is none of them", token)
                if not self.accept("*"):
                    break
            if self.accept(":"):
                self.expect("*", "before the parameter that gets the count")
                e.used = self.word("the parameter that gets the count")
        self.expect("]", f"after the extent of '{p.name}'")

    def parse_param_suffixes(self, p):
        while self.token.kind == "word":
            token = self.take()
            if token.text == "max":
                p.extent.max = self.number(f"the most elements of '{p.name}'")
            elif token.text == "by":
                p.by = self.word("the parameter whose value says the type")
            elif token.text == "when":
                p.when = self.expression(f"after 'when' of '{p.name}'")
            else:
                self.fail(f"'{token.text}' is no word after a parameter; "
                          "there are by, max, when", token)

    def parse_callback(self, words, ctype, where):
        """A pointer to function: kept as C text, its name found within."""
        self.expect("(", "in a pointer to function")
        text = [ctype + " ("]
        if self.token.text == "CL_CALLBACK":
            text.append(self.take().text + " ")
        self.expect("*", "in a pointer to function")
        name = self.word("the name of the pointer to function")
        text.append("*" + name)
        self.expect(")", f"after '{name}'")
        self.expect("(", f"before the parameters of '{name}'")
        depth, inner = 1, []
        while depth:
            token = self.take()
            if token.kind == "end":
                self.fail(f"the '(' after '{name}' is not closed", token)
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth:
                inner.append(token.text)
        spaced = re.sub(r" ,", ",", " ".join(inner)).replace("* ", "*")
        spaced = spaced.replace("[ ]", "[]").replace(" []", "[]")
        prototype = "".join(text) + ")(" + spaced + ")"
        return Param(name, where, words, ctype, False, 0, Extent("one"),
                     prototype)


def parse(text, source):
    return Parser(text, source).parse()
