"""One template: the few things that it may hold, and writing it with the values of a message.

A template is Jinja2 cut down to output, `if`, comparisons and a few filters, by a list
of what is allowed. The stock sandbox is not enough: in it one expression of a dozen
characters makes a gigabyte, `'a' * 10**9`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from otpsvc.errors import BadRequest

#: What a template may name, each with what stands for it when it is not given.
#: `title` is the tenant's, `url` leads to the page and may be empty, `minutes` and
#: `seconds` both say the whole life of the code.
VARIABLES: Mapping[str, str | int] = {
    "code": "",
    "id": "",
    "locale": "",
    "minutes": 0,
    "provider": "",
    "purpose": "",
    "seconds": 0,
    "title": "",
    "to": "",
    "url": "",
}
_NUMBERS = frozenset(name for name, empty in VARIABLES.items() if isinstance(empty, int))
#: None grows its input by more than a factor of three (`ΐ` in upper case).
FILTERS = ("default", "lower", "title", "trim", "upper")

#: Characters of a template, and of one value.
TEMPLATE_MAX, VALUE_MAX = 8_192, 2_048
_DEPTH_MAX = 32

_ALLOWED = frozenset(
    {
        nodes.Template,
        nodes.Output,
        nodes.TemplateData,
        nodes.Name,
        nodes.Const,
        nodes.If,
        nodes.CondExpr,
        nodes.Compare,
        nodes.Operand,
        nodes.And,
        nodes.Or,
        nodes.Not,
        nodes.Filter,
    }
)
_WORDS: Mapping[str, str] = {
    "Assign": "set",
    "AssignBlock": "set",
    "CallBlock": "a call",
    "Call": "a call",
    "FilterBlock": "a filter block",
    "For": "a loop",
    "FromImport": "an import",
    "Getattr": "an attribute of a value",
    "Getitem": "an index into a value",
    "Test": "a test",
} | dict.fromkeys(
    ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Neg", "Pos", "Concat"), "arithmetic"
)

#: What old Go templates call it, and what it is called here.
_GO = {
    "OTP": "code",
    "To": "to",
    "Namespace": "title",
    "Channel": "provider",
    "OTPURL": "url",
    "OTPTTL": "minutes",
}
_GO_FIELD = re.compile(r"\{\{[^{}]*?(?<!\w)\.([A-Za-z]\w*)")

#: Never in a value: control characters, line and paragraph separators, overrides of the
#: direction of writing, halves of surrogate pairs.
STRIPPED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: Never in a template or in what is rendered; directions are its writer's to set.
REFUSED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class _NotAllowedError(ValueError):
    def __init__(self, what: str, node: nodes.Node) -> None:
        # Nodes that Jinja makes up have no line.
        super().__init__(f"{what}, line {node.lineno}" if node.lineno else what)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2 with our filters alone: no globals, no tests, an unknown name is an error."""

    def __init__(self, *, html: bool) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=html, trim_blocks=True, lstrip_blocks=True)
        self.globals.clear()
        self.tests.clear()
        self.filters = {name: self.filters[name] for name in FILTERS}


def check(text: str, *, one_line: bool = False) -> None:
    """Refuse a template that holds more than is allowed.

    Raises: ValueError, which says what is not allowed and in which line.
    """
    compiled(text, one_line=one_line)


# Most tenants share the default templates, and compiling takes milliseconds.
@lru_cache(maxsize=1024)
def compiled(source: str, *, html: bool = False, one_line: bool = False) -> Template:
    """The template, checked; in HTML the values are escaped. Raises: ValueError."""
    environment = _environment(html=html)
    tree = _parsed(source.rstrip(), environment)
    if one_line:
        _check_one_line(tree)
    try:
        return Template.from_code(environment, environment.compile(tree), {})
    except (RecursionError, MemoryError, SyntaxError, TemplateError):
        raise ValueError("too deeply nested") from None


def cleaned(values: Mapping[str, str | int]) -> dict[str, str | int]:
    """All VARIABLES, their strings without what could break a line, a header or the order of reading.

    Raises: BadRequest (too long), and KeyError or TypeError for a caller that mixed up names or types.
    """
    clean = dict(VARIABLES)
    for name, value in values.items():
        if not isinstance(value, type(VARIABLES[name])):
            raise TypeError(f"{name} is of the wrong type")
        clean[name] = _clean_text(name, value) if isinstance(value, str) else value
    return clean


def _clean_text(name: str, value: str) -> str:
    if len(value) > VALUE_MAX:
        raise BadRequest(f"`{name}` is longer than {VALUE_MAX} characters.", field=name, code="too_long")
    return value if value.isprintable() else STRIPPED.sub("", value)


