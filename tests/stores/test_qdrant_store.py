"""What holds of the Qdrant server's engine alone: several processes, copies, failures, what it refuses."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import AsyncQdrantClient, models

from lamina.core.errors import NotFoundError, UnavailableError, ValidationError
from lamina.core.filters import Condition, equals
from lamina.core.patterns import fold
from lamina.core.types import JsonObject
from lamina.stores.vectors.base import (
    CollectionRef,
    Nearest,
    OrderBy,
    Point,
    VectorQuery,
    VectorSpec,
)
from lamina.stores.vectors.exact_floats import lost_floats, restore_floats, survives
from lamina.stores.vectors.server import QdrantVectorStore
from lamina.stores.vectors.server_client import ServerOptions
from lamina.stores.vectors.server_terms import (
    INSTANTS,
    LAYOUT,
    NUMBERS,
    PRESENCE,
    PRESENT,
    TOKENS,
    path_and_part,
    terms_key,
    terms_of,
)
from tests.qdrant import QdrantServer
from tests.server import free_port
from tests.stores.conftest import emptied
from tests.stores.vector_points import AT, ELSEWHERE, SIZE, document, every_page, filled, ids


@asynccontextmanager
async def several(
    server: QdrantServer, name: str, number: int, **how: Any
) -> AsyncIterator[list[QdrantVectorStore]]:
    """Stores as several processes have them, over one empty place on a server."""
    stores = [QdrantVectorStore(ServerOptions(server.url), prefix=name, **how) for _ in range(number)]
    yield stores
    await emptied(stores[0])
    for store in stores:
        await store.close()


@pytest.fixture
async def two(qdrant: QdrantServer, request: pytest.FixtureRequest) -> AsyncIterator[list[QdrantVectorStore]]:
    """The stores of two processes."""
    async with several(qdrant, f"two-{request.node.name}", 2) as stores:
        yield stores


# Two processes


async def test_what_one_process_writes_the_other_reads_at_once(two: list[QdrantVectorStore]) -> None:
    await filled(two[0], [])
    for number in range(40):
        writer, reader = two[number % 2], two[1 - number % 2]
        await writer.upsert(AT, [document(number, odd=number % 3)])
        assert len(await reader.get(AT, [f"doc_{number:03d}"])) == 1
        assert await reader.count(AT, equals("number", number)) == 1
        assert await reader.count(AT, Condition("parity", "eq", "even")) == number // 2 + 1
        await writer.replace_payloads(
            AT, {f"doc_{number:03d}": {"number": number, "new kind": ["a", number]}}
        )
        assert await reader.count(AT, equals("new kind", "a")) == 1
        await writer.upsert(AT, [document(number)])
    await two[1].delete(AT, ["doc_003"])
    assert await two[0].count(AT) == 39


async def test_a_collection_made_anew_elsewhere_is_met_as_it_is_now(two: list[QdrantVectorStore]) -> None:
    await filled(two[0])
    await filled(two[1], range(3))
    near = VectorQuery(Nearest([1.0, 0, 0, 0], "dense"), limit=3)
    assert len(await two[1].search(AT, near)) == 3
    await two[0].drop(AT)
    assert await two[1].search(AT, near) == []
    assert await two[1].count(AT) == 0
    with pytest.raises(NotFoundError):
        await two[1].upsert(AT, [document(1)])
    await filled(two[1])
    await two[0].drop(AT)
    await two[0].create(AT, [VectorSpec("dense", 2), VectorSpec("more", 3)])
    await two[0].upsert(AT, [Point("doc_1", {}, {"dense": [1, 0], "more": [1, 2, 3]})])
    with pytest.raises(ValidationError, match=r"dense \(2\)"):
        await two[1].search(AT, near)
    assert ids(await two[1].search(AT, VectorQuery(Nearest([1.0, 0], "dense"), limit=3))) == ["doc_1"]
    [point] = await two[1].get(AT, ["doc_1"], with_vectors=True)
    assert set(point.vectors) == {"dense", "more"}


async def test_collections_of_a_namespace_may_have_other_vectors_of_one_name(
    two: list[QdrantVectorStore],
) -> None:
    await filled(two[0])
    await two[0].create(ELSEWHERE, [VectorSpec("dense", 2, "euclidean")])
    await two[0].upsert(ELSEWHERE, [Point("doc_000", {}, {"dense": [3.0, 4.0]})])
    assert ids(await two[1].search(ELSEWHERE, VectorQuery(Nearest([3.0, 4.0], "dense"), limit=5))) == [
        "doc_000"
    ]
    assert len(await two[1].search(AT, VectorQuery(Nearest([1.0, 0, 0, 0], "dense"), limit=50))) == 20


async def test_processes_that_make_collections_at_once_make_all_of_them(two: list[QdrantVectorStore]) -> None:
    places = [CollectionRef("ns_1", f"col_{n}") for n in range(4)]
    await asyncio.gather(
        *(two[n % 2].create(at, [VectorSpec(f"v{n}", n + 2)]) for n, at in enumerate(places)),
        *(two[1 - n % 2].create(at, [VectorSpec("words", kind="sparse")]) for n, at in enumerate(places)),
    )
    assert await two[0].collections("ns_1") == [at.collection_id for at in places]
    for n, at in enumerate(places):
        await two[1].upsert(at, [Point("doc_1", {}, {f"v{n}": [1.0] * (n + 2)})])
        assert {spec.name for spec in (await two[0].info(at)).vectors} == {f"v{n}", "words"}
        hits = await two[0].search(at, VectorQuery(Nearest([1.0] * (n + 2), f"v{n}"), limit=5))
        assert ids(hits) == ["doc_1"]


# Copies


async def test_nothing_written_while_a_vector_is_added_is_lost(two: list[QdrantVectorStore]) -> None:
    await filled(two[0], range(800))
    written: set[str] = {f"doc_{n:03d}" for n in range(800)}
    done = asyncio.Event()

    async def write(store: QdrantVectorStore, start: int) -> None:
        number = start
        while not done.is_set():
            number += 1
            await store.upsert(AT, [document(number)])
            written.add(f"doc_{number:03d}")
            if number % 3 == 0:
                await store.delete(AT, [f"doc_{number - 1:03d}"])
                written.discard(f"doc_{number - 1:03d}")

    async def read(store: QdrantVectorStore) -> None:
        while not done.is_set():
            assert len(await store.get(AT, ["doc_000", "doc_799"])) == 2
            await asyncio.sleep(0.005)

    async def grow() -> None:
        for number in range(3):
            await two[0].create(AT, [VectorSpec(f"later{number}", 2)])
            await asyncio.sleep(0.05)
        done.set()

    await asyncio.gather(write(two[0], 1_000), write(two[1], 5_000), read(two[0]), read(two[1]), grow())
    assert await two[1].count(AT) == len(written)
    assert set(await every_page(two[1], 500)) == written


async def test_a_copy_whose_process_died_is_taken_over(
    qdrant: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DiedError(Exception):
        pass

    async def die(*_: object) -> None:
        raise DiedError

    async with several(qdrant, "takeover", 2, takeover=0.5) as (dying, other):
        await filled(dying, range(600))
        for step in ("_copy_points", "_point_alias", "_remove"):
            with monkeypatch.context() as patch:
                patch.setattr(dying._spaces, step, die)
                with pytest.raises(DiedError):
                    await dying.create(AT, [VectorSpec(step, 2)])
            assert await other.count(AT) == 600
            await other.upsert(AT, [document(600)])
            await other.create(AT, [VectorSpec(step, 2)])
            assert step in {spec.name for spec in (await other.info(AT)).vectors}
            assert await other.count(AT) == 601
            await other.delete(AT, ["doc_600"])
        await other.verify()
        answer = await other._server.client.get_collections()
        assert len([one for one in answer.collections if one.name.startswith("takeover.ns_1")]) == 1


async def test_writes_meanwhile_wait_and_then_say_why(
    qdrant: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("lamina.stores.vectors.server._PATIENCE", 0.3)
    async with several(qdrant, "patience", 2) as (copying, other):
        await filled(copying)
        monkeypatch.setattr(copying._spaces, "_copy_points", wait)
        creating = asyncio.create_task(copying.create(AT, [VectorSpec("later", 2)]))
        await asyncio.sleep(0.3)
        with pytest.raises(UnavailableError, match="being copied, to gain the vectors later"):
            await other.upsert(AT, [document(1)])
        assert await other.count(AT) == 20
        creating.cancel()


# Exactness


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_beside_a_payload_are_given_back(number: float) -> None:
    payload: JsonObject = {"a": [1, {"b": number}], "c": number}
    lost = lost_floats(payload)
    assert bool(lost) is not survives(number)
    read: JsonObject = {"a": [1, {"b": 0.0}], "c": 0.0} if lost else payload
    restore_floats(read, lost)
    assert read == payload


async def test_floats_are_read_as_they_were_written(two: list[QdrantVectorStore]) -> None:
    choose = random.Random(1)
    numbers = [choose.uniform(-1, 1) * 10 ** choose.randint(-300, 300) for _ in range(300)]
    numbers += [choose.random() for _ in range(300)]
    await two[0].create(AT, [])
    await two[0].upsert(
        AT, [Point(f"doc_{n}", {"at": {"x": [number]}, "x": number}) for n, number in enumerate(numbers)]
    )
    for n, number in enumerate(numbers):
        [point] = await two[1].get(AT, [f"doc_{n}"])
        assert point.payload["x"] == number
        assert point.payload["at"] == {"x": [number]}
    assert await two[1].count(AT, equals("x", numbers[7])) == 1
    for descending in (False, True):
        found = await every_page(two[1], 37, order=OrderBy("x", descending))
        assert [numbers[int(one[4:])] for one in found] == sorted(numbers, reverse=descending)


def test_folding_twice_is_folding_once() -> None:
    """One token then serves a string that is in lower case already."""
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    assert all(fold(fold(letter)) == fold(letter) for letter in letters)


async def test_long_strings_are_equal_and_counted_like_others(qdrant: QdrantServer) -> None:
    async with several(qdrant, "long", 1, index_from=0) as (store,):
        await store.create(AT, [])
        texts = ["A" * 300, "a" * 300, "A" * 300, "short", "İ" * 150]
        await store.upsert(AT, [Point(f"doc_{n}", {"t": text}) for n, text in enumerate(texts)])
        assert await store.count(AT, Condition("t", "eq", "a" * 300)) == 3
        assert await store.count(AT, equals("t", "A" * 300)) == 2
        assert await store.count(AT, Condition("t", "starts_with", "aaa")) == 3
        assert (await store.facet(AT, "t", limit=2))[0] == ("A" * 300, 2)


# Failures


async def test_a_server_that_was_lost_is_found_again(tmp_path: Path) -> None:
    with QdrantServer(tmp_path) as server:
        store = QdrantVectorStore(ServerOptions(server.url))
        await filled(store)
        server.kill()
        for _ in range(2):
            with pytest.raises(UnavailableError, match="cannot be reached"):
                await store.search(AT, VectorQuery(Nearest([1.0, 0, 0, 0], "dense"), limit=3))
            with pytest.raises(UnavailableError):
                await store.upsert(AT, [document(30)])
        server.start()
        assert len(await store.search(AT, VectorQuery(Nearest([1.0, 0, 0, 0], "dense"), limit=30))) == 20
        await store.upsert(AT, [document(30)])
        assert await store.count(AT) == 21
        await store.close()


async def test_what_was_acknowledged_survives_kills_of_the_server(tmp_path: Path) -> None:
    with QdrantServer(tmp_path) as server:
        store = QdrantVectorStore(ServerOptions(server.url))
        await filled(store, [])
        written: list[str] = []
        for round in range(3):
            killing = asyncio.get_running_loop().call_later(0.3 + 0.1 * round, server.kill)
            number = 1_000 * round
            with pytest.raises(UnavailableError):
                while True:
                    await store.upsert(AT, [document(n) for n in range(number, number + 5)])
                    written += [f"doc_{n:03d}" for n in range(number, number + 5)]
                    number += 5
            killing.cancel()
            server.start()
            assert len(await store.get(AT, written)) == len(written) > 0
        await store.close()


async def refusal(options: ServerOptions) -> str:
    """What a start with these options says."""
    store = QdrantVectorStore(options)
    try:
        with pytest.raises(UnavailableError) as refused:
            await store.verify()
    finally:
        await store.close()
    return refused.value.message


async def test_a_server_that_cannot_be_used_is_refused_in_plain_words(
    qdrant: QdrantServer, tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert "cannot be reached" in await refusal(ServerOptions(nowhere))
    assert "LAMINA_VECTORS_URL" in await refusal(ServerOptions(nowhere))
    assert "no Qdrant server" in await refusal(ServerOptions(f"{qdrant.url}/elsewhere"))
    with QdrantServer(tmp_path, {"QDRANT__SERVICE__API_KEY": "sesame"}) as locked:
        for wrong in (None, "wrong"):
            message = await refusal(ServerOptions(locked.url, api_key=wrong))
            assert "LAMINA_VECTORS_API_KEY" in message
        store = QdrantVectorStore(ServerOptions(locked.url, api_key="sesame"))
        await store.verify()
        await filled(store)
        assert await store.count(AT) == 20
        await store.close()


async def test_a_qdrant_collection_with_other_vectors_is_refused(qdrant: QdrantServer) -> None:
    async with several(qdrant, "foreign", 1) as (store,):
        await filled(store, range(2))
        await store.verify()
        client = AsyncQdrantClient(url=qdrant.url, check_compatibility=False)
        [name] = [
            one.name
            for one in (await client.get_collections()).collections
            if one.name.startswith("foreign.ns_1")
        ]
        await client.delete_collection(name)
        with pytest.raises(UnavailableError, match=r"is gone.*restore it"):
            await store.verify()
        other = models.VectorParams(size=7, distance=models.Distance.COSINE)
        await client.create_collection(name, vectors_config={f"dense~{SIZE}c": other})
        with pytest.raises(UnavailableError, match=r"of size 7 .*where size 4 and cosine are expected"):
            await store.verify()
        await client.close()


async def test_points_that_say_their_terms_in_another_layout_are_refused(qdrant: QdrantServer) -> None:
    async with several(qdrant, "old-layout", 1) as (store,):
        await filled(store, range(2))
        [space] = await store._registry.spaces()
        await store._registry.put(replace(space, layout=LAYOUT - 1))
        with pytest.raises(
            UnavailableError, match=r"layout 1, .* reads layout 2.*lamina restore. into empty stores"
        ):
            await store.verify()


def test_points_say_what_their_fields_hold() -> None:
    told = terms_of(
        {
            "name": "Ada",
            "plain": "ada",
            "born": "1815-12-10T00:00:00+01:00",
            "tags": ["x", "Y", 3, None, "x"],
            "one": ["x"],
            "place": {"city": "Rome", "people": [{"age": 3}, {"age": 4}]},
            "open": True,
            "size": 1.0,
            "prose": "A" * 300,
            'odd "%"': 1,
            "nothing": None,
        }
    )
    tokens = told[TOKENS]
    assert isinstance(tokens, dict)
    prose = tokens.pop("prose")
    assert isinstance(prose, list)
    assert [str(one)[0] for one in prose] == ["S", "F"]
    assert told == {
        TOKENS: {
            "name": ["sAda", "fada"],
            "plain": "sada",
            "born": ["s1815-12-10T00:00:00+01:00", "t1815-12-09T23:00:00.000000Z"],
            "tags": ["sx", "sY", "fy", "n3"],
            "one": "sx",
            "place.city": ["sRome", "frome"],
            "place.people.age": ["n3", "n4"],
            "open": "b1",
            "size": "n1",
            "odd %22%25%22": "n1",
        },
        NUMBERS: {"tags": 3, "place.people.age": [3, 4], "size": 1.0, "odd %22%25%22": 1},
        INSTANTS: {"born": "1815-12-09T23:00:00.000000Z"},
        PRESENT: [
            "sname",
            "splain",
            "tborn",
            "ltags",
            "lone",
            "oplace",
            "splace.city",
            "lplace.people",
            "oplace.people.age",
            "bopen",
            "nsize",
            "sprose",
            'nodd "%"',
        ],
    }


def test_keys_of_terms_are_read_back() -> None:
    for path in ("a.b", 'odd "%" \\ \n', "ü"):
        for part in (TOKENS, NUMBERS, INSTANTS):
            assert path_and_part(terms_key(path, part)) == (path, part)
    assert path_and_part(terms_key(*PRESENCE)) == PRESENCE
    assert path_and_part("collection_id") is None


async def test_only_ids_are_indexed_until_a_filter_wants_more(qdrant: QdrantServer) -> None:
    """Qdrant makes a graph for each frequent value of what is indexed."""

    async def indexed() -> set[str]:
        told = await store._server.client.get_collection(store._spaces.alias(AT.namespace_id))
        return set(told.payload_schema)

    async with several(qdrant, "indexed", 1, index_from=10) as (store,):
        await filled(store, range(20))
        first = await indexed()
        assert "collection_id" in first
        assert {key.split(".")[0] for key in first - {"collection_id"}} == {TOKENS}
        assert await store.count(AT, Condition("document_id", "exists", True)) == 20
        assert await indexed() == first | {PRESENT}
        assert await store.count(AT, Condition("_internal.created_at", "gt", "2020-01-01")) == 0
        assert await indexed() == first | {PRESENT, terms_key("_internal.created_at", INSTANTS)}


async def test_tls_is_spoken_where_the_url_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    server = QdrantServer(
        tmp_path / "server",
        {
            "QDRANT__SERVICE__ENABLE_TLS": "true",
            "QDRANT__TLS__CERT": str(tmp_path / "cert.pem"),
            "QDRANT__TLS__KEY": str(tmp_path / "key.pem"),
        },
    )
    server.scheme = "https"
    with server:
        assert "certificate" in (await refusal(ServerOptions(server.url))).lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        store = QdrantVectorStore(ServerOptions(server.url))
        await store.verify()
        await filled(store)
        assert await store.count(AT) == 20
        await store.close()


async def test_a_drop_that_was_cut_off_is_finished(
    two: list[QdrantVectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(two[0])
    monkeypatch.setattr(QdrantVectorStore, "_finish_drop", lambda *_: asyncio.sleep(0, _fail()))
    with pytest.raises(ConnectionError):
        await two[0].drop(AT)
    monkeypatch.undo()
    assert await two[1].collections("ns_1") == []
    await two[1].create(AT, [VectorSpec("dense", SIZE)])
    assert await two[1].count(AT) == 0


def _fail() -> Any:
    raise ConnectionError
