"""A client's memory of what a server acknowledged, and what must follow from it whatever crashed."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from lamina.core.ids import document_id
from tests.steps import create_retriever, ok, search_stage, unique

TEXT_SCHEMA = {
    "properties": {
        "text": {"type": "text", "required": True},
        "title": {"type": "string"},
        "photo": {"type": "image"},
    }
}
BLANK = " \n "
"""A text that a bucket takes and that no extractor can do anything with."""

PLACES = ("harbour", "orchard", "railway", "glacier", "bakery", "library", "castle", "desert")


def sentences_of(text: str) -> list[str]:
    """The sentences of a text of ours, as `split_by=sentences` parts them."""
    return [f"{one}." for one in text.strip().removesuffix(".").split(". ")] if text.strip() else []


@dataclass
class Tree:
    """A bucket and the collections that read it: sentences, and two tiers made from those."""

    bucket_id: str
    sentences: str
    rows: str
    again: str
    top: str

    @property
    def collections(self) -> tuple[str, str, str, str]:
        return (self.sentences, self.rows, self.again, self.top)

    def documents(self, object_id: str, text: str) -> dict[str, dict[str, str]]:
        """Ids of the documents that an object has to become, with their texts, by collection."""
        found: dict[str, dict[str, str]] = {one: {} for one in self.collections}
        for number, sentence in enumerate(sentences_of(text)):
            first = document_id(self.sentences, object_id, "text_extractor_v1", str(number))
            again = document_id(self.again, first, "text_extractor_v1", "0")
            found[self.sentences][first] = sentence
            found[self.rows][document_id(self.rows, first, "passthrough_extractor_v1", "0")] = sentence
            found[self.again][again] = sentence
            found[self.top][document_id(self.top, again, "passthrough_extractor_v1", "0")] = sentence
        return found


@dataclass
class World:
    """What was acknowledged. Threads add to it; nobody takes away but by an acknowledged deletion."""

    tree: Tree
    uploads_bucket: str
    notes: str
    texts: dict[str, str] = field(default_factory=dict)
    """Text of each object of the tree's bucket, by its id."""
    at_once: set[str] = field(default_factory=set)
    """Those that are processed without a batch of the client's."""
    deleted: set[str] = field(default_factory=set)
    maybe_deleted: set[str] = field(default_factory=set)
    batches: dict[str, list[str]] = field(default_factory=dict)
    """Objects of each submitted batch."""
    drafts: dict[str, list[str]] = field(default_factory=dict)
    """The same for batches whose submission was not acknowledged."""
    triggered: set[str] = field(default_factory=set)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Directly written documents with what their patches set."""
    unsure: set[str] = field(default_factory=set)
    """Documents with a patch that was not acknowledged."""
    retrievers: dict[str, dict[str, Any]] = field(default_factory=dict)
    confirmed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Object and text of each confirmed upload."""
    doomed: set[str] = field(default_factory=set)
    """Buckets whose deletion was acknowledged."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def alive(self) -> list[str]:
        """Objects that nobody tried to delete."""
        return [one for one in self.texts if one not in self.deleted and one not in self.maybe_deleted]


def settle(api: httpx.Client) -> World:
    """Buckets and collections to work with."""
    uploads = ok(api.post("/v1/buckets", json={"bucket_name": unique("up"), "bucket_schema": TEXT_SCHEMA}))
    plain_collection(api, uploads["bucket_id"])
    idle = ok(api.post("/v1/buckets", json={"bucket_name": unique("idle"), "bucket_schema": TEXT_SCHEMA}))
    return World(plant(api), uploads["bucket_id"], plain_collection(api, idle["bucket_id"]))


def plain_collection(api: httpx.Client, bucket_id: str) -> str:
    """A collection with one document for each object."""
    return collection(api, {"type": "bucket", "bucket_ids": [bucket_id]}, "text_extractor")


def plant(api: httpx.Client) -> Tree:
    """A bucket with three tiers of collections."""
    bucket = ok(api.post("/v1/buckets", json={"bucket_name": unique("tree"), "bucket_schema": TEXT_SCHEMA}))
    bucket_id = bucket["bucket_id"]
    split = {"split_by": "sentences", "chunk_size": 1, "chunk_overlap": 0}
    sentences = collection(
        api, {"type": "bucket", "bucket_ids": [bucket_id]}, "text_extractor", parameters=split
    )
    below = {"type": "collection", "collection_ids": [sentences]}
    rows = collection(api, below, "passthrough_extractor")
    again = collection(api, below, "text_extractor")
    top = collection(api, {"type": "collection", "collection_ids": [again]}, "passthrough_extractor")
    return Tree(bucket_id, sentences, rows, again, top)


def collection(api: httpx.Client, source: Mapping[str, Any], extractor: str, **config: Any) -> str:
    """A new collection that hands text and title on."""
    mappings = {"input_mappings": {"text": "text"}} if extractor == "text_extractor" else {}
    body = {
        "collection_name": unique("c"),
        "source": source,
        "feature_extractor": {
            "feature_extractor_name": extractor,
            "field_passthrough": ["text", "title"],
            **mappings,
            **config,
        },
    }
    made: str = ok(api.post("/v1/collections", json=body))["collection_id"]
    return made


class Visitor(threading.Thread):
    """A client that works until the server is gone. What it is not told of, it does not count on."""

    def __init__(self, world: World, api: httpx.Client, seed: str, deeds: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.world = world
        self.api = api
        self.rng = random.Random(seed)
        self.deeds = deeds
        self.failure: BaseException | None = None
        self.count = 0
        self.leave = threading.Event()

    def run(self) -> None:
        try:
            while not self.leave.is_set():
                getattr(self, self.rng.choice(self.deeds))()
                self.count += 1
                self.leave.wait(self.rng.uniform(0.0, 0.1))
        except httpx.TransportError:
            pass  # the server was killed
        except BaseException as failure:
            self.failure = failure

    def text(self) -> str:
        """One to four sentences, each with a word that no other has; sometimes nothing but blanks."""
        if self.rng.random() < 0.1:
            return BLANK
        number = self.rng.randint(1, 4)
        return " ".join(
            f"The marker zq{self.rng.getrandbits(48):012x} lies in the {self.rng.choice(PLACES)}."
            for _ in range(number)
        )

    def objects(self) -> None:
        """New objects, all or none."""
        texts = [self.text() for _ in range(self.rng.randint(2, 10))]
        made = ok(
            self.api.post(
                f"/v1/buckets/{self.world.tree.bucket_id}/objects/batch",
                json={"objects": [as_object(one) for one in texts]},
            )
        )
        with self.world.lock:
            self.world.texts.update({one["object_id"]: text for one, text in zip(made, texts, strict=True)})

    def object_at_once(self) -> None:
        """A new object that is processed by itself."""
        text = self.text()
        url = f"/v1/buckets/{self.world.tree.bucket_id}/objects?auto_process=true"
        made = ok(self.api.post(url, json=as_object(text)))
        with self.world.lock:
            self.world.texts[made["object_id"]] = text
            self.world.at_once.add(made["object_id"])

    def batch(self) -> None:
        """A batch of some objects, old ones among them."""
        with self.world.lock:
            known = self.world.alive
        if not known:
            return self.objects()
        chosen = self.rng.sample(known, min(len(known), self.rng.randint(3, 25)))
        batches = f"/v1/buckets/{self.world.tree.bucket_id}/batches"
        answer = self.api.post(batches, json={"object_ids": chosen})
        if answer.status_code in (404, 422):  # one of them was deleted by now
            with self.world.lock:
                assert self.world.maybe_deleted & set(chosen), answer.text
            return None
        batch_id = ok(answer)["batch_id"]
        with self.world.lock:
            self.world.drafts[batch_id] = chosen
        ok(self.api.post(f"{batches}/{batch_id}/submit"))
        with self.world.lock:
            self.world.batches[batch_id] = self.world.drafts.pop(batch_id)
        return None

    def trigger(self) -> None:
        """Everything in the bucket that is new or changed."""
        answer = ok(self.api.post(f"/v1/collections/{self.world.tree.sentences}/trigger", json={}), 202)
        with self.world.lock:
            self.world.triggered.update(answer["batch_ids"])

    def deletion(self) -> None:
        """An object goes, perhaps while it is processed."""
        with self.world.lock:
            known = self.world.alive
            if len(known) < 20:
                return
            chosen = self.rng.choice(known)
            self.world.maybe_deleted.add(chosen)
        ok(self.api.delete(f"/v1/buckets/{self.world.tree.bucket_id}/objects/{chosen}"), 204)
        with self.world.lock:
            self.world.deleted.add(chosen)

    def doomed_bucket(self) -> None:
        """A bucket with files and a batch, deleted while that runs."""
        made = ok(
            self.api.post("/v1/buckets", json={"bucket_name": unique("d"), "bucket_schema": TEXT_SCHEMA})
        )
        bucket_id = made["bucket_id"]
        plain_collection(self.api, bucket_id)
        for _ in range(3):
            data = {"base64": "SGVsbG8gZnJvbSBhIGZpbGUu", "mime_type": "text/plain", "filename": "hello.txt"}
            body = {"blobs": [{"property": "text", "type": "text", "data": data}]}
            ok(self.api.post(f"/v1/buckets/{bucket_id}/objects?auto_process=true", json=body))
        ok(self.api.delete(f"/v1/buckets/{bucket_id}"))
        with self.world.lock:
            self.world.doomed.add(bucket_id)

    def upload(self) -> None:
        """A file is put and confirmed."""
        text = self.text()
        while text == BLANK:
            text = self.text()
        uploads = f"/v1/buckets/{self.world.uploads_bucket}/uploads"
        wish = {"filename": "note.txt", "content_type": "text/plain", "blob_property": "text"}
        made = ok(self.api.post(uploads, json=wish))
        headers = {"Content-Type": "text/plain"}
        put = httpx.put(made["presigned_url"], content=text.encode(), headers=headers, timeout=30.0)
        assert put.status_code == 200, put.text
        confirmation = f"{uploads}/{made['upload_id']}/confirm"
        done = ok(self.api.post(confirmation, json={"auto_submit_batch": True}))
        with self.world.lock:
            self.world.confirmed[made["upload_id"]] = (done["object_id"], text)

    def document(self) -> None:
        """A directly written document, or a change of one."""
        with self.world.lock:
            known = sorted(set(self.world.documents) - self.world.unsure)
        if not known or self.rng.random() < 0.4:
            body = {
                "collection_id": self.world.notes,
                "note": self.rng.getrandbits(40),
                "metadata": {"by": "visitor"},
            }
            made = ok(self.api.post(f"/v1/collections/{self.world.notes}/documents", json=body))
            with self.world.lock:
                self.world.documents[made["document_id"]] = {"note": body["note"]}
            return
        chosen = self.rng.choice(known)
        changes = {
            f"field_{self.rng.randint(0, 5)}": self.rng.getrandbits(40),
            "note": self.rng.getrandbits(40),
        }
        with self.world.lock:
            if chosen in self.world.unsure:
                return
            self.world.unsure.add(chosen)
        ok(self.api.patch(f"/v1/documents/{chosen}", json=changes))
        with self.world.lock:
            self.world.unsure.discard(chosen)
            self.world.documents[chosen].update(changes)

    def retriever(self) -> None:
        """A new retriever."""
        uri = vector_index(self.api, self.world.tree.sentences)
        made = create_retriever(self.api, self.world.tree.sentences, search_stage(uri))
        with self.world.lock:
            self.world.retrievers[made["retriever_id"]] = made


DEEDS = (
    *("objects",) * 4, *("batch",) * 4, "object_at_once", "object_at_once", "trigger", "deletion", "deletion",
    "doomed_bucket", "upload", "document", "document", "document", "retriever",
)  # fmt: skip


def as_object(text: str) -> dict[str, Any]:
    """The request that puts a text into a bucket."""
    return {"blobs": [{"property": "text", "type": "text", "data": text}], "title": text[:20]}


def vector_index(api: httpx.Client, collection_id: str) -> str:
    """The URI of a collection's vectors."""
    uri: str = ok(api.get(f"/v1/collections/{collection_id}"))["vector_indexes"][0]["feature_uri"]
    return uri


def pages(fetch: Callable[[int], list[dict[str, Any]]], size: int) -> list[dict[str, Any]]:
    """All of a list, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = fetch(len(found))
        found += page
        if len(page) < size:
            return found
