"""Which models an extractor works with here, and whether it can."""

from collections.abc import Sequence
from dataclasses import dataclass

from lamina.core.errors import LaminaError, UnavailableError, ValidationError
from lamina.extractors.base import Extractor, ExtractorParameters, VectorOutput
from lamina.inference.base import ModelCard
from lamina.inference.registry import Models


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model of an extractor as it stands here. `words` say where it is, or what it lacks."""

    card: ModelCard
    usable: bool
    words: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """An extractor as it stands here under some parameters. `lacks` says in words why it cannot be used."""

    vectors: Sequence[VectorOutput]
    models: Sequence[ModelUse]
    lacks: str | None

    @property
    def usable(self) -> bool:
        """Whether collections with it can be created."""
        return self.lacks is None


def readiness(kind: type[Extractor], parameters: ExtractorParameters, models: Models) -> Readiness:
    """How an extractor stands. Never raises for what is missing here; may ask endpoints of models."""
    try:
        vectors = list(kind.vectors(parameters, models))
        names = list(kind.uses(parameters, models))
    except LaminaError as error:
        return Readiness((), (), error.message)
    uses = [
        ModelUse(models.entry(name).card, *models.available(name)) for name in names if models.knows(name)
    ]
    lacking = [f"{one.card.name}: {one.words}" for one in uses if not one.usable]
    return Readiness(vectors, uses, "; ".join(lacking) or None)


def require_models(kind: type[Extractor], parameters: ExtractorParameters, models: Models) -> None:
    """Refuse an extractor whose models cannot be used, as `require_model` does."""
    for name in kind.uses(parameters, models):
        if models.knows(name):  # an extractor of the installation's own may bring its model along
            require_model(models, name, kind.name)


def require_model(models: Models, name: str, purpose: str, field: str = "feature_extractor") -> None:
    """Refuse a model that cannot be used, with what to do about it.

    Raises `ValidationError` for weights that are missing, and for a model behind an endpoint or of an
    extra what its check raises.
    """
    try:
        models.entry(name).check(models)
    except UnavailableError as error:
        if models.entry(name).card.source == "remote":
            raise
        fetched = f"`lamina models pull {name}`" if models.files(name) else "`lamina models list`"
        raise ValidationError(
            f"{purpose} needs the model '{name}', which cannot be used here: {error.message} "
            f"On the server's machine, {fetched} helps.",
            field=field,
            code="model_missing",
            model=name,
        ) from error
