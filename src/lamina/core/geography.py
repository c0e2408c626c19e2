"""Places and shapes on the globe, in degrees and metres, as filters and payloads write them.

Longitudes are those of WGS 84 between -180 and 180, latitudes between -90 and 90. Distances are
great circles on a sphere of the Earth's mean radius. Edges of a polygon are straight in degrees.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from lamina.core.errors import ValidationError
from lamina.core.types import Json

MEAN_EARTH_RADIUS: Final = 6_371_008.8
"""Metres; the mean radius R1 of WGS 84 (IUGG)."""

_SLACK: Final = 1e-9
"""Degrees by which bounds are widened, so that rounding never leaves out a place on the edge."""


class Place(NamedTuple):
    """A point on the globe, in degrees."""

    lat: float
    lon: float


class Bounds(NamedTuple):
    """A box that holds a whole shape. `west` > `east` where it crosses the antimeridian."""

    south: float
    west: float
    north: float
    east: float


@dataclass(frozen=True, slots=True)
class Circle:
    """Every place within `radius` metres of the centre."""

    center: Place
    radius: float

    def covers(self, place: Place) -> bool:
        """Whether a place lies within or on the edge."""
        return distance(self.center, place) <= self.radius

    def bounds(self) -> Bounds:
        """The box around the circle; all longitudes where it holds a pole."""
        angle = self.radius / MEAN_EARTH_RADIUS
        south = self.center.lat - math.degrees(angle) - _SLACK
        north = self.center.lat + math.degrees(angle) + _SLACK
        if south <= -90 or north >= 90:
            return Bounds(max(south, -90.0), -180.0, min(north, 90.0), 180.0)
        spread = (
            math.degrees(math.asin(min(1.0, math.sin(angle) / math.cos(math.radians(self.center.lat)))))
            + _SLACK
        )
        west, east = self.center.lon - spread, self.center.lon + spread
        return Bounds(south, west + 360 if west < -180 else west, north, east - 360 if east > 180 else east)


@dataclass(frozen=True, slots=True)
class Box:
    """Every place between two corners; crosses the antimeridian where it starts east of its end."""

    top_left: Place
    bottom_right: Place

    def covers(self, place: Place) -> bool:
        """Whether a place lies within or on the edge."""
        if not self.bottom_right.lat <= place.lat <= self.top_left.lat:
            return False
        west, east = self.top_left.lon, self.bottom_right.lon
        return west <= place.lon <= east if west <= east else place.lon >= west or place.lon <= east

    def bounds(self) -> Bounds:
        """The box itself."""
        return Bounds(self.bottom_right.lat, self.top_left.lon, self.top_left.lat, self.bottom_right.lon)


@dataclass(frozen=True, slots=True)
class Polygon:
    """Every place inside a closed ring and in none of the holes."""

    exterior: Sequence[Place]
    interiors: Sequence[Sequence[Place]] = ()

    def covers(self, place: Place) -> bool:
        """Whether a place lies inside."""
        return _inside(place, self.exterior) and not any(_inside(place, hole) for hole in self.interiors)

    def bounds(self) -> Bounds:
        """The box around the exterior ring."""
        latitudes = [corner.lat for corner in self.exterior]
        longitudes = [corner.lon for corner in self.exterior]
        return Bounds(min(latitudes), min(longitudes), max(latitudes), max(longitudes))


Shape = Circle | Box | Polygon


def distance(first: Place, second: Place) -> float:
    """Metres between two places by the haversine formula."""
    lat1, lat2 = math.radians(first.lat), math.radians(second.lat)
    half_lat = math.sin((lat2 - lat1) / 2)
    half_lon = math.sin(math.radians(second.lon - first.lon) / 2)
    chord = half_lat * half_lat + math.cos(lat1) * math.cos(lat2) * half_lon * half_lon
    return 2 * MEAN_EARTH_RADIUS * math.asin(min(1.0, math.sqrt(chord)))


def place_of(value: Json) -> Place | None:
    """The place that `{"lat": …, "lon": …}` means, or None for anything else."""
    if not isinstance(value, Mapping):
        return None
    lat, lon = value.get("lat"), value.get("lon")
    if isinstance(lat, bool) or isinstance(lon, bool):
        return None
    if not isinstance(lat, int | float) or not isinstance(lon, int | float):
        return None
    return Place(float(lat), float(lon)) if -90 <= lat <= 90 and -180 <= lon <= 180 else None


def shape(operator: str, value: Json, at: str = "value") -> Shape:
    """The shape that a geo operator's value describes.

    `geo_radius` takes `{center: {lat, lon}, radius}` with metres, `geo_bounding_box`
    `{top_left: {lat, lon}, bottom_right: {lat, lon}}`, `geo_polygon` `{exterior: {points: [{lat,
    lon}, …]}, interiors: [{points: […]}, …]}`; a ring is closed if its points do not close it.
    Raises `ValidationError`.
    """
    if not isinstance(value, Mapping):
        raise ValidationError(f"'{operator}' takes an object: {_ACCEPTED[operator]}.", field=at)
    if operator == "geo_radius":
        return Circle(_place(value, "center", operator, at), _radius(value.get("radius"), at))
    if operator == "geo_bounding_box":
        return _box(value, at)
    holes = value.get("interiors") or ()
    if not isinstance(holes, Sequence) or isinstance(holes, str):
        raise ValidationError("`interiors` is a list of rings.", field=f"{at}.interiors")
    return Polygon(
        _ring(value.get("exterior"), f"{at}.exterior"),
        tuple(_ring(hole, f"{at}.interiors.{number}") for number, hole in enumerate(holes)),
    )


_PLACE: Final = "{'lat': -90…90, 'lon': -180…180}"
_ACCEPTED: Final = {
    "geo_radius": f"{{'center': {_PLACE}, 'radius': metres}}",
    "geo_bounding_box": f"{{'top_left': {_PLACE}, 'bottom_right': {_PLACE}}}",
    "geo_polygon": f"{{'exterior': {{'points': [{_PLACE}, …]}}}}",
}


def _place(value: Mapping[str, Json], key: str, operator: str, at: str) -> Place:
    place = place_of(value.get(key))
    if place is None:
        raise ValidationError(f"'{operator}' takes {_ACCEPTED[operator]}.", field=f"{at}.{key}")
    return place


def _radius(radius: Json, at: str) -> float:
    if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 <= radius < math.inf:
        raise ValidationError("`radius` is a number of metres, 0 or more.", field=f"{at}.radius")
    return float(radius)


def _box(value: Mapping[str, Json], at: str) -> Box:
    corners = (_place(value, key, "geo_bounding_box", at) for key in ("top_left", "bottom_right"))
    box = Box(*corners)
    if box.top_left.lat < box.bottom_right.lat:
        raise ValidationError("`top_left` lies south of `bottom_right`.", field=f"{at}.top_left")
    return box


def _ring(value: Json, at: str) -> tuple[Place, ...]:
    points = value.get("points") if isinstance(value, Mapping) else value
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise ValidationError(f"A ring is {{'points': [{_PLACE}, …]}}.", field=at)
    places = []
    for number, point in enumerate(points):
        place = place_of(point)
        if place is None:
            raise ValidationError(f"A point of a ring is {_PLACE}.", field=f"{at}.points.{number}")
        places.append(place)
    if places and places[0] != places[-1]:
        places.append(places[0])
    if len(places) < 4:
        raise ValidationError("A ring has at least three points.", field=f"{at}.points")
    return tuple(places)


def _inside(place: Place, ring: Sequence[Place]) -> bool:
    """Whether a ray to the east crosses the ring an odd number of times."""
    inside = False
    for start, end in pairwise(ring):
        if (start.lat > place.lat) != (end.lat > place.lat):
            crossing = (end.lon - start.lon) * (place.lat - start.lat) / (end.lat - start.lat) + start.lon
            if place.lon < crossing:
                inside = not inside
    return inside
