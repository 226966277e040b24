"""The demo's documents: the docstrings of the running Python's standard library.

Nothing is downloaded: modules are imported and inspected where they are installed, so
every machine with Python can run the demo, on the library version that it has.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

__all__ = ["Entry", "Kind", "standard_library"]

Kind = Literal["module", "function", "class", "method"]

MIN_TEXT = 18
"""Docstrings with fewer characters than this say nothing that is worth finding."""

# Left out, with all that is below them. Each group has its own reason.
_SKIPPED = frozenset(
    # Importing them opens something, prints, or changes the interactive prompt.
    ["antigravity", "this", "rlcompleter"]
    # Need a display, or are programs and data rather than a library.
    + ["idlelib", "tkinter", "turtle", "turtledemo", "ensurepip", "pydoc_data", "encodings"]
    # Implementation modules whose content is documented under another name.
    + ["genericpath", "nt", "ntpath", "nturl2path", "opcode", "posix", "posixpath", "pyexpat"]
    # Deprecated in 3.11; those that another package imported already would not warn again.
    + ["aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils"]
    + ["imghdr", "imp", "lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes"]
    + ["smtpd", "sndhdr", "spwd", "sre_compile", "sre_constants", "sre_parse", "sunau"]
    + ["telnetlib", "uu", "xdrlib"]
)
# Modules that the package's folder does not show, being other modules in disguise.
_ALIASES = ("collections.abc", "os.path")
_TESTS = frozenset({"test", "tests", "idle_test"})

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
# What namedtuple, dataclass and ast write when a class has no docstring of its own.
_GENERATED = re.compile(r"[\w.]+\(.*\)( -> .*)?")


@dataclass(frozen=True)
class Entry:
    """One documented object of the standard library."""

    id: str
    """The name under which the documentation lists it, such as ``pathlib.Path.glob``."""
    kind: Kind
    module: str
    """The module it is imported from, ``builtins`` for names that need no import."""
    signature: str
    """The parameters in parentheses, or ``""`` where Python cannot tell them."""
    text: str
    """The docstring, without its indentation."""

    def payload(self) -> dict[str, Any]:
        """The fields to store beside the vectors in a database."""
        return {
            "title": self.id + self.signature,
            "kind": self.kind,
            "module": self.module,
            "text": self.text,
        }


@dataclass(frozen=True)
class _Name:
    """A public name of an object; names of one object sort with the one to use first."""

    module: str
    attribute: str
    documented: bool
    alias: bool

    @property
    def full(self) -> str:
        return self.attribute if self.module == "builtins" else f"{self.module}.{self.attribute}"

    def order(self) -> tuple[bool, int, bool, int, str]:
        full = self.full
        return (not self.documented, full.count("."), self.alias, len(full), full)


def standard_library() -> Iterator[Entry]:
    """Yield an entry for each documented public object, in the order of their ids.

    An object that several modules export is listed once, under its shortest documented
    name. Methods are listed with the class that defines them.
    """
    # Collected first, so that the caller never runs with this function's warning filter.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A submodule and a function or class of the package may share a name: the later wins.
        entries = {entry.id: entry for entry in _entries()}
    for identifier in sorted(entries):
        yield entries[identifier]


def _entries() -> Iterator[Entry]:
    modules = dict(_modules())
    objects = _exported(modules)
    for name, module in modules.items():
        text = _text(module)
        if text:
            yield Entry(name, "module", name, "", text)
    for listed, value in objects:
        entry = _object_entry(listed, value)
        if entry is not None:
            yield entry
    yield from _method_entries(objects)


# Modules


def _modules() -> Iterator[tuple[str, ModuleType]]:
    """The public modules that can be imported here, by the name to list them under."""
    for top in sorted(sys.stdlib_module_names):
        if not _is_private(top) and top not in _SKIPPED:
            yield from _tree(top)
    for name in _ALIASES:
        yield name, importlib.import_module(name)


def _tree(name: str) -> Iterator[tuple[str, ModuleType]]:
    module = _import(name)
    if module is None:
        return
    yield name, module
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not _is_private(info.name) and info.name not in _TESTS:
            yield from _tree(f"{name}.{info.name}")


def _import(name: str) -> ModuleType | None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            module = importlib.import_module(name)
        except Exception:  # of another platform, or built without the C library it needs
            return None
    return None if any(_deprecates(warning, name) for warning in caught) else module


def _deprecates(warning: warnings.WarningMessage, module: str) -> bool:
    # A module may warn about others that it uses, so the message has to name it.
    about = re.search(rf"\b{re.escape(module)}\b(?!\.\w)", str(warning.message))
    return issubclass(warning.category, DeprecationWarning) and about is not None


# Functions and classes


def _exported(modules: Mapping[str, ModuleType]) -> list[tuple[_Name, Any]]:
    """Each public object once, with the name to list it under."""
    found: dict[int, tuple[_Name, Any]] = {}
    for module_name, module in modules.items():
        for name, value in _public(module_name, module):
            key = _identity(value)
            if key not in found or name.order() < found[key][0].order():
                found[key] = (name, value)
    return sorted(found.values(), key=lambda item: item[0].full)


def _public(module_name: str, module: ModuleType) -> Iterator[tuple[_Name, Any]]:
    listed = getattr(module, "__all__", None)
    for attribute in sorted({*vars(module), *(listed or ())}):
        value = _attribute(module, attribute)
        if _is_private(attribute) or inspect.ismodule(value):
            continue
        home = getattr(value, "__module__", None)
        if listed is None:
            documented = own = _defines(module, value, home)
        else:
            documented = attribute in listed or _lists(home, attribute, below=module_name)
            own = home in (module.__name__, f"_{module.__name__}")
        if documented or own:
            yield _Name(module_name, attribute, documented, _is_alias(value, attribute)), value


def _defines(module: ModuleType, value: Any, home: object) -> bool:
    """Whether a module without a list of its public names defines this one."""
    if module.__name__ == "builtins" and inspect.isbuiltin(value):
        return True  # open says that it is of io
    # The module behind a public one has a private name, as _sqlite3 is behind sqlite3.
    return home == module.__name__ or (isinstance(home, str) and _is_private(home))


def _lists(home: object, attribute: str, *, below: str) -> bool:
    """Whether a submodule of this package has the name in its list of public names."""
    # A package may forget a name that it imports for everyone, as asyncio did TaskGroup.
    if not isinstance(home, str) or not home.startswith(f"{below}."):
        return False
    return attribute in getattr(sys.modules.get(home), "__all__", ())


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except Exception:  # an optional name whose lazy import fails here
        return None


def _object_entry(name: _Name, value: Any) -> Entry | None:
    kind = _kind(value)
    text = _class_text(value) if inspect.isclass(value) else _text(value)
    if kind is None or not text:
        return None
    # A special form takes its arguments in brackets: that it can be called is a detail.
    called = inspect.isclass(value) or inspect.isroutine(value)
    signature = _signature(value, bound=True) if called else ""
    return Entry(name.full, kind, name.module, signature, text)


def _kind(value: Any) -> Kind | None:
    if inspect.isclass(value):
        return "class"
    if inspect.isroutine(value):
        return "function"
    # Such as typing.Optional: no class, but used like one and with a docstring of its own.
    return "class" if type(value).__module__ == "typing" else None


# Methods

_MethodOrder = tuple[bool, bool, int, int, str]


def _method_entries(objects: list[tuple[_Name, Any]]) -> Iterator[Entry]:
    """The methods of the classes among these objects, each with the class that defines it.

    What a private base defines is listed with the most basic public class that has it.
    Methods that are listed as functions already, such as random.randint, are left out.
    """
    functions = {_identity(value) for _, value in objects if not inspect.isclass(value)}
    classes = [(name, value) for name, value in objects if inspect.isclass(value)]
    public = {id(value) for name, value in classes if not name.alias}
    best: dict[int, tuple[_MethodOrder, Entry]] = {}
    for name, owner in classes:
        for attribute, raw in _methods(owner, public):
            entry = _method_entry(name, attribute, raw)
            key = _identity(raw)
            if entry is None or key in functions:
                continue
            alias = (name.alias, _is_alias(raw, attribute))
            order = (*alias, len(owner.__mro__), len(entry.id), entry.id)
            if key not in best or order < best[key][0]:
                best[key] = (order, entry)
    for _, entry in best.values():
        yield entry


def _methods(owner: type, public: set[int]) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for base in owner.__mro__:
        inherited = base is not owner and id(base) in public
        for attribute, raw in vars(base).items():
            if attribute in seen or _is_private(attribute):
                continue
            seen.add(attribute)
            if not inherited and _is_method(raw):
                yield attribute, raw


def _is_method(raw: Any) -> bool:
    wrapped = isinstance(raw, staticmethod | classmethod)
    return wrapped or (inspect.isroutine(raw) and not inspect.isclass(raw))


def _method_entry(owner: _Name, attribute: str, raw: Any) -> Entry | None:
    unbound = getattr(raw, "__func__", raw)
    text = _text(unbound)
    if not text:
        return None
    signature = _signature(unbound, bound=isinstance(raw, staticmethod))
    return Entry(f"{owner.full}.{attribute}", "method", owner.module, signature, text)


# Helpers


def _identity(value: Any) -> int:
    """Equal for a function and for what is left of it when looked up on an instance."""
    if inspect.isbuiltin(value) and not _is_private(value.__name__):
        owner = value.__self__
        if not inspect.ismodule(owner) and not inspect.isclass(owner):
            # As random.random, which is a method of a hidden instance written in C.
            value = inspect.getattr_static(type(owner), value.__name__, value)
    return id(getattr(value, "__func__", value))


def _is_alias(value: Any, name: str) -> bool:
    return bool(getattr(value, "__name__", name) != name)


def _is_private(name: str) -> bool:
    return name.startswith("_")


def _text(value: Any) -> str:
    """The object's own docstring, or "" if it has none worth listing."""
    doc = getattr(value, "__doc__", None)
    inherited = value.__mro__[1:] if inspect.isclass(value) else (type(value),)
    if not isinstance(doc, str) or any(doc == base.__doc__ for base in inherited):
        return ""
    text = inspect.cleandoc(doc).strip()
    return text if len(text) >= MIN_TEXT else ""


def _class_text(value: type) -> str:
    """The class's docstring or, as ThreadPoolExecutor has none, that of its constructor."""
    text = _text(value)
    if text and not _GENERATED.fullmatch(text):
        return text
    constructor = vars(value).get("__init__")
    return _text(constructor) if inspect.isfunction(constructor) else ""


def _signature(value: Any, *, bound: bool) -> str:
    try:
        signature = inspect.signature(value)
        if not bound:
            parameters = list(signature.parameters.values())
            signature = signature.replace(parameters=parameters[1:])
        # Addresses in the defaults' representations differ from run to run.
        return _ADDRESS.sub("", str(signature))
    except Exception:  # no signature, or one that cannot be shown
        return ""
