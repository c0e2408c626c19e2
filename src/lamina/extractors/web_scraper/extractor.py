"""`web_scraper`: URLs or pages in, documents of their text, code and pictures out."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np

from lamina.core.errors import ExtractionError, LaminaError, MissingExtraError, ValidationError
from lamina.core.types import JsonObject
from lamina.extractors.base import (
    BlobValue,
    Extractor,
    ExtractorParameters,
    InputValue,
    Part,
    PartBlob,
    Source,
    VectorOutput,
)
from lamina.extractors.shaping import check_shape, shape_fields, shape_models, shape_parts
from lamina.extractors.text_extractor.chunks import split
from lamina.extractors.text_extractor.parameters import TextExtractorParameters
from lamina.extractors.text_extractor.reading import read_text
from lamina.extractors.web_scraper.parameters import WebScraperParameters
from lamina.inference.base import Capability, Image, ModelCard, Vectors
from lamina.inference.registry import Models

if TYPE_CHECKING:  # what reads pages is loaded when there is one to read
    from lamina.extractors.web_scraper.crawl import Crawl, Crawled, Relevance

log = logging.getLogger(__name__)

INPUT: Final = "url"

_URL: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://\S+\s*|\s*[\w-]+(?:\.[\w-]+)+(?::\d+)?(?:/\S*)?\s*")
_SHARE_OF_A_CALL: Final = 0.9
_SHARE_BEFORE_SHAPING: Final = 0.5
"""Of a call's time that a crawl may take: nearly all, or half where a language model then reads its pages."""

_LISTED_FAILURES: Final = 20
_NOT_SERVED: Final = {
    "proxies": "through a proxy no address could be checked",
    "captcha_service_provider": "captchas are not solved; pages that ask for one are left out",
    "captcha_service_api_key": "captchas are not solved; pages that ask for one are left out",
    "youtube_cookies_path": "no file of the server is read for a client",
}


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}


_FIELDS: Final[Mapping[str, JsonObject]] = {
    "doc_type": _field("string", "`page`, `code` or `image`."),
    "url": _field("string", "The page; absent for one that was given inline."),
    "title": _field("string", "The page's title."),
    "text": _field(
        "string", "The page's main text or a chunk of it; the code; or what is said of a picture."
    ),
    "depth": _field("integer", "Links that the page is away from the URL given."),
    "link_count": _field("integer", "How many places the page links to."),
    "description": _field("string", "The page's own description."),
    "author": _field("string", "Who wrote the page."),
    "published_date": _field("string", "When it was published, as YYYY-MM-DD."),
    "chunk_index": _field("integer", "Place of the chunk in its page, from 0."),
    "chunk_count": _field("integer", "How many chunks the page has."),
    "code_language": _field("string", "The language that the page names for the code."),
    "image_url": _field("string", "Where the picture lies."),
    "crawl": _field("object", "On the first document: pages read, failures, and what limit ended the crawl."),
}
"""What documents hold besides the fields of a `response_shape`."""

