"""What holds for every extractor, built-in or not, as functions that a test or a command calls.

    trial = Trial(EXTRACTOR, models)
    for check in CHECKS:
        check(trial)        # raises CheckFailed, which says what does not hold

With pytest: `@pytest.mark.parametrize("check", CHECKS, ids=check_name)`.
"""

import io
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Final, get_args

import numpy as np

from lamina.core.errors import ExtractionError, ValidationError
from lamina.core.fields import FieldType
from lamina.extractors.base import BlobValue, Extractor, InputValue, Modality, Part, Source
from lamina.extractors.own import folder_of, wrong
from lamina.inference.registry import Models

Samples = Mapping[str, Sequence[BlobValue]]
"""Files to try extractors with, by schema type."""


@cache
def made_up() -> Samples:
    """A picture, a sound and a page: enough to see whether an extractor takes files of these types."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", (480, 320), "white")
    ImageDraw.Draw(page).text((40, 120), "LAMINA 2026", "black", ImageFont.load_default(56))
    picture, document, sound = io.BytesIO(), io.BytesIO(), io.BytesIO()
    page.save(picture, "PNG")
    page.save(document, "PDF")
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        tone = 9000 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
        file.writeframes(tone.astype("<i2").tobytes())
    return {
        "image": [BlobValue(picture.getvalue(), "image/png", "words.png")],
        "pdf": [BlobValue(document.getvalue(), "application/pdf", "words.pdf")],
        "audio": [BlobValue(sound.getvalue(), "audio/wav", "tone.wav")],
    }


class CheckFailed(AssertionError):
    """Something does not hold. The message says what."""


@dataclass(frozen=True)
class Trial:
    """An extractor that is checked, and the files that it is tried with: small made-up ones by default."""

    kind: type[Extractor]
    models: Models
    samples: Samples = field(default_factory=made_up)

    @cached_property
    def readme(self) -> str:
        """The text of its README, empty where there is none."""
        file = folder_of(self.kind) / "README.md"
        return file.read_text("utf-8") if file.is_file() else ""

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor with its default parameters."""
        return self.kind(self.kind.validate_parameters({}, self.models), self.models)

    @cached_property
    def parts(self) -> list[Part]:
        """What it makes of the sample. `CheckFailed` when that fails."""
        (outcome,) = self.extractor.extract([self.sample()])
        if isinstance(outcome, ExtractionError):
            raise CheckFailed(f"the sample fails: {outcome.message}")
        return outcome

    def sample(self, name: str = "a") -> Source:
        """A source that it takes: for each input a value of the first type that the input accepts."""
        values = {key: self._value(accepted[0], name) for key, accepted in self.kind.inputs.items()}
        return Source(name, values)

    def _value(self, type: str, name: str) -> InputValue:
        if found := self.samples.get(type):
            return found[len(name) % len(found)]
        return f"the words of {name}"


def check_its_catalogue_entry_is_whole(trial: Trial) -> None:
    """Name, version, description, category and inputs are there and of known kinds."""
    problems = "; ".join(wrong(trial.kind))
    _hold(not problems, problems)


def check_every_parameter_has_a_default_and_a_description(trial: Trial) -> None:
    """No parameter is required, each is described, and the defaults are valid parameters themselves."""
    kind = trial.kind
    schema = kind.Parameters.model_json_schema()
    _hold("required" not in schema, f"required parameters: {schema.get('required')}")
    default = schema["properties"]["extractor_type"].get("default")
    _hold(default == kind.name, f"extractor_type has the default {default!r}, not {kind.name!r}")
    bare = [name for name, entry in schema["properties"].items() if not entry.get("description")]
    _hold(not bare, f"parameters without a description: {', '.join(bare)}")
    defaults = kind.Parameters().model_dump(mode="json")
    again = kind.validate_parameters(defaults, trial.models)
    _hold(again == kind.Parameters(), "the defaults, written out, are read as something else")


def check_an_unknown_or_wrong_parameter_is_refused_by_name(trial: Trial) -> None:
    """A parameter that there is not, or one of another extractor, is a `ValidationError` that names it."""
    for given in ({"no_such_parameter": 1}, {"extractor_type": "other"}):
        (name,) = given
        try:
            trial.kind.validate_parameters(given, trial.models)
        except ValidationError as error:
            said = error.details.get("validation_errors")
            where = ["body", "feature_extractor", "parameters", name]
            named = isinstance(said, list) and any(
                isinstance(one, dict) and one.get("location") == where for one in said
            )
            _hold(named and name in error.message, f"the refusal of {given} does not name it: {error}")
        else:
            raise CheckFailed(f"the parameters {given} are not refused")


def check_its_vectors_and_fields_are_declared_and_are_what_documents_get(trial: Trial) -> None:
    """`vectors` and `output_schema` say what `extract` makes.

    A document of one kind may lack the vector of another: a page has none of a picture.
    """
    kind = trial.kind
    parameters = kind.validate_parameters({}, trial.models)
    declared = {made.output: made.dimension for made in kind.vectors(parameters, trial.models)}
    fields = kind.output_schema(parameters)
    known = {one.value for one in FieldType}
    odd = sorted(name for name, one in fields.items() if one.get("type") not in known)
    _hold(not odd, f"fields of no known type: {', '.join(odd)}")
    found: set[str] = set()
    for part in trial.parts:
        further = sorted(set(part.fields) - set(fields))
        _hold(not further, f"fields that output_schema does not name: {', '.join(further)}")
        made = {name: vector.shape[-1] for name, vector in part.vectors.items()}
        wrong_ones = sorted(name for name, length in made.items() if declared.get(name) != length)
        _hold(not wrong_ones, f"vectors {made} where {declared} are declared")
        found |= set(made)
        finite = all(bool(np.isfinite(vector).all()) for vector in part.vectors.values())
        _hold(finite, "a vector has numbers that are not finite")
        _hold(part.modality in get_args(Modality), f"the modality {part.modality!r} is none")
    _hold(bool(found) or not declared or not trial.parts, f"no document has any vector of {declared}")


