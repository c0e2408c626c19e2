"""`sample`: keep a random part of the documents."""

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from lamina.retrieval.grouping import key_of
from lamina.retrieval.paths import number_at, present_at
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters


class _Parameters(StageParameters):
    """How many documents, and how they are drawn."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"count": 10, "strategy": "random", "seed": 7}]}
    )

    count: int = Field(default=10, ge=1, le=1000, description="Documents to keep; all if there are fewer.")
    strategy: Literal["random", "stratified", "reservoir"] = Field(
        default="random",
        description="`random`: each equally likely; `stratified`: in proportion over a field's values; "
        "`reservoir`: in one pass.",
    )
    stratify_by: str | None = Field(
        default=None, min_length=1, description="Dot path of the field for `stratified`."
    )
    min_per_stratum: int = Field(
        default=1, ge=0, description="Documents of each value at least, as far as `count` allows."
    )
    seed: int | None = Field(default=None, description="Makes the draw repeatable.")
    preserve_top_k: int = Field(
        default=0, ge=0, description="Documents with the best scores that always stay."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "_Parameters":
        if self.strategy == "stratified" and self.stratify_by is None:
            raise ValueError("The strategy 'stratified' needs stratify_by.")
        if self.preserve_top_k > self.count:
            raise ValueError("preserve_top_k may not exceed count.")
        return self


class Sample(Stage):
    """Keeps a random part; what stays keeps its order."""

    stage_id = "sample"
    category = "reduce"
    description = "Keep a random part of the documents: random, stratified or reservoir."
    icon = "dices"
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The documents drawn, in the order they came."""
        wanted = self.parameters
        if len(documents) <= wanted.count:
            return list(documents)
        top = best(documents, wanted.preserve_top_k)
        rest = [place for place in range(len(documents)) if place not in top]
        drawn = self._drawn(documents, rest, wanted.count - len(top), Random(wanted.seed))
        return [documents[place] for place in sorted({*top, *drawn})]

    def _drawn(
        self, documents: Documents, places: Sequence[int], count: int, random: Random
    ) -> Sequence[int]:
        if self.parameters.strategy == "stratified":
            assert self.parameters.stratify_by is not None
            strata: dict[object, list[int]] = {}
            for place in places:
                value = key_of(present_at(documents[place], self.parameters.stratify_by))
                strata.setdefault(value, []).append(place)
            shares = allotted(
                [len(stratum) for stratum in strata.values()], count, self.parameters.min_per_stratum
            )
            return [
                place
                for stratum, share in zip(strata.values(), shares, strict=True)
                for place in random.sample(stratum, share)
            ]
        if self.parameters.strategy == "reservoir":
            return reservoir(places, count, random)
        return random.sample(places, count)


def best(documents: Documents, count: int) -> set[int]:
    """Places of the documents with the highest scores; without scores, the first ones."""
    ranked = sorted(range(len(documents)), key=lambda place: -(number_at(documents[place], "score") or 0.0))
    return set(ranked[:count])


def reservoir(places: Sequence[int], count: int, random: Random) -> list[int]:
    """Vitter's algorithm R (1985): one pass, every place equally likely."""
    kept = list(places[:count])
    for seen, place in enumerate(places[count:], start=count + 1):
        slot = random.randrange(seen)
        if slot < count:
            kept[slot] = place
    return kept


def allotted(sizes: Sequence[int], count: int, minimum: int) -> list[int]:
    """How many of each stratum: the minimum first, the rest in proportion, by largest remainders."""
    shares = [0] * len(sizes)
    left = min(count, sum(sizes))
    for _ in range(minimum):
        for index, size in enumerate(sizes):
            if left and shares[index] < size:
                shares[index] += 1
                left -= 1
        if not left:
            break
    open_sizes = [size - share for size, share in zip(sizes, shares, strict=True)]
    total = sum(open_sizes)
    if left == 0 or total == 0:
        return shares
    exact = [size * left / total for size in open_sizes]
    floors = [int(part) for part in exact]
    order = sorted(range(len(sizes)), key=lambda index: floors[index] - exact[index])
    for index in order[: left - sum(floors)]:
        floors[index] += 1
    return [share + floor for share, floor in zip(shares, floors, strict=True)]
