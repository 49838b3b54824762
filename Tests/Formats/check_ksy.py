#!/usr/bin/python3
"""Holds the Kaitai Struct definitions in formats/ against save-disk.md and against the fixtures.

The Kaitai Struct compiler is not in Debian. This program interprets the part of the language that our
definitions use, and refuses every key, type and expression outside that part, so that nothing in a
definition is silently without effect. That part is:

  top and types   meta (id title file-extension license ks-version endian=le), doc, doc-ref, params (sN,
                  uN), seq, instances, types (at the top only), enums (at the top only)
  fields          id, type (u1-u8, s1-s8, str with encoding ASCII, types with arguments, switch-on),
                  size, size-eos, contents, enum, if, repeat (expr, until), valid (a value, or eq, min,
                  max, any-of, expr)
  instances       value with enum and if; or pos with the keys of a field
  expressions     integers, names, a::b, [list], a[i], a.b, + - * / % & | ^ ~ << >>, one comparison,
                  and, or, not; _, _index, _parent, _root, _io (pos, size, eof); length, size, first,
                  last, min, max of bytes and arrays; to_i of enums. There is no ?: and there are no calls

The language is the compiler's in these points too: operands of different kinds do not compare, enums
compare only for equality, / rounds down. Instances are lazy, but all are evaluated in the end.

It checks that
  1. tables of the document and fields of the definitions agree in order, offset, size and name;
  2. good fixtures parse, and have the streams and the length that the manifest gives;
  3. damaged fixtures do not parse where the definition can tell, and fail at the right place;
  4. state files made here parse with the definition of the trailer, or fail at the right place.
"""
from __future__ import annotations

import argparse
import ast
import json
import operator
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional

import yaml

# --- The definition: reading it, and refusing what is not known ------------------------------------


class DefinitionError(Exception):
    """The .ksy says something that this interpreter, or Kaitai Struct, does not understand."""


class ParseFailure(Exception):
    """The data does not fit the definition."""

    def __init__(self, kind: str, type_name: str, name: str, start: int, end: int, message: str) -> None:
        super().__init__(f"{type_name}.{name} at {start}: {message}")
        self.kind = kind                # "end": the data ends too early; "value": a value is not valid
        self.place = (type_name, name)
        self.start, self.end = start, end


DOC_KEYS = {"doc", "doc-ref"}
CLASS_KEYS = DOC_KEYS | {"seq", "instances", "params"}
TOP_KEYS = CLASS_KEYS | {"meta", "types", "enums"}
META_KEYS = {"id", "title", "file-extension", "license", "ks-version", "endian"}
FIELD_KEYS = DOC_KEYS | {"type", "size", "size-eos", "contents", "encoding", "enum", "if", "repeat",
                         "repeat-expr", "repeat-until", "valid"}
VALID_KEYS = ({"eq"}, {"min"}, {"max"}, {"min", "max"}, {"any-of"}, {"expr"})
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
INTEGER_TYPE = re.compile(r"([us])([1248])")
ENUM_MARK = "__enum__"


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice; PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise DefinitionError(f"a key is given twice, line {node.start_mark.line + 1}: {keys}")
        return super().construct_mapping(node, deep=deep)


UNARY: dict[str, Callable[[int], int]] = {"USub": operator.neg, "Invert": operator.invert}
BINARY: dict[str, Callable[[int, int], int]] = {
    "Add": operator.add, "Sub": operator.sub, "Mult": operator.mul, "Div": operator.floordiv, "Mod": operator.mod,
    "BitAnd": operator.and_, "BitOr": operator.or_, "BitXor": operator.xor, "LShift": operator.lshift,
    "RShift": operator.rshift}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Eq": operator.eq, "NotEq": operator.ne, "Lt": operator.lt, "LtE": operator.le, "Gt": operator.gt,
    "GtE": operator.ge}
SYNTAX = {"Constant", "Name", "Attribute", "Subscript", "List", "Load", "BoolOp", "And", "Or", "UnaryOp", "Not",
          "BinOp", "Compare", *UNARY, *BINARY, *COMPARISONS}
NAMES = {"_", "_index", "_io", "_parent", "_root", "true", "false"}
MEMBERS = {"_io", "_parent", "pos", "size", "eof", "length", "first", "last", "min", "max", "to_i"}


def only_keys(mapping: Any, allowed: set[str], where: str) -> dict[str, Any]:
    if not isinstance(mapping, dict):
        raise DefinitionError(f"{where}: a mapping is expected, not {mapping!r}")
    if unknown := set(mapping) - allowed:
        raise DefinitionError(f"{where}: unknown or misplaced {sorted(map(str, unknown))}")
    return mapping


def identifier(text: Any, where: str) -> str:
    if not isinstance(text, str) or not IDENTIFIER.fullmatch(text):
        raise DefinitionError(f"{where}: {text!r} is no identifier")
    return text


def expression(source: Any, where: str) -> ast.expr:
    """Parse an expression. The grammar is Python's (the compiler's was derived from it) apart from a::b."""
    if isinstance(source, (bool, int)):
        return ast.Constant(source)
    if not isinstance(source, str) or re.search(r"[#\t'\"@]|//|\*\*|:=", source):
        raise DefinitionError(f"{where}: not an expression: {source!r}")
    try:
        tree = ast.parse("(" + re.sub(r"\b(\w+)::(\w+)\b", rf"\1{ENUM_MARK}\2", source) + ")", mode="eval")
    except SyntaxError as error:
        raise DefinitionError(f"{where}: {error.msg}: {source!r}") from error
    for node in ast.walk(tree.body):
        if type(node).__name__ not in SYNTAX or (isinstance(node, ast.Compare) and len(node.ops) != 1):
            raise DefinitionError(f"{where}: not in the language, or not known here: {source!r}")
    return tree.body


