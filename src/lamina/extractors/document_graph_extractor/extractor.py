"""`document_graph_extractor`: pages in, one document for each block of them, with place and vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np

from lamina.core.errors import ExtractionError, ValidationError
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import (
    Extractor,
    ExtractorParameters,
    Part,
    PartBlob,
    PartialExtractionError,
    Source,
    VectorOutput,
)
from lamina.extractors.document_graph_extractor.blocks import Block
from lamina.extractors.document_graph_extractor.confidence import confidence, tag
from lamina.extractors.document_graph_extractor.correction import check_correction, corrected, corrector
from lamina.extractors.document_graph_extractor.fields import fields_of
from lamina.extractors.document_graph_extractor.layout import lay_out, mark_running, within
from lamina.extractors.document_graph_extractor.pages import Method, PageOf, file_of, pages_of
from lamina.extractors.document_graph_extractor.parameters import DocumentGraphExtractorParameters
from lamina.extractors.document_graph_extractor.thumbnails import cut, thumbnails
from lamina.inference.base import Chat
from lamina.inference.registry import Models
from lamina.media.pdf_words import Box

INPUT: Final = "pdf"

CORRECTED: Final = 0.9
"""Confidence in what a language model read again."""

_NAMED_ERRORS: Final = 5
"""Reasons that the message of a partial failure gives in full."""


@dataclass(slots=True)
class PageBlocks:
    """What was kept of a page: its blocks, with their text as it was corrected, and their pictures."""

    number: int
    size: tuple[float, float]
    method: Method
    blocks: list[Block]
    boxes: list[Box]
    height: float
    pictures: list[list[PartBlob]] = field(default_factory=list)
    corrected: dict[int, str] = field(default_factory=dict)


class DocumentGraphExtractor(Extractor):
    """Takes PDFs and pictures of pages apart into blocks: text, tables, lists, forms, figures."""

    name: ClassVar[str] = "document_graph_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Takes the pages of PDFs and scans apart into blocks with their places, in the order of reading, "
        "with a vector and a confidence for each."
    )
    category: ClassVar[str] = "document"
    icon: ClassVar[str] = "file-scan"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {INPUT: ["pdf", "image"]}
    Parameters: ClassVar[type[ExtractorParameters]] = DocumentGraphExtractorParameters

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse another layout detector, and keys for providers that are not known here."""
        given = _own(parameters)
        if given.layout_detector != "pymupdf":
            raise ValidationError(
                "layout_detector 'docling' is not enabled: no layout model is served, use 'pymupdf'.",
                field="feature_extractor.parameters.layout_detector",
                code="not_enabled",
            )
        check_correction(given, models)
        cls.vectors(parameters, models)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """One dense vector for each block that has text, named after its model."""
        if not _own(parameters).run_text_embedding:
            return []
        card = models.card(models.default_text_model)
        return [
            VectorOutput(
                output=card.name,
                dimension=card.dimension,
                distance=card.distance,
                kind="dense",
                description=f"Embedding of the block's text by {card.origin}.",
                inputs=[INPUT],
            )
        ]

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The text model, and the one that reads scans."""
        return [*super().uses(parameters, models), models.default("read_text")]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """The text, its place, its kind, and how far it can be trusted."""
        return fields_of(_own(parameters))

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The blocks of each source. The texts of all are embedded at once, so that batches fill up."""
        outcomes = [self._taken_apart(source) for source in sources]
        if self._given.run_text_embedding:
            parts = [part for outcome in outcomes for part in _parts_in(outcome) if part.lexical]
            if parts:
                model = self.models.default_text_model
                vectors = self.models.text_embedder(model).embed_documents(
                    [part.lexical or "" for part in parts]
                )
                for part, vector in zip(parts, vectors, strict=True):
                    part.vectors = {model: np.asarray(vector, np.float32)}
        return outcomes

    def _taken_apart(self, source: Source) -> list[Part] | ExtractionError:
        try:
            file = file_of(source.inputs.get(INPUT), INPUT)
            pages, bad = [], []
            for page in pages_of(file, INPUT, self._given.render_dpi, self.models.text_reader):
                if isinstance(page, ExtractionError):
                    bad.append(page)
                    continue
                try:
                    pages.append(self._blocks(page))
                except ExtractionError as error:
                    bad.append(error)
        except ExtractionError as error:
            return error
        mark_running([(page.height, page.blocks) for page in pages])
        parts = self._parts(pages)
        if bad:
            return _partial(bad, len(pages) + len(bad), parts)
        return parts or ExtractionError(
            f"Input '{INPUT}' holds no text of {self._given.min_text_length} characters, and no figure.",
            code="empty_input",
            input=INPUT,
        )

    def _blocks(self, page: PageOf) -> PageBlocks:
        kept = [block for block in lay_out(page.content, self._given) if self._is_kept(block)]
        boxes = [tuple(edge * page.to_own for edge in within(block.box, page.content.size)) for block in kept]
        made = PageBlocks(page.number, page.size, page.method, kept, boxes, page.content.size[1])  # type: ignore[arg-type]
        if self._given.generate_thumbnails and kept:
            picture = page.render(self._given.thumbnail_dpi)
            made.pictures = thumbnails(picture, made.boxes, page.size, self._given)
        self._correct(page, made)
        return made

    def _is_kept(self, block: Block) -> bool:
        return block.kind in {"figure", "table"} or len(block.text.strip()) >= self._given.min_text_length

    def _correct(self, page: PageOf, made: PageBlocks) -> None:
        """Show the doubtful blocks to the language model, if it shall be asked and there is one."""
        if self._given.fast_mode or not self._given.use_vlm_correction:
            return
        doubtful = [
            at
            for at, block in enumerate(made.blocks)
            if block.text.strip()
            and self._confidence(block, made.method) < self._given.min_confidence_for_vlm
        ]
        chat: Chat | None = corrector(self.models, self._given) if doubtful else None
        if chat is None:
            return
        picture = page.render(self._given.render_dpi)
        for at in doubtful:
            shown = cut(picture, made.boxes[at], picture.shape[1] / page.size[0])
            text = corrected(chat, made.blocks[at].text, shown)
            if text is not None:
                made.corrected[at] = text

    def _confidence(self, block: Block, method: Method) -> float:
        sure = [piece.confidence for piece in block.pieces if piece.confidence is not None]
        return confidence(
            block.text,
            self._given.base_confidence,
            layer=method == "ocr_layer",
            reader=float(np.mean(sure)) if sure else None,
        )

    def _parts(self, pages: Sequence[PageBlocks]) -> list[Part]:
        parts: list[Part] = []
        section: str | None = None
        for page in pages:
            for at, block in enumerate(page.blocks):
                if block.level is not None:
                    section = " ".join(block.text.split())
                fields = self._fields(page, at)
                fields["reading_order"] = len(parts)
                if section is not None and block.level is None:
                    fields["section"] = section
                text = str(fields["text"])
                parts.append(
                    Part(
                        position=f"page-{page.number}-block-{at}",
                        fields=fields,
                        lexical=text or None,
                        modality="pdf",
                        blobs=page.pictures[at] if page.pictures else [],
                    )
                )
        return parts

    def _fields(self, page: PageBlocks, at: int) -> JsonObject:
        block, read = page.blocks[at], page.blocks[at].text.strip()
        text = page.corrected.get(at, read)
        score = CORRECTED if at in page.corrected else self._confidence(block, page.method)
        bbox: list[Json] = [round(edge, 2) for edge in page.boxes[at]]
        fields: JsonObject = {
            "text": text,
            "text_raw": read,
            "object_type": block.kind,
            "page_number": page.number,
            "block_index": at,
            "bbox": bbox,
            "page_width": round(page.size[0], 2),
            "page_height": round(page.size[1], 2),
            "confidence_score": score,
            "confidence_tag": tag(score),
            "extraction_method": "vlm" if at in page.corrected else page.method,
        }
        if block.cells is not None and at not in page.corrected:
            fields["table_rows"] = [list(row) for row in block.cells]
        if block.level is not None:
            fields["heading_level"] = block.level
        return fields