def written(template: Template, values: Mapping[str, str | int], *, most: int) -> str:
    """The template with cleaned values, without blanks around; stops when it passes `most` characters.

    Raises: BadRequest, which holds nothing of the values.
    """
    pieces, left = [], most
    try:
        # Not `render`: it copies the values, and its errors are rewritten with their source.
        for piece in template.root_render_func(template.new_context(dict(values), shared=True)):
            left -= len(piece)
            if left < 0:
                raise BadRequest(f"The message is longer than {most} characters.", code="too_long")
            pieces.append(piece)
    except (RecursionError, MemoryError, TemplateError, TypeError, ValueError):
        raise BadRequest("The message could not be written from its template.", code="template") from None
    return "".join(pieces).strip()


@cache
def _environment(*, html: bool) -> _Environment:
    return _Environment(html=html)


def _parsed(source: str, environment: _Environment) -> nodes.Template:
    if len(source) > TEMPLATE_MAX:
        raise ValueError(f"longer than {TEMPLATE_MAX} characters")
    if found := REFUSED.search(source.replace("\r\n", " \n")):
        raise ValueError(f"a control character is not allowed, line {_line(source, found.start())}")
    try:
        tree = environment.parse(source)
        for node in _walk(tree):
            _check_node(node)
    except TemplateSyntaxError as error:
        raise _go_error(source) or ValueError(f"{str(error.message)[:120]}, line {error.lineno}") from None
    except _NotAllowedError as error:
        raise _go_error(source) or error from None
    except (RecursionError, MemoryError, ValueError):
        # ValueError: a number of more digits than Python reads.
        raise ValueError("too deeply nested, or a number too long") from None
    return tree


def _line(source: str, at: int) -> int:
    return source.count("\n", 0, at) + 1


def _go_error(source: str) -> ValueError | None:
    """The error that helps who brings a Go template along, as otpgateway reads them."""
    found = _GO_FIELD.search(source)
    if found is None:
        return None
    ours = _GO.get(found[1])
    advice = f"write {{{{ {ours} }}}}" if ours else f"there are {', '.join(VARIABLES)}"
    return ValueError(f".{found[1]} belongs to a Go template; {advice}, line {_line(source, found.start(1))}")


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Every node, in order of writing; on a stack of its own, as the tree may be deep."""
    stack = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > _DEPTH_MAX:
            raise _NotAllowedError("too deeply nested", node)
        yield node
        stack.extend((child, depth + 1) for child in reversed(list(node.iter_child_nodes())))


def _check_node(node: nodes.Node) -> None:
    kind = type(node)
    if kind not in _ALLOWED:
        what = _WORDS.get(kind.__name__, f"`{kind.__name__.lower()}`")
        raise _NotAllowedError(f"{what} is not allowed", node)
    if isinstance(node, nodes.Name) and node.name not in VARIABLES:
        raise _NotAllowedError(f"no variable {node.name!r}; there are {', '.join(VARIABLES)}", node)
    if isinstance(node, nodes.Const):
        _check_constant(node)
    if isinstance(node, nodes.CondExpr) and node.expr2 is None:
        raise _NotAllowedError("an `if` inside an output needs its `else`", node)
    if isinstance(node, nodes.Filter):
        _check_filter(node)
    if isinstance(node, nodes.Compare):
        _check_compare(node)


def _check_constant(node: nodes.Const) -> None:
    """An escape in a string may write what the source itself may not hold; numbers have at most 20 digits."""
    value = node.value
    if isinstance(value, str) and STRIPPED.search(value):
        raise _NotAllowedError("a control character is not allowed", node)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 10**20):
        raise _NotAllowedError("this number is not allowed", node)


def _check_filter(node: nodes.Filter) -> None:
    if node.name not in FILTERS:
        raise _NotAllowedError(f"the filter {node.name!r} is not allowed", node)
    if node.kwargs or node.dyn_args or node.dyn_kwargs or (node.args and node.name != "default"):
        raise _NotAllowedError(f"arguments of {node.name!r} are not allowed", node)
    if len(node.args) > 2:
        raise _NotAllowedError("'default' takes at most two arguments", node)


def _check_compare(node: nodes.Compare) -> None:
    """Equality between anything, order between numbers alone: it would fail while rendering."""
    operators = {operand.op for operand in node.ops}
    if operators & {"in", "notin"}:
        raise _NotAllowedError("`in` is not allowed", node)
    sides = (node.expr, *(operand.expr for operand in node.ops))
    if operators - {"eq", "ne"} and not all(map(_is_number, sides)):
        raise _NotAllowedError(f"only numbers have an order ({', '.join(sorted(_NUMBERS))})", node)


def _is_number(node: nodes.Expr) -> bool:
    if isinstance(node, nodes.Const):
        return isinstance(node.value, int)
    # An unknown name is reported as such, when the walk comes to it.
    return isinstance(node, nodes.Name) and (node.name in _NUMBERS or node.name not in VARIABLES)


def _check_one_line(tree: nodes.Template) -> None:
    for data in tree.find_all(nodes.TemplateData):
        if "\n" in data.data or "\t" in data.data:
            raise _NotAllowedError("a subject is one line without tabs", data)