@dataclass
class TypeRef:
    """What a field is made of: an integer, bytes, a string or a type, by a name and arguments."""
    name: str                           # "u4", "str", "bytes" or the id of a type
    arguments: list[ast.expr] = field(default_factory=list)


@dataclass
class Field:
    id: str
    doc: str
    type: TypeRef
    switch_on: Optional[ast.expr] = None
    cases: list[tuple[ast.expr, TypeRef]] = field(default_factory=list)
    size: Optional[ast.expr] = None
    contents: Optional[bytes] = None
    enum: Optional[str] = None
    condition: Optional[ast.expr] = None
    repeat: Optional[str] = None
    repeat_by: Optional[ast.expr] = None
    valid: dict[str, Any] = field(default_factory=dict)
    value: Optional[ast.expr] = None    # of a value instance
    pos: Optional[ast.expr] = None      # of a parse instance


@dataclass
class Class:
    id: str
    params: list[str]
    seq: list[Field]
    instances: dict[str, Field]

    def ids(self) -> set[str]:
        return {*self.params, *(item.id for item in self.seq), *self.instances}


class EnumValue(NamedTuple):
    enum: str
    value: int


class Definition:
    """One .ksy file, read and checked as far as that is possible without data."""

    def __init__(self, path: Path) -> None:
        top = only_keys(yaml.load(path.read_text("utf-8"), UniqueKeyLoader), TOP_KEYS, path.name)
        meta = only_keys(top.get("meta"), META_KEYS, "meta")
        if meta.get("endian") != "le":
            raise DefinitionError("meta: endian must be le")
        self.id = identifier(meta.get("id"), "meta")
        if self.id != path.stem.replace("-", "_"):
            raise DefinitionError(f"meta: id {self.id} does not fit the file's name {path.name}")
        self.enums = {identifier(name, "enums"): self._enum(name, members)
                      for name, members in top.get("enums", {}).items()}
        bodies = {identifier(name, "types"): only_keys(body, CLASS_KEYS, name)
                  for name, body in top.get("types", {}).items()}
        self.type_names = set(bodies)
        self.expressions: list[tuple[str, str, ast.expr]] = []
        self.classes = {name: self._class(name, body) for name, body in bodies.items()}
        self.classes[self.id] = self._class(self.id, {key: top[key] for key in CLASS_KEYS & set(top)})
        self._check_names()

    def _check_names(self) -> None:
        """Every name in every expression must exist, also where no fixture leads."""
        members = MEMBERS.union(*(cls.ids() for cls in self.classes.values()))
        for class_name, where, tree in self.expressions:
            known = NAMES | self.classes[class_name].ids()
            for node in ast.walk(tree):
                name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
                enum, mark, member = name.partition(ENUM_MARK)
                if mark and member not in self.enums.get(enum, {}):
                    raise DefinitionError(f"{where}: no {enum}::{member}")
                if name and not mark and name not in (known if isinstance(node, ast.Name) else members):
                    raise DefinitionError(f"{where}: no {name}")

    def _expression(self, class_name: str, source: Any, where: str) -> ast.expr:
        self.expressions.append((class_name, where, expression(source, where)))
        return self.expressions[-1][2]

    @staticmethod
    def _enum(name: str, members: dict[Any, Any]) -> dict[str, int]:
        result: dict[str, int] = {}
        for number, member in members.items():
            if isinstance(member, dict):
                member = only_keys(member, DOC_KEYS | {"id"}, name).get("id")
            if type(number) is not int or result.setdefault(identifier(member, name), number) != number:
                raise DefinitionError(f"enum {name}: {number!r}: {member!r}")
        return result

    def _class(self, name: str, body: dict[str, Any]) -> Class:
        params = [self._param(param, name) for param in body.get("params", [])]
        seq = [self._field(dict(item), None, name) for item in body.get("seq", [])]
        instances = {key: self._field(dict(item), key, name)
                     for key, item in body.get("instances", {}).items()}
        ids = params + [item.id for item in seq] + list(instances)
        if len(set(ids)) != len(ids):
            raise DefinitionError(f"{name}: a name is used twice: {ids}")
        return Class(name, params, seq, instances)

    @staticmethod
    def _param(source: Any, name: str) -> str:
        only_keys(source, DOC_KEYS | {"id", "type"}, f"{name}.params")
        if not INTEGER_TYPE.fullmatch(str(source.get("type"))):
            raise DefinitionError(f"{name}.params: only integers")
        return identifier(source.get("id"), f"{name}.params")

    def _field(self, source: dict[str, Any], instance: Optional[str], class_name: str) -> Field:
        is_value = instance is not None and "value" in source
        name = identifier(source.pop("id", None) if instance is None else instance, class_name)
        where = f"{class_name}.{name}"
        if is_value:
            only_keys(source, DOC_KEYS | {"value", "enum", "if"}, where)
        else:
            only_keys(source, FIELD_KEYS | ({"pos"} if instance else set()), where)

        def optional(key: str) -> Optional[ast.expr]:
            return self._expression(class_name, source[key], f"{where} {key}") if key in source else None

        result = Field(name, str(source.get("doc", "")), TypeRef("bytes"), size=optional("size"),
                       enum=source.get("enum"), condition=optional("if"), value=optional("value"),
                       pos=optional("pos"))
        if result.enum is not None and result.enum not in self.enums:
            raise DefinitionError(f"{where}: no enum {result.enum!r}")
        if is_value:
            return result
        if instance is not None and result.pos is None:
            raise DefinitionError(f"{where}: an instance has value or pos")
        self._field_type(result, source, class_name)
        repeat = source.get("repeat")
        if repeat not in (None, "expr", "until") or \
                {key for key in source if key.startswith("repeat-")} != ({f"repeat-{repeat}"} if repeat else set()):
            raise DefinitionError(f"{where}: repeat")
        result.repeat, result.repeat_by = repeat, optional(f"repeat-{repeat}")
        if "valid" in source:
            if result.contents is not None or repeat:       # repeated and valid: new in 0.11
                raise DefinitionError(f"{where}: valid does not go with contents or repeat")
            valid = source["valid"] if isinstance(source["valid"], dict) else {"eq": source["valid"]}
            if set(valid) not in VALID_KEYS:
                raise DefinitionError(f"{where}: valid with {sorted(valid)}")
            result.valid = {key: [self._expression(class_name, item, where) for item in value] if key == "any-of"
                            else self._expression(class_name, value, f"{where} valid")
                            for key, value in valid.items()}
        return result

    def _field_type(self, result: Field, source: dict[str, Any], class_name: str) -> None:
        where, kind = f"{class_name}.{result.id}", source.get("type")
        if isinstance(kind, dict):
            only_keys(kind, {"switch-on", "cases"}, where)
            result.switch_on = self._expression(class_name, kind.get("switch-on"), where)
            result.cases = [(self._expression(class_name, case, where), self._type_ref(ref, class_name, where))
                            for case, ref in kind.get("cases", {}).items()]
        elif kind is not None:
            result.type = self._type_ref(kind, class_name, where)
        has_size, eos = "size" in source, source.get("size-eos", False)
        if not isinstance(eos, bool):
            raise DefinitionError(f"{where}: size-eos is true or false")
        if "contents" in source:
            parts = source["contents"]
            result.contents = b"".join(part.encode() if isinstance(part, str) else bytes([part])
                                       for part in (parts if isinstance(parts, list) else [parts]))
        is_integer = INTEGER_TYPE.fullmatch(result.type.name) is not None
        is_bytes = result.contents is None and result.type.name in ("bytes", "str")
        if (is_bytes and has_size + eos != 1) or (eos and not is_bytes) or (has_size and is_integer) \
                or (result.contents is not None and (has_size or kind is not None)):
            raise DefinitionError(f"{where}: type, contents, size and size-eos do not go together")
        if ("enum" in source) > is_integer or ("encoding" in source) != (result.type.name == "str") \
                or source.get("encoding", "ASCII") != "ASCII":
            raise DefinitionError(f"{where}: enum or encoding")

    def _type_ref(self, text: Any, class_name: str, where: str) -> TypeRef:
        match = re.fullmatch(r"(\w+)(?:\(([^()]*)\))?", str(text))
        if not match or not (match[1] in self.type_names or match[1] == "str" or INTEGER_TYPE.fullmatch(match[1])):
            raise DefinitionError(f"{where}: no type {text!r}")
        arguments = match[2].split(",") if match[2] else []
        return TypeRef(match[1], [self._expression(class_name, part, where) for part in arguments])


