"""What the demo does with media: load them, find them by words and by likeness, show what was found."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lamina.cli.answers import Collection, Document, Found, Submitted, Task
from lamina.cli.connection import Answer, Api
from lamina.cli.contact_sheet import Card, Section, write_contact_sheet
from lamina.cli.demo_media import FILES
from lamina.cli.failures import ApiFailure, Failure
from lamina.cli.loading import Loaded, Names, load
from lamina.cli.output import put, say
from lamina.cli.progress import watch
from lamina.cli.search import Mode, find_documents, score, searchable
from lamina.cli.sources import survey
from lamina.core.statuses import TERMINAL, Status
from lamina.core.types import Json

NAME: Final = "demo-media"
_FACES: Final = f"{NAME}-faces"
_PORTRAIT: Final = "obama.jpg"


@dataclass(frozen=True, slots=True)
class Question:
    """A search that the demo asks of one collection; `seen` by the vectors of pictures alone."""

    title: str
    collection: str
    text: str
    mode: Mode = Mode.DENSE
    seen: bool = False


QUESTIONS: Final = (
    Question("Words to a photo", f"{NAME}-images", "a cat looking at you"),
    Question("Words to a photo", f"{NAME}-images", "a hot drink in a cup"),
    Question("Words to a moment of a video", f"{NAME}-media", "people riding bicycles", seen=True),
    Question("Spoken words", f"{NAME}-media", "how much he could do for his family", Mode.HYBRID),
    Question("Words on a page", f"{NAME}-pages", "the ones who see things differently", Mode.HYBRID),
)


@dataclass(frozen=True, slots=True)
class Answered:
    """A search of the story with what it found."""

    title: str
    query: str
    documents: Sequence[Document]
    milliseconds: float

    def as_json(self) -> dict[str, object]:
        """For one JSON document."""
        return {
            "title": self.title,
            "query": self.query,
            "milliseconds": self.milliseconds,
            "documents": list(self.documents),
        }


def load_media(api: Api, models_dir: Path) -> Loaded:
    """Load the demo's files, each through the extractor of its kind, and the faces in the photos."""
    say(f"The media: {len(FILES)} photos, videos, recordings and pages that packages carry.")
    corpus = survey([file.locate(models_dir) for file in FILES])
    with watch() as shown:
        loaded = load(api, corpus, Names(NAME, NAME), shown)
    _find_faces(api, loaded.bucket_id)
    return loaded


def ask(api: Api, limit: int) -> list[Answered]:
    """The story's searches: by words, and by a face."""
    made = []
    for question in QUESTIONS:
        began = time.perf_counter()
        collections = searchable(api, [question.collection])
        if question.seen:
            collections = [_of_pictures(one) for one in collections]
        found = find_documents(api, question.text, collections, question.mode, limit)
        spent = (time.perf_counter() - began) * 1000
        made.append(Answered(question.title, f"«{question.text}»", found, spent))
    began = time.perf_counter()
    alike = _alike(api, limit)
    spent = (time.perf_counter() - began) * 1000
    return [*made, Answered("A face to other photos of it", f"the face in {_PORTRAIT}", alike, spent)]


def _of_pictures(collection: Collection) -> Collection:
    """A collection with those of its vectors that pictures have too, and so without those of what is said."""
    seen = [index for index in collection.vector_indexes if "image" in index.index.supported_inputs]
    return collection.model_copy(update={"vector_indexes": seen})


def show(api: Api, answered: Sequence[Answered], sheet: Path) -> None:
    """Print the answers, and write them as a contact sheet."""
    sections = []
    for one in answered:
        cards = [_card(api, document) for document in one.documents]
        sections.append(Section(one.title, f"{one.query} · {one.milliseconds:.0f} ms", cards))
        put()
        put(f"{one.title}: {one.query} ({one.milliseconds:.0f} ms)")
        for rank, card in enumerate(cards, 1):
            put(f"{rank:>3}. {card.score or 0:.4f}  {card.title}  {card.place}  {card.text}".rstrip())
    write_contact_sheet(sheet, sections)
    put()
    put(f"The same with pictures: {sheet}")


def _find_faces(api: Api, bucket_id: str) -> None:
    body: Json = {
        "collection_name": _FACES,
        "source": {"type": "bucket", "bucket_ids": [bucket_id]},
        "feature_extractor": {
            "feature_extractor_name": "face_identity_extractor",
            "version": "v1",
            "input_mappings": {"image": "image"},
            "field_passthrough": [{"source_path": "path"}],
        },
    }
    if api.find(f"/collections/{_FACES}", Collection) is not None:
        return
    made = api.post("/collections", body, Collection)
    photos: Json = {"field": "path", "operator": "regex", "value": r"\.(png|jpg)$"}
    path = f"/collections/{made.collection_id}/trigger"
    begun = api.post(path, {"source_filters": photos}, Submitted)
    while (task := api.get(f"/tasks/{begun.task_id}", Task)).status not in TERMINAL:
        time.sleep(0.2)
    if task.status != Status.COMPLETED:
        raise Failure(f"the faces could not be found: the task is {task.status}")


def _alike(api: Api, limit: int) -> list[Document]:
    """Photos with the face of the portrait, by the vector of that face."""
    collection = api.get(f"/collections/{_FACES}", Collection)
    same: Json = {"filters": {"field": "path", "operator": "eq", "value": _PORTRAIT}, "limit": 1}
    listed = api.post(f"/collections/{_FACES}/documents/list", same, _Listed)
    if not listed.results:
        raise Failure(f"no face was found in {_PORTRAIT}")
    query: Json = {"input_mode": "document", "document_id": str(listed.results[0]["document_id"])}
    search: Json = {
        "feature_uri": collection.vector_indexes[0].feature_uri,
        "query": query,
        "top_k": limit,
    }
    stage: Json = {
        "stage_name": "faces",
        "stage_type": "filter",
        "config": {"stage_id": "feature_search", "parameters": {"searches": [search], "final_top_k": limit}},
    }
    body: Json = {"collection_identifiers": [_FACES], "inputs": {}, "stages": [stage], "limit": limit}
    return api.post("/retrievers/execute", body, Found).documents


class _Listed(Answer):
    results: list[Document] = []


class _File(Answer):
    role: str = ""
    presigned_url: str | None = None


class _WithFiles(Answer):
    document_blobs: list[_File] = []


def _card(api: Api, document: Document) -> Card:
    return Card(
        title=str(document.get("path") or document["document_id"]),
        score=score(document),
        place=_place(document),
        text=_text(document),
        picture=_thumbnail(api, str(document["document_id"])),
    )


def _thumbnail(api: Api, document_id: str) -> bytes | None:
    found = api.get(f"/documents/{document_id}", _WithFiles, return_presigned_urls=True)
    for file in found.document_blobs:
        if file.role == "thumbnail" and file.presigned_url:
            try:
                return api.fetch(file.presigned_url)
            except ApiFailure:
                return None
    return None


def _place(document: Document) -> str:
    """Where in its source a document lies, in words."""
    start, end, page = (document.get(name) for name in ("start_time", "end_time", "page_number"))
    if isinstance(start, int | float) and isinstance(end, int | float):
        return f"{start:.1f}–{end:.1f} s"
    return f"page {page}" if page is not None else ""


def _text(document: Document) -> str:
    for name in ("transcription", "text"):
        if isinstance(text := document.get(name), str) and text:
            return " ".join(text.split())[:200]
    labels = document.get("labels")
    names = [one.get("name") for one in labels if isinstance(one, dict)] if isinstance(labels, list) else []
    return ", ".join(str(name) for name in names)