DocType = Literal["page", "code", "image"]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A document before its vectors. `pixels` is the picture of one that shows a picture."""

    position: str
    doc_type: DocType
    fields: JsonObject
    text: str
    lexical: str
    pixels: Image | None = None


class WebScraper(Extractor):
    """Crawls sites, or reads pages that are given, into documents of text, code and pictures."""

    name: ClassVar[str] = "web_scraper"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Crawls a site from a URL, politely and within limits, or reads HTML or Markdown given inline; makes "
        "documents of pages, code blocks and pictures."
    )
    category: ClassVar[str] = "document"
    icon: ClassVar[str] = "globe"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {INPUT: ["text", "string"]}
    Parameters: ClassVar[type[ExtractorParameters]] = WebScraperParameters
    most_at_once: ClassVar[int] = 1

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse what there is nothing for here: browsers, proxies, solvers of captchas, YouTube."""
        given = _own(parameters)
        if given.render_strategy == "javascript":
            raise _refusal("render_strategy", "'javascript' is not enabled: there is no browser here")
        if given.youtube_mode == "force":
            raise _refusal("youtube_mode", "'force' is not enabled: channels are read as any other page")
        for name, reason in _NOT_SERVED.items():
            if getattr(given, name):
                raise _refusal(name, f"is not enabled: {reason}")
        check_shape(given, models, list(_FIELDS))
        cls.vectors(parameters, models)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """The text model's vector, and those of pictures where models for them are known."""
        given = _own(parameters)
        outputs = []
        if given.generate_text_embeddings or given.generate_code_embeddings:
            card = models.card(models.default_text_model)
            outputs.append(_output(card, f"Embedding of text or code by {card.origin}.", "text"))
        outputs += [
            _output(card, f"Embedding of the picture by {card.origin}.", "image")
            for card in _picture_cards(given, models).values()
        ]
        return outputs

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The text model, and the language model of a shape: a crawl goes on without those of pictures.

        Raises `MissingExtraError` where what reads pages is not installed.
        """
        if find_spec("trafilatura") is None or find_spec("protego") is None:
            raise MissingExtraError("Reading web pages", "web")
        given = _own(parameters)
        wanted = given.generate_text_embeddings or given.generate_code_embeddings
        return [*([models.default_text_model] if wanted else []), *shape_models(given, models)]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """What documents of pages, code and pictures hold, and the fields of a `response_shape`."""
        return {**shape_fields(_own(parameters)), **_FIELDS}

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The documents of each source; a source has the time of the whole call, so it comes alone.

        With a `response_shape`, a language model reads its fields out of each page, or each chunk of one.
        """
        outcomes: list[list[Part] | ExtractionError] = []
        for source in sources:
            try:
                crawl = self._read(source)
                outcomes.append(self._parts(crawl))
            except ExtractionError as error:
                outcomes.append(error)
        return shape_parts(self.models, self._given, outcomes, _read_for_shapes)

    # From a source to pages

    def _read(self, source: Source) -> "Crawl":
        given = source.inputs.get(INPUT)
        values = list(given) if isinstance(given, list | tuple) else [given]
        values = [one for one in values if one is not None and one != ""]
        seeds = [one.strip() for one in values if isinstance(one, str) and _URL.fullmatch(one)]
        inline = [one for one in values if not (isinstance(one, str) and _URL.fullmatch(one))]
        if seeds and inline:
            raise ExtractionError(
                f"Input '{INPUT}' holds URLs and pages; give either.", code="wrong_form", input=INPUT
            )
        return self._crawled(seeds) if seeds else self._inline(inline or [given])

    def _crawled(self, seeds: Sequence[str]) -> "Crawl":
        from lamina.extractors.web_scraper.crawl import Crawler
        from lamina.ingest.fetch import Fetcher

        crawler = Crawler(
            Fetcher(self.fetching),
            self._given,
            max_redirects=self.fetching.max_redirects,
            relevance=self._relevance() if self._given.crawl_mode == "semantic" else None,
        )
        share = _SHARE_OF_A_CALL if self._given.response_shape is None else _SHARE_BEFORE_SHAPING
        seconds = min(self._given.crawl_timeout, self.fetching.call_timeout * share)
        pictures = bool(_picture_cards(self._given, self.models))
        try:
            return asyncio.run(crawler.run(seeds, seconds, pictures=pictures))
        except ValidationError as error:
            raise ExtractionError(
                f"Input '{INPUT}': {error.message}", code=error.code, input=INPUT
            ) from error

    def _relevance(self) -> "Relevance":
        """Nearness of links' words to the goal, by the text model."""
        embedder = self.models.text_embedder()
        goal = embedder.embed_queries([self._given.crawl_goal or ""])[0]
        return lambda words: [float(score) for score in embedder.embed_documents(words) @ goal]

    def _inline(self, values: Sequence[InputValue | Sequence[InputValue]]) -> "Crawl":
        from lamina.extractors.web_scraper.crawl import Crawl, Crawled
        from lamina.extractors.web_scraper.pages import decode, is_html, read_html, read_markdown

        crawl = Crawl()
        for value in values:
            text = read_text(value, INPUT)
            marked = isinstance(value, BlobValue) and value.mime_type in {
                "text/html",
                "application/xhtml+xml",
            }
            if marked and isinstance(value, BlobValue):
                text = decode(value.data, None)
            page = read_html(text, "") if marked or is_html(text) else read_markdown(text, "")
            crawl.pages.append(Crawled(page, 0))
        return crawl

    # From pages to documents

    def _parts(self, crawl: "Crawl") -> list[Part]:
        drafts = list(self._drafts(crawl))
        if not drafts:
            raise ExtractionError(f"Input '{INPUT}' holds no text.", code="empty_input", input=INPUT)
        parts = [
            Part(
                position=draft.position,
                fields=draft.fields,
                lexical=draft.lexical or None,
                modality="image" if draft.doc_type == "image" else "text",
            )
            for draft in drafts
        ]
        self._embed_texts(drafts, parts)
        self._embed_pictures(drafts, parts)
        if crawl.pages[0].page.url:
            parts[0].fields["crawl"] = _summary(crawl)
        return parts

    def _drafts(self, crawl: "Crawl") -> Iterator[_Draft]:
        """The documents of all pages, in order, each under a position of its own."""
        shown: set[str] = set()
        taken: set[str] = set()
        for number, crawled in enumerate(crawl.pages):
            for draft in self._of_page(crawled, number, crawl, shown):
                if draft.position not in taken:
                    taken.add(draft.position)
                    yield draft

    def _of_page(self, crawled: "Crawled", number: int, crawl: "Crawl", shown: set[str]) -> Iterator[_Draft]:
        page = crawled.page
        if not page.indexed:
            return
        about: JsonObject = {"url": page.url or None, "title": page.title, "depth": crawled.depth}
        chunks = self._chunks(page.text)
        for index, text in enumerate(chunks):
            fields: JsonObject = {
                **about,
                "text": text,
                "link_count": len(page.links),
                "description": page.description,
                "author": page.author,
                "published_date": page.published,
            }
            if self._given.chunk_strategy != "none":
                fields |= {"chunk_index": index, "chunk_count": len(chunks)}
            lexical = text if page.title is None or page.title in text else f"{page.title}\n{text}"
            yield self._draft("page", fields, lexical, page.url, number, index)
        for index, code in enumerate(page.codes):
            fields = {**about, "text": code.text, "code_language": code.language}
            yield self._draft("code", fields, code.text, page.url, number, index)
        for index, image in enumerate(page.images):
            pixels = crawl.pictures.get(image.url)
            if image.url in shown or not (image.text or pixels is not None):
                continue
            shown.add(image.url)
            fields = {**about, "text": image.text or None, "image_url": image.url}
            draft = self._draft("image", fields, image.text, page.url, number, index)
            yield replace(draft, pixels=pixels)

    def _draft(
        self, doc_type: DocType, fields: JsonObject, lexical: str, url: str, number: int, index: int
    ) -> _Draft:
        text = str(fields.get("text") or "")
        strategy = self._given.document_id_strategy
        position = f"{(strategy == 'url' and url) or number} {doc_type} {index}"
        if strategy == "content":
            content = f"{doc_type}\0{text}\0{fields.get('image_url') or ''}"
            position = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()
        kept = {name: value for name, value in fields.items() if value is not None}
        return _Draft(position, doc_type, {"doc_type": doc_type, **kept}, text, lexical)

    def _chunks(self, text: str) -> Sequence[str]:
        given = self._given
        if not text.strip():
            return []
        how = TextExtractorParameters(
            split_by=given.chunk_strategy, chunk_size=given.chunk_size, chunk_overlap=given.overlap
        )
        return [chunk.text for chunk in split(text, how)]

    def _embed_texts(self, drafts: Sequence[_Draft], parts: Sequence[Part]) -> None:
        wanted = {
            "code": self._given.generate_code_embeddings,
            "page": self._given.generate_text_embeddings,
            "image": self._given.generate_text_embeddings,
        }
        rows = [row for row, draft in enumerate(drafts) if wanted[draft.doc_type] and draft.text.strip()]
        if rows:
            model = self.models.default_text_model
            made = self.models.text_embedder(model).embed_documents([drafts[row].text for row in rows])
            for row, vector in zip(rows, made, strict=True):
                parts[row].vectors[model] = vector

    def _embed_pictures(self, drafts: Sequence[_Draft], parts: Sequence[Part]) -> None:
        rows = [row for row, draft in enumerate(drafts) if draft.pixels is not None]
        if not rows:
            return
        from lamina.media.images import thumbnail

        pictures = [pixels for row in rows if (pixels := drafts[row].pixels) is not None]
        for row, pixels in zip(rows, pictures, strict=True):
            parts[row].blobs.append(
                PartBlob("thumbnail", thumbnail(pixels), "image/jpeg", "thumbnail.jpg", role="thumbnail")
            )
        for capability, card in _picture_cards(self._given, self.models).items():
            try:
                made = self._vectors_of(capability, card.name, pictures)
            except LaminaError as error:  # pages must not wait for a model that only their pictures need
                log.warning("pictures of pages are not embedded by %s: %s", card.name, error.message)
                continue
            for row, vector in zip(rows, made, strict=True):
                parts[row].vectors[card.name] = np.asarray(vector)

    def _vectors_of(self, capability: Capability, model: str, pictures: Sequence[Image]) -> Vectors:
        if capability == "embed_image":
            return self.models.image_embedder(model).embed_images(pictures)
        return self.models.text_image_embedder(model).embed_images(pictures)


