"""The requests to a Qdrant server that carry points, as plain JSON.

Over loopback and 5,000 points, a search that takes the server 0.6 ms takes 0.9 in this way and took 2.5
through the client's models and connections; a point written takes 0.12 ms of this process's work for
0.36. What they come to over HTTP: `bench.servers_search` and `bench.migrate`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import orjson
import qdrant_edge as q
from pydantic import BaseModel
from qdrant_client import models

from lamina.core.types import JsonObject
from lamina.stores.vectors.server_client import ORDERED, Server

Selector = bool | BaseModel
"""Which part of a payload is wanted."""

_ORDERING: Final = f"wait=true&ordering={ORDERED.value}"


@dataclass(slots=True)
class Found:
    """A point as the server tells it. A sparse vector is a mapping of `indices` and `values`."""

    id: str
    payload: JsonObject
    vector: Mapping[str, Any] = field(default_factory=dict)
    score: float = 0.0


async def query(
    server: Server,
    name: str,
    vector: Any,
    *,
    using: str,
    where: models.Filter,
    limit: int,
    payload: Selector,
    vectors: bool | Sequence[str],
    params: models.SearchParams,
) -> list[Found]:
    """The points nearest to a vector, best first."""
    body = {
        "query": {"nearest": vector},
        "using": using,
        "filter": where,
        "limit": limit,
        "with_payload": payload,
        "with_vector": vectors,
        "params": params,
    }
    told = await server.send("POST", _points(name, "/query"), encoded(body))
    return [_found(one) for one in told["points"]]


async def retrieve(
    server: Server,
    name: str,
    ids: Sequence[str],
    *,
    payload: Selector = True,
    vectors: bool | Sequence[str] = False,
) -> list[Found]:
    """The points with these ids that exist, in any order."""
    body = {"ids": ids, "with_payload": payload, "with_vector": vectors}
    return [_found(one) for one in await server.send("POST", _points(name), encoded(body))]


async def scroll(
    server: Server,
    name: str,
    *,
    limit: int,
    offset: str | None,
    where: models.Filter | None = None,
    payload: Selector = True,
    vectors: bool = False,
) -> tuple[list[Found], str | None]:
    """Points in order of id from an offset on, and the next offset."""
    body: dict[str, object] = {"limit": limit, "with_payload": payload, "with_vector": vectors}
    body |= {"offset": offset} if offset is not None else {}
    body |= {"filter": where} if where is not None else {}
    told = await server.send("POST", _points(name, "/scroll"), encoded(body))
    following = told.get("next_page_offset")
    return [_found(one) for one in told["points"]], None if following is None else str(following)


async def upsert(server: Server, name: str, points: Iterable[bytes]) -> None:
    """Write points, each `encoded` already; returns when all replicas that are up have them."""
    body = b'{"points":[' + b",".join(points) + b"]}"
    await server.send("PUT", _points(name, f"?{_ORDERING}"), body)


def encoded(value: object) -> bytes:
    """JSON of values that may hold arrays, sparse vectors and the client's models."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True, exclude_unset=True)
    if isinstance(value, q.SparseVector):
        return {"indices": list(value.indices), "values": list(value.values)}
    if isinstance(value, np.ndarray):  # one that does not lie in a row
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _points(name: str, what: str = "") -> str:
    return f"/collections/{quote(name, safe='')}/points{what}"


def _found(told: dict[str, Any]) -> Found:
    return Found(str(told["id"]), told.get("payload") or {}, told.get("vector") or {}, told.get("score", 0.0))