# --- Parsing data with a definition ----------------------------------------------------------------


class Stream:
    """Bytes with a read position. `base` is where they lie in the whole input."""

    def __init__(self, data: bytes, base: int = 0) -> None:
        self.data, self.base, self.pos = data, base, 0


class Node:
    """One parsed structure. Fields are evaluated in order, instances when they are first asked for."""

    def __init__(self, definition: Definition, class_name: str, stream: Stream,
                 parent: Optional[Node] = None, arguments: Optional[list[Any]] = None) -> None:
        self.definition, self.cls = definition, definition.classes[class_name]
        self.stream, self.parent = stream, parent
        self.root: Node = parent.root if parent else self
        if len(arguments or []) != len(self.cls.params):
            raise DefinitionError(f"{class_name} takes {len(self.cls.params)} arguments")
        self.values: dict[str, Any] = dict(zip(self.cls.params, arguments or []))
        self.spans: dict[str, tuple[int, int]] = {}

    def read(self) -> Node:
        for item in self.cls.seq:
            self._read_field(item)
        return self

    def read_all(self) -> Node:
        """Read, then evaluate all instances everywhere, so that what they check is checked."""
        self.read()
        for node in list(self.walk()):
            for name in node.cls.instances:
                node[name]
        return self

    def walk(self) -> Iterator[Node]:
        yield self
        for value in list(self.values.values()):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, Node):
                    yield from child.walk()

    def __getitem__(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        if name not in self.cls.instances:
            raise DefinitionError(f"{self.cls.id} has no {name} (or not yet)")
        item = self.cls.instances[name]
        if item.value is not None:
            wanted = item.condition is None or self._evaluate(item.condition, want=bool)
            value = self._evaluate(item.value) if wanted else None
            self.values[name] = EnumValue(item.enum, value) if wanted and item.enum else value
        else:
            here = self.stream.pos
            pos = self._evaluate(item.pos, want=int)
            if not 0 <= pos <= len(self.stream.data):
                raise self._failure("end", item, here, here, f"position {pos} is outside")
            self.stream.pos = pos
            self._read_field(item)
            self.stream.pos = here
        return self.values[name]

    def _failure(self, kind: str, item: Field, start: int, end: int, message: str) -> ParseFailure:
        base = self.stream.base
        return ParseFailure(kind, self.cls.id, item.id, base + start, base + end, message)

    def _read_field(self, item: Field) -> None:
        start = self.stream.pos
        if item.condition is not None and not self._evaluate(item.condition, want=bool):
            self.values[item.id] = None
        elif item.repeat is None:
            self.values[item.id] = self._read_one(item)
        else:
            items = self.values[item.id] = []
            count = self._evaluate(item.repeat_by, want=int) if item.repeat == "expr" else None
            while count is None or len(items) < count:
                items.append(self._read_one(item, index=len(items)))
                if count is None and self._evaluate(item.repeat_by, it=items[-1], want=bool):
                    break
        self.spans[item.id] = (self.stream.base + start, self.stream.base + self.stream.pos)
        if item.valid and self.values[item.id] is not None and not self._is_valid(item, self.values[item.id]):
            raise self._failure("value", item, start, self.stream.pos, f"not valid: {self.values[item.id]!r:.80}")

    def _take(self, item: Field, count: Optional[int]) -> bytes:
        start = self.stream.pos
        end = len(self.stream.data) if count is None else start + count
        if end < start:
            raise DefinitionError(f"{self.cls.id}.{item.id}: negative size")
        if end > len(self.stream.data):
            raise self._failure("end", item, start, len(self.stream.data), f"{count} bytes wanted, the data ends")
        self.stream.pos = end
        return self.stream.data[start:end]

    def _read_one(self, item: Field, index: Optional[int] = None) -> Any:
        start = self.stream.pos
        if item.contents is not None:
            data = self._take(item, len(item.contents))
            if data != item.contents:
                raise self._failure("value", item, start, self.stream.pos, f"contents: {data!r}")
            return data
        ref = item.type
        if item.switch_on is not None:
            on = self._evaluate(item.switch_on)
            ref = next((to for case, to in item.cases if compare("Eq", on, self._evaluate(case))), ref)
        if match := INTEGER_TYPE.fullmatch(ref.name):
            number = int.from_bytes(self._take(item, int(match[2])), "little", signed=match[1] == "s")
            return EnumValue(item.enum, number) if item.enum else number
        arguments = [self._evaluate(argument, index=index) for argument in ref.arguments]
        is_class = ref.name in self.definition.type_names
        size = None if item.size is None else self._evaluate(item.size, want=int)
        if is_class and size is None:
            return Node(self.definition, ref.name, self.stream, self, arguments).read()
        data = self._take(item, size)
        if is_class:
            return Node(self.definition, ref.name, Stream(data, self.stream.base + start), self, arguments).read()
        return data.decode("ascii", "replace") if ref.name == "str" else data

    def _is_valid(self, item: Field, value: Any) -> bool:
        def against(op: str, key: str) -> bool:
            return key not in item.valid or compare(op, value, self._evaluate(item.valid[key]))

        if "expr" in item.valid:
            return self._evaluate(item.valid["expr"], it=value, want=bool)
        if "any-of" in item.valid:
            return any(compare("Eq", value, self._evaluate(option)) for option in item.valid["any-of"])
        return against("Eq", "eq") and against("GtE", "min") and against("LtE", "max")

    def _evaluate(self, tree: Optional[ast.expr], it: Any = None, index: Optional[int] = None,
                  want: Optional[type] = None) -> Any:
        def value(node: Any, kind: Optional[type] = None) -> Any:
            result = walk(node)
            if kind is not None and type(result) is not kind:
                raise DefinitionError(f"{ast.unparse(node)} is {result!r}, {kind.__name__} is expected")
            return result

        def name_value(name: str) -> Any:
            if ENUM_MARK in name:
                enum, _, member = name.partition(ENUM_MARK)
                return EnumValue(enum, self.definition.enums[enum][member])
            special = {"_": it, "_index": index, "true": True, "false": False}
            return special[name] if special.get(name) is not None else member_of(self, name)

        def walk(node: ast.AST) -> Any:
            if isinstance(node, ast.Constant) and type(node.value) in (int, bool):
                return node.value
            if isinstance(node, ast.Name):
                return name_value(node.id)
            if isinstance(node, ast.Attribute):
                return member_of(walk(node.value), node.attr)
            if isinstance(node, ast.Subscript):
                return walk(node.value)[value(node.slice, int)]
            if isinstance(node, ast.List):
                return bytes(value(element, int) for element in node.elts)
            if isinstance(node, ast.BoolOp):
                stop_at = isinstance(node.op, ast.Or)
                return stop_at if any(value(v, bool) == stop_at for v in node.values) else not stop_at
            if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                return not value(node.operand, bool)
            if isinstance(node, ast.UnaryOp):
                return UNARY[type(node.op).__name__](value(node.operand, int))
            if isinstance(node, ast.BinOp):
                return BINARY[type(node.op).__name__](value(node.left, int), value(node.right, int))
            if isinstance(node, ast.Compare):
                return compare(type(node.ops[0]).__name__, walk(node.left), walk(node.comparators[0]))
            raise DefinitionError(f"not known here: {ast.unparse(node)}")

        assert tree is not None
        return value(tree, want)


def compare(op: str, left: Any, right: Any) -> bool:
    comparable = type(left) is type(right) and isinstance(left, (int, str, bytes, EnumValue))
    if isinstance(left, EnumValue):
        comparable = comparable and left.enum == right.enum and op in ("Eq", "NotEq")
    if not comparable:
        raise DefinitionError(f"can't compare {left!r} {op} {right!r}")
    return COMPARISONS[op](left, right)


def member_of(target: Any, name: str) -> Any:
    """What `target.name` is in an expression."""
    if isinstance(target, Node):
        special = {"_io": target.stream, "_parent": target.parent, "_root": target.root}
        return special[name] if name in special else target[name]
    if isinstance(target, Stream) and name in ("pos", "size", "eof"):
        size = len(target.data)
        return {"pos": target.pos, "size": size, "eof": target.pos == size}[name]
    if isinstance(target, EnumValue) and name == "to_i":
        return target.value
    if isinstance(target, bytes) and name == "length":
        return len(target)
    if isinstance(target, (bytes, list)) and name in ("size", "first", "last", "min", "max"):
        by_name: dict[str, Callable[[Any], Any]] = {
            "size": len, "first": lambda a: a[0], "last": lambda a: a[-1], "min": min, "max": max}
        if name != "size" and not target:
            raise DefinitionError(f".{name} of an empty array")
        return by_name[name](target)
    raise DefinitionError(f"{type(target).__name__} has no {name}")


# --- 1. The document's tables ----------------------------------------------------------------------


def document_tables(text: str, heading: str) -> list[list[list[str]]]:
    """The tables of a section (up to the next heading) as rows of cells, without their rulers."""
    sections = re.split(r"^(?=#{1,6} )", text, flags=re.M)
    section = next((s for s in sections if re.match(rf"#+ {re.escape(heading)} ", s)), "")
    blocks = re.findall(r"^(\|.*\n)\|[|: -]+\n((?:\|.*\n)*)", section, flags=re.M)
    return [[[cell.strip() for cell in line.strip().strip("|").split("|")] for line in (head + body).splitlines()]
            for head, body in blocks]


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def constant(tree: Optional[ast.expr]) -> Optional[int]:
    return tree.value if isinstance(tree, ast.Constant) else None


def static_layout(cls: Class) -> list[tuple[Field, int, int]]:
    """The fields of constant size at the start of a type, as (field, offset, size)."""
    result, offset = [], 0
    for item in cls.seq:
        match = INTEGER_TYPE.fullmatch(item.type.name)
        size = len(item.contents) if item.contents is not None else int(match[2]) if match else constant(item.size)
        if size is None or item.condition is not None or item.repeat is not None:
            break
        result.append((item, offset, size))
        offset += size
    return result


def check_table(table: list[list[str]], definition: Definition, class_name: str, rest: list[str]) -> Iterator[str]:
    """Compare a table of fields to a type, whose fields after those of the table are `rest`."""
    cls = definition.classes[class_name]
    layout = static_layout(cls)
    if table[0][:3] != ["offset", "size", "field"]:
        yield f"{class_name}: table is headed {table[0]}"
        return
    rows = table[1:]
    ours = [(offset, size, item.id) for item, offset, size in layout]
    theirs = [(int(row[0]), int(row[1]), snake_case(row[2].strip("`"))) for row in rows]
    for left, right in zip(theirs, ours):
        if left != right:
            yield f"{class_name}: document has (offset, size, field) {left}, definition has {right}"
    if len(ours) != len(theirs) or [item.id for item in cls.seq[len(layout):]] != rest:
        yield f"{class_name}: document has {[name for *_, name in theirs] + rest}, " \
              f"definition has {[item.id for item in cls.seq]}"
    for row, (item, _, _) in zip(rows, layout):
        if not item.doc.startswith(row[2] + ":"):
            yield f"{class_name}.{item.id}: doc must start with {row[2]}:"
        if (unsigned := re.match(r"u(32|64)\b", row[3])) and item.type.name != f"u{int(unsigned[1]) // 8}":
            yield f"{class_name}.{item.id}: document has {unsigned[0]}, definition has {item.type.name}"
        if (octets := re.match(r"`((?:[0-9A-F]{2} ?)+)`", row[3])) and item.contents != bytes.fromhex(octets[1]):
            yield f"{class_name}.{item.id}: contents differ"


def check_numbers(table: list[list[str]], members: dict[str, int], enum: str, named: bool) -> Iterator[str]:
    """Compare a table of numbers (and names) to an enum."""
    theirs = {int(row[0], 0): row[1].strip("`").replace(" ", "_") for row in table[1:]}
    ours = {number: name for name, number in members.items()}
    if theirs != ours if named else set(theirs) != set(ours):
        yield f"enum {enum}: document has {theirs}, definition has {ours}"


def check_document(text: str, disk: Definition, trailer: Definition) -> Iterator[tuple[str, list[str]]]:
    """Every comparison with the document, as (what, disagreements)."""
    for heading, definition, name, rest in (
            ("4", disk, "header", []), ("5.1", disk, "record", ["body", "padding"]),
            ("5.3", disk, "stream_begin", []), ("5.5", disk, "stream_end", []), ("5.6", disk, "commit", []),
            ("5.7", disk, "abort", []), ("10", trailer, "footer", [])):
        tables = document_tables(text, heading)
        yield f"table of section {heading}, {name}", \
            list(check_table(tables[0], definition, name, rest)) if tables else [f"section {heading}: no table"]
    for heading, index, enum, named in (("5.1", 1, "record_type", True), ("5.7", 1, "abort_code", False),
                                        ("6", 0, "codec", True)):
        found = document_tables(text, heading)[index:]
        yield f"table of section {heading}, {enum}", \
            list(check_numbers(found[0], disk.enums[enum], enum, named)) if found else [f"section {heading}: no table"]
    lengths = {row[1].replace(" ", "_"): int(length[1]) for row in (document_tables(text, "5.1")[1:] or [[]])[0][1:]
               if (length := re.match(r"(\d+) bytes", row[2]))}
    ours = {name: sum(size for _, _, size in static_layout(disk.classes[name])) for name in lengths}
    yield "lengths of bodies", [] if lengths == ours and lengths else [f"document {lengths}, definition {ours}"]


# --- 2. and 3. The fixtures ------------------------------------------------------------------------


@dataclass
class Fixture:
    entry: dict[str, Any]
    data: bytes

    @property
    def verdict(self) -> int:
        return int(self.entry["exitCode"])

    @property
    def offset(self) -> int:
        return -1 if self.entry.get("offset") is None else int(self.entry["offset"])

    def u32(self, offset: int) -> int:
        return int.from_bytes(self.data[offset:offset + 4], "little")


CORRUPT = 2
CHUNK_BYTES, MAX_STREAMS = 28, 68                       # offsets in the header
TYPE, STREAM, STORED_BYTES, RAW_BYTES = 8, 12, 24, 28   # offsets in a record header
LETTERS_AND_DIGITS = b"abcdefghijklmnopqrstuvwxyz0123456789"


def is_unknown_type(fixture: Fixture) -> bool:
    return fixture.u32(fixture.offset) not in range(1, 6)


def is_impossible_stream(fixture: Fixture) -> bool:
    value, kind = fixture.u32(fixture.offset), fixture.u32(fixture.offset - STREAM + TYPE)
    return value != 0 if kind in (4, 5) else value >= fixture.u32(MAX_STREAMS)


def is_possible_chunk(fixture: Fixture) -> bool:
    return fixture.u32(fixture.offset - STORED_BYTES + TYPE) == 2 \
        and fixture.u32(fixture.offset) <= fixture.u32(CHUNK_BYTES)


def is_zero_record(fixture: Fixture) -> bool:
    return fixture.data[fixture.offset:fixture.offset + 64] == bytes(64)


def is_impossible_raw_bytes(fixture: Fixture) -> bool:
    value, kind = fixture.u32(fixture.offset), fixture.u32(fixture.offset - RAW_BYTES + TYPE)
    return kind != 2 or not 1 <= value <= fixture.u32(CHUNK_BYTES)


def is_bad_name(fixture: Fixture) -> bool:
    return fixture.offset % 64 != 32 or fixture.data[fixture.offset] not in LETTERS_AND_DIGITS


def is_corrupt(fixture: Fixture) -> bool:
    return fixture.verdict == CORRUPT


@dataclass
class Claim:
    """What a definition can tell of damage: why, where it says so, and in which of the cases."""
    reason: str
    places: dict[tuple[str, str], int]          # (type, field) -> the field's offset minus the manifest's
    kind: str = "value"                         # that of a ParseFailure, or "abort": parses
    only_if: Callable[[Fixture], bool] = lambda fixture: True


def claims() -> dict[tuple[str, str], list[Claim]]:
    """By structure and field; the first that applies holds. Hashes, digests, sums, limits, order: no claim."""
    result = {("header", name): [Claim(reason, {("header", snake_case(name)): 0})] for name, reason in (
        ("magic", "contents"), ("version", "valid 1"), ("requiredFeatures", "valid 0"), ("direction", "any-of"),
        ("chunkBytes", "any-of"), ("transferID", "expr: not zero"), ("capacityBytes", "expr"),
        ("allowedCodecs", "expr: bits 0 and 1"), ("maxStreams", "min, max"), ("recipientDomid", "expr"),
        ("targetDomid", "expr"), ("reserved", "expr: zero"))}
    for structure, name, reason in (
            ("record", "reserved", "expr: zero"), ("record", "padding", "expr: zero"),
            ("record", "sequence", "eq _index"), ("stream begin", "transferID", "eq the header's"),
            ("stream begin", "nameBytes", "min, max"), ("stream begin", "reserved", "expr: zero"),
            ("stream end", "reserved", "expr: zero"), ("abort", "reserved", "expr: zero"),
            ("commit", "transferID", "eq the header's"), ("commit", "headerHash", "eq the header's"),
            ("commit", "logBytes", "eq a position"), ("commit", "recordCount", "eq sequence"),
            ("commit", "reserved", "expr: zero")):
        result[structure, name] = [Claim(reason, {(structure.replace(" ", "_"), snake_case(name)): 0})]
    record_fields = ("hash", "type", "stream", "sequence", "stored_bytes", "raw_bytes", "codec", "reserved", "body",
                     "padding")
    return result | {
        ("header", "end"): [Claim("end of data", {("save_disk", "header"): 0}, "end")],
        ("record", "end"): [Claim("end of data", {("record", name): 0 for name in record_fields}, "end")],
        ("commit", "end"): [Claim("end of data", {("save_disk", "padding"): 0}, "end")],
        ("disk", "end"): [Claim("end of data between records", {("record", "hash"): 0}, "end",
                                lambda fixture: fixture.offset == len(fixture.data)),
                          Claim("expr: type 0, of 64 zero bytes (R3)", {("record", "type"): 8},
                                only_if=is_zero_record)],
        ("record", "type"): [Claim("expr: a type not known (R12, R13; not K1, the order)",
                                   {("record", "type"): 0}, only_if=is_unknown_type)],
        ("record", "stream"): [Claim("expr: not 0 in commit and abort, or too high (not the open stream's index)",
                                     {("record", "stream"): 0}, only_if=is_impossible_stream)],
        ("record", "storedBytes"): [Claim("expr: R5; D4 at codec (not R6, a limit)", {
                                        ("record", "stored_bytes"): 0, ("record", "codec"): 8},
                                        only_if=lambda fixture: is_corrupt(fixture) and is_possible_chunk(fixture)),
                                    Claim("expr: R4, R5, K5 (not R6, a limit)", {("record", "stored_bytes"): 0},
                                          only_if=is_corrupt)],
        ("record", "rawBytes"): [Claim("expr: K4, D3 (not D5 and D6, sums)", {("record", "raw_bytes"): 0},
                                       only_if=is_impossible_raw_bytes)],
        ("record", "codec"): [Claim("expr: K3, D1 (not D2, unsupported)", {("record", "codec"): 0},
                                    only_if=is_corrupt)],
        ("stream begin", "name"): [Claim("expr: B4, B5 (not B6, a name used twice)", {
            ("stream_name", "first"): 0, ("stream_name_byte", "value"): 0, ("stream_name", "padding"): 0},
            only_if=is_bad_name)],
        ("stream begin", "flags"): [Claim("max (not B9, what the reader knows)",
                                          {("stream_begin", "flags"): 0}, only_if=is_corrupt)],
        ("abort", "code"): [Claim("parses, to the abort", {}, "abort")],
        ("commit", "padding"): [Claim("expr: zero", {("save_disk", "padding"): 0})],
        ("disk", "trailing"): [Claim("size-eos, expr: nothing", {("save_disk", "trailing"): 0})],
    }


def normal_structure(text: Any) -> str:
    """`streamBegin`, `stream_begin` and `stream begin` are the same structure."""
    return snake_case(str(text)).replace("_", " ")


def check_good(disk: Definition, fixture: Fixture) -> Iterator[str]:
    try:
        root = Node(disk, disk.id, Stream(fixture.data)).read_all()
    except ParseFailure as failure:
        yield f"is good but does not parse: {failure}"
        return
    streams: list[dict[str, Any]] = []
    for record in root["records"]:
        kind = record["kind"].value
        if kind == 1:
            streams.append({"name": record["body"]["name"]["text"], "rawBytes": 0, "storedBytes": 0, "chunkCount": 0})
        elif kind == 2:
            for key, amount in (("rawBytes", record["raw_bytes"]), ("storedBytes", record["stored_bytes"]),
                                ("chunkCount", 1)):
                streams[-1][key] += amount
        elif kind == 3:
            body = record["body"]
            streams[-1]["xxh128"] = body["digest"].hex()
            if (body["raw_bytes"], body["chunk_count"]) != (streams[-1]["rawBytes"], streams[-1]["chunkCount"]):
                yield f"stream end of {streams[-1]['name']} differs from its chunks"
    commit = root["records"][-1]["body"]
    if not root["is_committed"]:
        yield "is good but has no commit"
        return
    sums = [sum(stream[key] for stream in streams) for key in ("rawBytes", "storedBytes")] + [len(streams)]
    if sums != [commit[key] for key in ("raw_bytes", "stored_bytes", "stream_count")]:
        yield f"commit differs from the records: {sums}"
    if streams != [{key: stream.get(key) for key in streams[0]} for stream in fixture.entry["streams"]]:
        yield f"streams: manifest has {fixture.entry['streams']}, definition gives {streams}"
    if root["disk_bytes"] != fixture.entry["diskBytes"] or root.spans["padding"][1] != root["disk_bytes"]:
        yield f"length: manifest has {fixture.entry['diskBytes']}, definition gives {root['disk_bytes']}"


def is_earlier_in_record(disk: Definition, fixture: Fixture, claim: Claim, failure: ParseFailure) -> bool:
    """Whether the failure is in the record header that the claim means, but at an earlier field of it.

    The definition checks fields in the order in which they lie, the document in that of section 7 (R4
    before all others, K3 before K5). Where a header has several faults they may name different ones.
    """
    offsets = {item.id: offset for item, offset, _ in static_layout(disk.classes["record"])}
    return failure.kind == "value" and failure.place[0] == "record" and any(
        type_name == "record" and offsets.get(failure.place[1], 64) < offsets.get(name, 64)
        and failure.start - offsets[failure.place[1]] == fixture.offset + delta - offsets.get(name, 64)
        for (type_name, name), delta in claim.places.items())


def check_damaged(disk: Definition, fixture: Fixture, claim: Optional[Claim], earlier: list[str]) -> Iterator[str]:
    try:
        Node(disk, disk.id, Stream(fixture.data)).read_all()
    except ParseFailure as failure:
        if claim is None:
            return
        if claim.kind == "abort":
            yield f"ends in an abort but does not parse: {failure}"
            return
        # The definition gives the place of a field; for bytes that must be zero the manifest gives the
        # place of the first that is not.
        at = failure.start
        if failure.kind == "end":
            at = failure.end
        elif failure.place[1] in ("reserved", "padding"):
            at += next((i for i, byte in enumerate(fixture.data[failure.start:failure.end]) if byte), 0)
        expected = claim.places.get(failure.place)
        if failure.kind == claim.kind and at - fixture.offset == expected:
            return
        if is_earlier_in_record(disk, fixture, claim, failure):
            earlier.append(f"{fixture.entry['file']} at {failure.place[1]}")
        else:
            yield f"fails elsewhere: {failure} (a matter of {failure.kind}, {at})"
    else:
        if claim is not None and claim.kind != "abort":
            yield f"parses, although the definition can tell ({claim.reason})"


# --- The trailer, on state files made here (no hash is right in them; the definition looks at none) -


def state_file(state: bytes, metadata: bytes, version: int = 1, features: int = 0, magic: bytes = b"",
               more_state: int = 0) -> bytes:
    numbers = ((version, 4), (features, 4), (len(state) + more_state, 8), (len(metadata), 8))
    return (state + metadata + (magic or bytes.fromhex("89535455425452 4C520D0A1A0A000000"))
            + b"".join(number.to_bytes(size, "little") for number, size in numbers) + bytes(24))


def check_trailer(trailer: Definition) -> Iterator[tuple[str, list[str]]]:
    state, metadata = b"QEVM" + bytes(range(97)), bytes([7]) * 8192
    for what, data, place in (
            ("with metadata", state_file(state, metadata), None), ("without metadata", state_file(state, b""), None),
            ("magic", state_file(state, metadata, magic=b"STUBTRLR" * 2), "magic"),
            ("version", state_file(state, metadata, version=2), "version"),
            ("requiredFeatures", state_file(state, metadata, features=1), "required_features"),
            ("stateBytes", state_file(state, metadata, more_state=1), "metadata_bytes"),
            ("metadataBytes", state_file(state, metadata[1:]), "metadata_bytes"),
            ("shorter than a footer", bytes(63), "footer")):
        try:
            root = Node(trailer, trailer.id, Stream(data)).read_all()
            got, right = None, root["state"] == state and root["metadata"] in (b"", metadata)
        except ParseFailure as failure:
            got, right = failure.place[1], True
        yield f"state file, {what}", [] if right and got == place else [f"{place} expected to fail, not {got}"]


# --- The program -----------------------------------------------------------------------------------


class Score:
    def __init__(self) -> None:
        self.passed, self.failed = 0, 0

    def add(self, what: str, problems: list[str]) -> None:
        self.passed, self.failed = self.passed + (not problems), self.failed + bool(problems)
        for problem in problems:
            print(f"FAILED {what}: {problem}")


def check_fixtures(directory: Path, disk: Definition, score: Score) -> None:
    entries = json.loads((directory / "manifest.json").read_text("utf-8"))["fixtures"]
    table = claims()
    used: set[str] = set()
    counts: Counter[str] = Counter()
    unclaimed: Counter[str] = Counter()
    earlier: list[str] = []
    for entry in entries:
        try:
            fixture = Fixture(entry, (directory / entry["file"]).read_bytes())
        except OSError as error:
            score.add(entry["file"], [str(error)])
            continue
        claim: Optional[Claim] = None
        if entry["verdict"] == "good":
            counts["good"] += 1
        else:
            key = (normal_structure(entry["structure"]), entry["field"])
            claim = next((item for item in table.get(key, []) if item.only_if(fixture)), None)
            used |= {f"{' '.join(key)} ({claim.reason})"} if claim else set()
            counts["claimed" if claim else "unclaimed"] += 1
            unclaimed[" ".join(key)] += claim is None
        try:
            problems = list(check_good(disk, fixture) if entry["verdict"] == "good"
                            else check_damaged(disk, fixture, claim, earlier))
        except (DefinitionError, KeyError, IndexError, TypeError) as error:
            problems = [f"{type(error).__name__}: {error}"]
        expected = "" if entry["verdict"] == "good" else f" ({entry['structure']} {entry['field']} {entry['offset']})"
        score.add(entry["file"] + expected, problems)
    score.add("manifest", [] if counts["good"] and counts["claimed"] else ["no good or no damaged fixture"])
    print(f"fixtures: {counts['good']} good, {counts['claimed']} damaged so that the definition can tell, "
          f"{counts['unclaimed']} for which nothing is claimed")
    print("nothing claimed: " + ", ".join(f"{key} {n}" for key, n in sorted(unclaimed.items()) if n))
    if earlier:
        print("told at an earlier field of the same record header: " + ", ".join(earlier))
    if missing := {f"{' '.join(key)} ({claim.reason})" for key, items in table.items() for claim in items} - used:
        print("could be told, but no fixture has it: " + ", ".join(sorted(missing)))


def main() -> int:
    project = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fixtures", type=Path, default=project / "fixtures", metavar="DIR")
    parser.add_argument("--formats", type=Path, default=project / "formats", metavar="DIR")
    options = parser.parse_args()
    score = Score()
    try:
        disk = Definition(options.formats / "save-disk.ksy")
        trailer = Definition(options.formats / "state-trailer.ksy")
        text = (options.formats / "save-disk.md").read_text("utf-8")
        for what, problems in check_document(text, disk, trailer):
            score.add(what, problems)
        for what, problems in check_trailer(trailer):
            score.add(what, problems)
        check_fixtures(options.fixtures, disk, score)
    except (DefinitionError, KeyError, OSError, yaml.YAMLError, json.JSONDecodeError) as error:
        score.add(type(error).__name__, [str(error)])
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


if __name__ == "__main__":
    sys.exit(main())