def _partial(bad: Sequence[ExtractionError], pages: int, parts: list[Part]) -> ExtractionError:
    """What is wrong with the pages that could not be read, with the parts of those that could."""
    if pages == 1:
        return bad[0]
    named = "; ".join(
        error.message.removeprefix(f"Input '{INPUT}': ").rstrip(".") for error in bad[:_NAMED_ERRORS]
    )
    more = f"; and {len(bad) - _NAMED_ERRORS} more" if len(bad) > _NAMED_ERRORS else ""
    message = f"Input '{INPUT}': {len(bad)} of {pages} pages could not be read: {named}{more}."
    numbers: list[Json] = [error.details.get("page") for error in bad]
    if not parts:
        return ExtractionError(message, code="bad_pages", input=INPUT, pages=numbers)
    return PartialExtractionError(message, parts=parts, code="bad_pages", input=INPUT, pages=numbers)


def _parts_in(outcome: list[Part] | ExtractionError) -> Sequence[Part]:
    if isinstance(outcome, PartialExtractionError):
        return outcome.parts
    return outcome if isinstance(outcome, list) else ()


def _own(parameters: ExtractorParameters) -> DocumentGraphExtractorParameters:
    if not isinstance(parameters, DocumentGraphExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of document_graph_extractor")
    return parameters
