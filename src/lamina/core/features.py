"""Feature URIs: `mixpeek://{extractor}@{version}/{output}`.

The output is the name of the model that made the vector, so equal outputs of different
extractors lie in one space and may be searched together.
"""

import re
from dataclasses import dataclass
from typing import Final

from lamina.core.errors import ValidationError

_PATTERN: Final = re.compile(r"^mixpeek://([A-Za-z0-9_.-]+)@([A-Za-z0-9_.-]+)/(\S+)$")


@dataclass(frozen=True, slots=True)
class FeatureUri:
    """One vector index, named by the extractor that fills it and the model that makes it."""

    extractor: str
    version: str
    output: str

    def __str__(self) -> str:
        return f"mixpeek://{self.extractor}@{self.version}/{self.output}"


def parse_feature_uri(text: str, *, field: str = "feature_uri") -> FeatureUri:
    """Read a feature URI; `ValidationError` names the form that is accepted."""
    found = _PATTERN.match(text)
    if found is None:
        raise ValidationError(
            f"'{text}' is not a feature URI; the form is mixpeek://extractor@version/output.",
            field=field,
        )
    return FeatureUri(*found.groups())