def check_positions_are_unique_within_a_source(trial: Trial) -> None:
    """Each document of a source has a position of its own, from which its id is made."""
    positions = [part.position for part in trial.parts]
    embeds = bool(trial.kind.vectors(trial.kind.Parameters(), trial.models))
    _hold(bool(positions) or not embeds, "the sample makes no document")
    _hold(len(set(positions)) == len(positions), f"positions repeat: {positions}")


def check_doing_it_twice_gives_the_same_whatever_lies_beside_it(trial: Trial) -> None:
    """The same source gives the same documents, alone and among others."""
    alone = trial.parts
    beside = trial.extractor.extract([trial.sample("b" * 50), trial.sample(), trial.sample("c")])[1]
    _hold(isinstance(beside, list), f"beside others it fails: {beside}")
    assert isinstance(beside, list)
    _hold(len(alone) == len(beside), f"{len(alone)} documents alone, {len(beside)} beside others")
    for one, other in zip(alone, beside, strict=True):
        same = (one.position, one.fields, one.lexical) == (other.position, other.fields, other.lexical)
        _hold(same, f"{one.position}: {one.fields} alone, {other.position}: {other.fields} beside others")
        for name, vector in one.vectors.items():
            near = np.allclose(vector, other.vectors[name], atol=1e-5)
            _hold(near, f"the vector {name} of {one.position} differs beside others")


def check_no_sources_give_no_outcomes(trial: Trial) -> None:
    """Nothing in, nothing out."""
    made = list(trial.extractor.extract([]))
    _hold(not made, f"no sources give {made}")


def check_bad_inputs_fail_alone(trial: Trial) -> None:
    """Empty, broken and odd inputs end as an `ExtractionError` that names the input, and touch no other."""
    kind = trial.kind
    picture = BlobValue(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png", "cat.png")
    bad: list[InputValue | Sequence[InputValue]] = [
        *(None, "", [], [None, ""], picture, BlobValue(b"", "text/plain")),
        object(),  # type: ignore[list-item]
    ]
    sources = [Source(str(at), dict.fromkeys(kind.inputs, value)) for at, value in enumerate(bad)]
    outcomes = trial.extractor.extract([trial.sample(), *sources, Source("none", {}), trial.sample()])
    _hold(len(outcomes) == len(sources) + 3, f"{len(outcomes)} outcomes for {len(sources) + 3} sources")
    whole = isinstance(outcomes[0], list) and isinstance(outcomes[-1], list)
    _hold(whole, f"good sources among bad ones fail: {outcomes[0]}, {outcomes[-1]}")
    embeds = bool(kind.vectors(kind.Parameters(), trial.models))
    for value, outcome in zip([*bad, "no input at all"], outcomes[1:-1], strict=True):
        _hold(isinstance(outcome, list | ExtractionError), f"{value!r} gives {outcome!r}")
        if embeds:
            _hold(isinstance(outcome, ExtractionError), f"{value!r} gives documents")
            assert isinstance(outcome, ExtractionError)
            named = any(key in outcome.message for key in kind.inputs)
            _hold(named, f"the failure of {value!r} does not name an input: {outcome.message}")


def check_its_readme_names_every_parameter_and_field(trial: Trial) -> None:
    """A README lies beside it that names each parameter, input and field, in backquotes."""
    kind = trial.kind
    _hold(bool(trial.readme), f"there is no README.md in {folder_of(kind)}")
    names = {*kind.Parameters.model_fields, *kind.inputs, *kind.output_schema(kind.Parameters())}
    for strategy in kind.Parameters.model_json_schema()["properties"].get("split_by", {}).get("enum", []):
        names |= set(kind.output_schema(kind.Parameters.model_validate({"split_by": strategy})))
    unnamed = sorted(name for name in names if f"`{name}`" not in trial.readme)
    _hold(not unnamed, f"the README does not name {', '.join(unnamed)}")


CHECKS: Final[Sequence[Callable[[Trial], None]]] = (
    check_its_catalogue_entry_is_whole,
    check_every_parameter_has_a_default_and_a_description,
    check_an_unknown_or_wrong_parameter_is_refused_by_name,
    check_its_vectors_and_fields_are_declared_and_are_what_documents_get,
    check_positions_are_unique_within_a_source,
    check_doing_it_twice_gives_the_same_whatever_lies_beside_it,
    check_no_sources_give_no_outcomes,
    check_bad_inputs_fail_alone,
    check_its_readme_names_every_parameter_and_field,
)


def check_name(check: object) -> str:
    """The name of a check in words."""
    return str(getattr(check, "__name__", check)).removeprefix("check_").replace("_", " ")


def _hold(condition: bool, words: str) -> None:
    if not condition:
        raise CheckFailed(words)
