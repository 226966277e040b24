"""A drop-in client stands in for the client that it wraps: attributes, `isinstance`, patching."""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch
from qdrant_client import AsyncQdrantClient, QdrantClient

from vecdb_rerank_opensearch import AsyncRerankingOpenSearch, RerankingOpenSearch
from vecdb_rerank_qdrant import AsyncRerankingQdrantClient, RerankingQdrantClient

# The drop-in, the client's class and address, what the drop-in replaces, and other attributes.
QDRANT = (["query_points", "query_batch_points", "query_points_groups"], ["count", "_client"])
OPENSEARCH = (["search", "msearch"], ["bulk", "transport", "indices"])
KINDS = [
    (RerankingQdrantClient, QdrantClient, ":memory:", QDRANT),
    (AsyncRerankingQdrantClient, AsyncQdrantClient, ":memory:", QDRANT),
    (RerankingOpenSearch, OpenSearch, "http://127.0.0.1:1", OPENSEARCH),
    (AsyncRerankingOpenSearch, AsyncOpenSearch, "http://127.0.0.1:1", OPENSEARCH),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind[0].__name__)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, Any, Any]]:
    """A drop-in, the client that it wraps, and the names of both sorts."""
    cls, native, where, names = request.param
    client = native(where)
    yield cls(client, None), client, names
    if inspect.isawaitable(closed := client.close()):
        await closed


def state(drop_in: Any, client: Any, names: Any) -> list[Any]:
    """Everything that a patch may leave changed."""
    found = [getattr(drop_in, name) for name in (*names[0], *names[1], "close")]
    return [*found, dict(vars(client)), sorted(vars(drop_in))]


def test_any_attribute_can_be_patched_and_comes_back(pair: Any) -> None:
    drop_in, client, (own, others) = pair
    before = state(*pair)
    for name in (*own, *others, "close"):
        for _ in range(2):
            with mock.patch.object(drop_in, name) as patched:
                assert getattr(drop_in, name) is patched
                assert (getattr(client, name) is patched) is (name in others)
            assert state(*pair) == before


def test_patches_nest_and_come_back_after_an_error(pair: Any) -> None:
    drop_in, _, (own, others) = pair
    before = state(*pair)
    for name in (own[0], others[0]):
        with (
            pytest.raises(LookupError),
            mock.patch.object(drop_in, name, 1),
            mock.patch.object(drop_in, name, 2),
        ):
            assert getattr(drop_in, name) == 2
            raise LookupError
        assert state(*pair) == before


def test_a_patch_with_autospec_has_the_signature_of_the_method(pair: Any) -> None:
    drop_in, _, (own, _) = pair
    with mock.patch.object(drop_in, own[0], autospec=True) as patched:
        assert "rerank_query" in inspect.signature(patched).parameters
    with mock.patch.multiple(drop_in, **dict.fromkeys(own, mock.DEFAULT)) as several:
        assert set(several) == set(own)


def test_a_patched_method_of_the_wrapped_client_is_the_one_that_is_called(pair: Any) -> None:
    drop_in, client, (_, others) = pair
    with mock.patch.object(client, others[0]) as patched:
        assert getattr(drop_in, others[0]) is patched


def test_attributes_are_the_wrapped_clients(pair: Any) -> None:
    drop_in, client, _ = pair
    drop_in.mark = 7
    assert client.mark == 7
    del drop_in.mark
    assert not hasattr(client, "mark")
    assert not hasattr(drop_in, "mark")
    with pytest.raises(AttributeError, match="mark"):
        del drop_in.mark
    assert dir(drop_in) == dir(client)


def test_it_is_an_instance_of_both_classes(pair: Any) -> None:
    drop_in, client, _ = pair
    assert isinstance(drop_in, type(client))
    assert isinstance(drop_in, type(drop_in))
    assert issubclass(type(drop_in), type(client))
    assert type(drop_in).__name__ in repr(drop_in)


def test_a_copy_shares_the_client(pair: Any) -> None:
    drop_in, client, (_, others) = pair
    assert getattr(copy.copy(drop_in), others[0]) == getattr(client, others[0])


def test_a_mock_can_be_specified_by_it(pair: Any) -> None:
    drop_in, client, (own, _) = pair
    double = mock.Mock(spec=type(drop_in))  # Qdrant's local clients are no specs themselves
    assert isinstance(double, type(client))
    assert hasattr(double, own[0])
