"""Boxes on a page: (left, top, right, bottom) in points, from the top left corner."""

from collections.abc import Iterable, Sequence
from typing import Final

from lamina.media.pdf_words import Box

EMPTY: Final[Box] = (0.0, 0.0, 0.0, 0.0)


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def area(box: Box) -> float:
    """In square points."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def holds(box: Box, other: Box) -> bool:
    """Whether the middle of the other lies inside."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def near(box: Box, other: Box, distance: float) -> bool:
    """Whether two boxes touch or are that close."""
    return (
        box[0] - distance <= other[2]
        and other[0] - distance <= box[2]
        and box[1] - distance <= other[3]
        and other[1] - distance <= box[3]
    )


def side_by_side(box: Box, other: Box) -> float:
    """How much two boxes overlap in height, by the lower of the two."""
    overlap = min(box[3], other[3]) - max(box[1], other[1])
    return overlap / max(min(box[3] - box[1], other[3] - other[1]), 0.1)


def one_above_the_other(box: Box, other: Box) -> bool:
    """Whether two boxes overlap in width."""
    return box[0] < other[2] and other[0] < box[2]


def clusters(boxes: Sequence[Box], distance: float) -> list[list[int]]:
    """Positions of boxes that are near each other, directly or by others between them."""
    order = sorted(range(len(boxes)), key=lambda at: boxes[at][1])
    parent = list(range(len(boxes)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    open_: list[int] = []
    for at in order:
        open_ = [other for other in open_ if boxes[other][3] + distance >= boxes[at][1]]
        for other in open_:
            if near(boxes[at], boxes[other], distance):
                parent[root(other)] = root(at)
        open_.append(at)
    found: dict[int, list[int]] = {}
    for at in range(len(boxes)):
        found.setdefault(root(at), []).append(at)
    return list(found.values())


def turned(box: Box, angle: int, page: tuple[float, float]) -> Box:
    """A box in the frame in which text of that angle is upright; `page` is (width, height) as shown."""
    left, top, right, bottom = box
    width, height = page
    if angle == 90:
        return top, width - right, bottom, width - left
    if angle == 180:
        return width - right, height - bottom, width - left, height - top
    if angle == 270:
        return height - bottom, left, height - top, right
    return box


def turned_back(box: Box, angle: int, page: tuple[float, float]) -> Box:
    """The inverse of `turned`; `page` is as shown."""
    size = page if angle in {0, 180} else (page[1], page[0])
    return turned(box, (360 - angle) % 360, size)
