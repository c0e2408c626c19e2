"""Which extractor takes which kind of file, by what the server's catalogue says that each accepts."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from lamina.cli.answers import Bucket, Catalogue, Extractor
from lamina.cli.connection import Api
from lamina.cli.failures import UsageFailure
from lamina.cli.sources import Corpus
from lamina.core.fields import FieldType
from lamina.core.types import Json, JsonObject

MEDIA: Final = frozenset({FieldType.IMAGE, FieldType.PDF, FieldType.VIDEO, FieldType.AUDIO})
"""Kinds of files that have an extractor of their own, where the server has it."""

_UNSPLIT_CHARACTERS: Final = 1500
_TEXT_PROPERTY: Final = "content"


@dataclass(frozen=True, slots=True)
class Split:
    """How texts become documents. With no mode, long texts are cut and short ones are not."""

    by: str | None = None
    size: int | None = None
    overlap: int | None = None

    def parameters(self, longest_text: int) -> JsonObject:
        """The parameters of the text extractor.

        Unless told otherwise: 180 words with 30 shared, which fit the 256 tokens that the packaged
        model reads.
        """
        by = self.by or ("none" if longest_text <= _UNSPLIT_CHARACTERS else "words")
        sizes: JsonObject = {"chunk_size": 180, "chunk_overlap": 30} if by == "words" else {}
        if self.size is not None:
            sizes = {"chunk_size": self.size}
        if self.overlap is not None:
            sizes["chunk_overlap"] = self.overlap
        return {"split_by": by, **sizes}


@dataclass(frozen=True, slots=True)
class Destination:
    """A collection to be: its name, the kinds of objects that go there, and its extractor's settings."""

    name: str
    kinds: Set[FieldType]
    feature_extractor: JsonObject


@dataclass(frozen=True, slots=True)
class _Medium:
    extractor: str
    suffix: str
    kinds: Sequence[FieldType]
    parameters: JsonObject = field(default_factory=dict)


_MEDIA: Final = (
    _Medium("image_extractor", "-images", [FieldType.IMAGE]),
    _Medium("document_graph_extractor", "-pages", [FieldType.PDF]),
    _Medium(
        "multimodal_extractor",
        "-media",
        [FieldType.VIDEO, FieldType.AUDIO],
        {"run_transcription": True, "run_transcription_embedding": True},  # so that spoken words are found
    ),
)


def destinations(
    api: Api, corpus: Corpus, bucket: Bucket, name: str, split: Split
) -> tuple[list[Destination], dict[FieldType, str]]:
    """One destination for each kind that an extractor takes; of the other media, why none does.

    They are several, so that no extractor need fail on what is not for it.
    """
    found: list[Destination] = []
    refused: dict[FieldType, str] = {}
    if FieldType.TEXT in corpus.kinds:
        mappings = {"text": corpus.text_field or property_for(bucket, FieldType.TEXT)}
        parameters = split.parameters(corpus.longest_text)
        settings = _settings("text_extractor", bucket, mappings, parameters)
        found.append(Destination(name, {FieldType.TEXT}, settings))
    known = catalogue(api) if corpus.kinds & MEDIA else {}
    for medium in _MEDIA:
        wanted = corpus.kinds.intersection(medium.kinds)
        extractor = known.get(medium.extractor)
        if extractor is None or not extractor.available:
            reason = extractor.unavailable_reason if extractor else None
            lacks = f"{medium.extractor}{f' cannot work here ({reason})' if reason else ' is not there'}"
            refused |= dict.fromkeys(wanted, lacks)
            continue
        inputs = {kind: key for kind in medium.kinds if (key := extractor.input_for(kind))}
        refused |= dict.fromkeys(wanted - inputs.keys(), f"{medium.extractor} does not take them")
        if taken := wanted & inputs.keys():
            # A collection's inputs are fixed: those of kinds that come with a later load are named as well.
            mappings = {
                key: property_for(bucket, kind)
                for kind, key in inputs.items()
                if kind in taken or _properties(bucket, kind)
            }
            settings = _settings(medium.extractor, bucket, mappings, medium.parameters, extractor.version)
            found.append(Destination(f"{name}{medium.suffix}", taken, settings))
    return found, refused


def remainder(corpus: Corpus, name: str, found: Sequence[Destination]) -> Destination | None:
    """Where the kinds go that nothing takes apart, and stay what they are."""
    rest = corpus.kinds.difference(*(one.kinds for one in found))
    if not rest:
        return None
    # Rows without text are what the load is about; files that nothing takes apart are beside it.
    own = name if rest == {FieldType.OBJECT} and not found else f"{name}-files"
    passthrough: JsonObject = {
        "feature_extractor_name": "passthrough_extractor",
        "version": "v1",
        "include_all_source_fields": True,
    }
    return Destination(own, rest, passthrough)


def catalogue(api: Api) -> dict[str, Extractor]:
    """The extractors that the server has, by name; of each the version that is listed first."""
    found: dict[str, Extractor] = {}
    for one in api.get("/collections/features/extractors", Catalogue).root:
        found.setdefault(one.feature_extractor_name, one)
    return found


def _settings(
    extractor: str,
    bucket: Bucket,
    mappings: Mapping[str, str],
    parameters: JsonObject,
    version: str = "v1",
) -> JsonObject:
    files = {kind.value for kind in MEDIA} | {FieldType.EXCEL.value}
    passed: list[Json] = [
        {"source_path": name}
        for name, one in bucket.properties.items()
        if name not in mappings.values() and one.type not in files
    ]
    return {
        "feature_extractor_name": extractor,
        "version": version,
        "input_mappings": dict(mappings),
        "parameters": parameters,
        "field_passthrough": passed,
    }


def schema(corpus: Corpus) -> JsonObject:
    """The properties that a bucket for a corpus has.

    One for files has a property for each kind of file, also for those that only a later load brings.
    """
    properties: JsonObject = {**corpus.columns.schema(corpus.text_field)}
    if corpus.blob_kinds:
        if corpus.text_field is None:
            properties[_free(_TEXT_PROPERTY, properties)] = {"type": FieldType.TEXT.value}
        for kind in (*sorted(MEDIA), FieldType.EXCEL):
            properties[_free(kind.value, properties)] = {"type": kind.value}
        properties.setdefault("path", {"type": FieldType.STRING.value})
    return properties


def _free(name: str, properties: JsonObject) -> str:
    return f"{name}_file" if name in properties else name


def property_for(bucket: Bucket, kind: FieldType) -> str:
    """The property of the bucket's schema that takes blobs of this kind."""
    fitting = _properties(bucket, kind)
    if not fitting:
        raise UsageFailure(f"bucket '{bucket.bucket_name}' has no property of type {kind.value}")
    return next((name for name in (_TEXT_PROPERTY, kind.value) if name in fitting), fitting[0])


def _properties(bucket: Bucket, kind: FieldType) -> list[str]:
    return [name for name, one in bucket.properties.items() if one.type == kind.value]
