"""The named rerankers of the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import ModelSettings, RerankerSettings, Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.policy import Policy
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.server.checks.keys import Caller
from vecdb_rerank.server.errors import ApiError

Sections = tuple[RerankerSettings, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A chain of rerankers under a name.

    ``max_chars`` is the longest text in characters; what follows is cut off. ``sections`` are the
    settings that the chain was made from.
    """

    name: str
    aliases: Sequence[str]
    chain: Chain
    policy: Policy
    max_chars: int
    sections: Sections

    @property
    def rerankers(self) -> set[str]:
        """The names of the rerankers in the chain."""
        return {reranker.name for reranker in self.chain.rerankers}


class Models:
    """The models by name.

    Chains of ``before`` whose settings have not changed are used further, with their circuits and
    loaded weights. Raises `ConfigurationError` if a reranker cannot be made.
    """

    def __init__(self, settings: Settings, before: Models | None = None) -> None:
        made: list[tuple[Sections, Chain]] = []
        if before is not None:
            made = [(model.sections, model.chain) for model in before]
        self._all: list[Model] = []
        for number, section in enumerate(settings.serve.models):
            sections = section.own or settings.chain
            chain = next((chain for known, chain in made if known == sections), None)
            if chain is None:
                chain = _chain(settings, section, f"serve.models.{number}")
                made.append((sections, chain))
            chain.check(settings.policy)
            chars = settings.text_fields.max_chars
            self._all.append(
                Model(section.name, section.aliases, chain, settings.policy, chars, sections)
            )
        named = [section.default for section in settings.serve.models]
        self.default = self._all[named.index(True) if True in named else 0]
        self._by_name: Mapping[str, Model] = {
            name: model for model in self._all for name in (model.name, *model.aliases)
        }

    def __iter__(self) -> Iterator[Model]:
        return iter(self._all)

    @property
    def chains(self) -> set[Chain]:
        """The chains of all models, each once."""
        return {model.chain for model in self._all}

    def find(self, name: str | None, caller: Caller) -> Model:
        """Return the model of a request; without a name, the first one of `usable`.

        Raises `ApiError` (404) for a name that none has, or whose model the caller may not use.
        """
        usable = self.usable(caller)
        if name:
            named = self._by_name.get(name, self._by_name.get("*"))
            found = named if named in usable else None
        else:
            found = usable[0] if usable else None
        if found is None:
            known = ", ".join(model.name for model in usable)
            raise ApiError(404, f"must be one of: {known or 'none'}", field="model")
        return found

    def usable(self, caller: Caller) -> list[Model]:
        """Return the models that a caller may use; first the one that it gets without a name.

        That is the default, or else the first one that its key lists.
        """
        first = [self.default.name, *caller.models]
        found = [model for model in self._all if caller.may_use(model.name)]
        return sorted(found, key=lambda m: first.index(m.name) if m.name in first else len(first))


def _chain(settings: Settings, section: ModelSettings, where: str) -> Chain:
    if not section.own and all(one.type == "none" for one in settings.chain):
        raise ConfigurationError("reranker.type", "is 'none': there is nothing to serve")
    own = {"reranker": section.own[0]} if len(section.own) == 1 else {"rerankers": section.own}
    alone = settings.model_copy(update=own) if section.own else settings
    try:
        return Chain(factory.rerankers(alone), watches_scale=False)  # a caller could steer it
    except ConfigurationError as error:
        raise (error.within(where) if section.own else error) from error
