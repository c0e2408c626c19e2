"""The parameters of `passthrough_extractor`, as the contract has them."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lamina.extractors.base import ExtractorParameters


class VectorField(BaseModel):
    """One precomputed vector that every row carries (`VectorFieldSpec` of the contract)."""

    model_config = ConfigDict(extra="forbid")

    field: str = Field(min_length=1, description="Key of the row that holds the vector, a list of numbers.")
    name: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$",
        description="Name of the vector index that it is stored under; unique within vector_fields.",
    )
    dimensions: int = Field(ge=1, le=65_536, description="Length of every vector in this field.")
    distance: Literal["cosine", "dot", "euclidean"] = Field(
        default="cosine", description="Distance that the vectors were trained for."
    )


class PassthroughExtractorParameters(ExtractorParameters):
    """Whether objects become one document each, or one for each row."""

    extractor_type: Literal["passthrough_extractor"] = Field(
        default="passthrough_extractor", description="Names the extractor that these parameters are for."
    )
    preserve_metadata: bool = Field(
        default=True, description="Keep the source object's metadata on its documents."
    )
    vector_fields: list[VectorField] | None = Field(
        default=None,
        description="Vectors that the rows of a JSONL or Parquet file bring. When set, every row becomes a "
        "document with the row's other fields and these vectors.",
    )
    row_format: Literal["jsonl", "parquet"] | None = Field(
        default=None,
        description="Format of the rows. Left out, the file's name tells: .jsonl or .ndjson, .parquet.",
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [spec.name for spec in self.vector_fields or ()]
        if len(names) != len(set(names)):
            raise ValueError("the names in vector_fields must be unique")
        return self