def _read_for_shapes(part: Part) -> str | None:
    """What a language model is shown of a document: a page's title and text; nothing of code and pictures."""
    return part.lexical if part.fields["doc_type"] == "page" else None


def _picture_cards(given: WebScraperParameters, models: Models) -> dict[Capability, ModelCard]:
    """The models that pictures are embedded with, as far as they are wanted and known here."""
    wanted: list[Capability] = []
    if given.generate_image_embeddings:
        wanted.append("embed_text_for_image")
    if given.generate_structure_embeddings:
        wanted.append("embed_image")
    cards: dict[Capability, ModelCard] = {}
    for capability in wanted:
        try:
            cards[capability] = models.card(models.default(capability))
        except ValidationError:  # none is chosen, and none serves by default
            continue
    return cards


def _summary(crawl: "Crawl") -> JsonObject:
    """What became of a crawl as a whole."""
    return {
        "pages": len(crawl.pages),
        "pictures": len(crawl.pictures),
        "failed": len(crawl.failures),
        "failures": [{"url": one.url, "reason": one.reason} for one in crawl.failures[:_LISTED_FAILURES]],
        "disallowed_by_robots": crawl.disallowed,
        "stopped_by": crawl.stopped_by,
    }


def _output(card: ModelCard, description: str, made_of: str) -> VectorOutput:
    return VectorOutput(
        output=card.name,
        dimension=card.dimension,
        distance=card.distance,
        kind="dense",
        description=description,
        inputs=[made_of],
    )


def _refusal(parameter: str, reason: str) -> ValidationError:
    return ValidationError(
        f"{parameter} {reason}.", field=f"feature_extractor.parameters.{parameter}", code="not_enabled"
    )


def _own(parameters: ExtractorParameters) -> WebScraperParameters:
    if not isinstance(parameters, WebScraperParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of web_scraper")
    return parameters
