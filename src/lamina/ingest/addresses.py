"""Which URLs may be fetched, and which network addresses they may lead to."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Literal
from urllib.parse import quote, urlsplit

import idna

from lamina.core.errors import ValidationError

IPAddress = IPv4Address | IPv6Address
Scheme = Literal["http", "https"]

URL_LENGTH: Final = 2083
"""Longest URL, as the contract has it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once; everything afterwards works with the parts, so that nobody reads it otherwise.

    `host` is lower-case ASCII: a name, or an address without brackets. `path` has the query with it
    and is ready to be sent.
    """

    scheme: Scheme
    host: str
    port: int
    path: str
    address: IPAddress | None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def read_url(url: str, *, field: str) -> Target:
    """Take a URL apart. Raises `ValidationError` on `field` for one that may not be fetched, and says why."""
    url = url.strip(" \t\r\n")
    if len(url) > URL_LENGTH:
        raise refused(f"must have at most {URL_LENGTH} characters", field)
    if _FORBIDDEN_CHARACTERS.search(url):
        raise refused("must not contain control characters or backslashes", field)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise refused("is malformed", field) from None
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None:
        raise refused("must begin with http:// or https://", field)
    if "@" in parts.netloc:
        raise refused("must not hold a user name or a password", field)
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if authority is None:
        raise refused("must name a host, and no port but a number", field)
    port = int(authority["port"]) if authority["port"] else _PORTS[scheme]
    if not 0 < port <= 65535 or port in _SERVICE_PORTS:
        raise refused(f"must not lead to port {port}, which is not one for web pages", field)
    host, address = _read_host(authority["host"], field)
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    if not path.startswith("/"):
        raise refused("is malformed", field)
    if parts.query:
        path += "?" + quote(parts.query, safe=_PATH_SAFE + "?")
    return Target(scheme, host, port, path, address)


def is_allowed(address: IPAddress, *, private: bool) -> bool:
    """Whether an address may be connected to: a public one, or with `private` also one of a local network.

    Never allowed are the addresses where clouds keep credentials, multicast, and whatever carries
    an IPv4 address inside an IPv6 one. Follows the IANA special-purpose address registries.
    """
    if address in _METADATA_ADDRESSES:
        return False
    if _within(address, _PRIVATE):
        return private
    if isinstance(address, IPv4Address):
        return not _within(address, _SPECIAL)
    return address in _GLOBAL_UNICAST and address.scope_id is None and not _within(address, _SPECIAL)


def refused(reason: str, field: str) -> ValidationError:
    """The error for a URL that is not fetched."""
    return ValidationError(f"The URL {reason}.", field=field, code="url_refused")


def not_public(field: str) -> ValidationError:
    """The error for a URL that leads into a local network. It does not tell what is there."""
    return refused("leads to an address that is not public; only public addresses are fetched", field)


_SCHEMES: Final[dict[str, Scheme]] = {"http": "http", "https": "https"}
_PORTS: Final[dict[Scheme, int]] = {"http": 80, "https": 443}

_FORBIDDEN_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\\u2028\u2029\ud800-\udfff]")
_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s%]+)(?::(?P<port>[0-9]{0,5}))?")
_PATH_SAFE: Final = "%/:@!$&'()*+,;=~-._"

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _read_host(text: str, field: str) -> tuple[str, IPAddress | None]:
    if text.startswith("["):
        try:
            address = IPv6Address(text[1:-1])
        except ValueError:
            raise refused("must name a valid host", field) from None
        return str(address), address
    host = _ascii(text, field).removesuffix(".")
    if host in _METADATA_NAMES:
        raise not_public(field)
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses too; we accept the usual form only.
        try:
            literal = IPv4Address(host)
        except ValueError:
            raise refused("must name a host, or an address as four decimal numbers", field) from None
        return host, literal
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refused("must name a valid host", field)
    return host, None


def _ascii(host: str, field: str) -> str:
    """The host as DNS knows it. Look-alike digits and dots become plain ones before anything is checked."""
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host[:300], uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise refused("must name a valid host", field) from None


def _within(address: IPAddress, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in text.split())


_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

# Private use, loopback, link-local, shared address space of providers, unique local.
_PRIVATE: Final = _networks(
    "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 127.0.0.0/8 169.254.0.0/16 100.64.0.0/10"
    " ::1/128 fe80::/10 fc00::/7"
)

# "This network", protocol assignments, documentation, AS112, 6to4, benchmarks, multicast, reserved;
# then Teredo, ORCHID and other protocols, documentation, AS112, 6to4. NAT64 and mapped addresses lie
# outside of global unicast.
_SPECIAL: Final = _networks(
    "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.175.48.0/24"
    " 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    " 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20"
)

# AWS (instances, containers, pods, DNS, time), Azure, Google, Oracle, Alibaba, Tencent, Scaleway.
_METADATA_ADDRESSES: Final = frozenset(
    network.network_address
    for network in _networks(
        "169.254.169.254 169.254.169.253 169.254.169.123 169.254.170.2 169.254.170.23 169.254.0.23"
        " 169.254.42.42 168.63.129.16 192.0.0.192 100.100.100.200"
        " fd00:ec2::254 fd00:ec2::253 fd00:ec2::123 fd00:ec2::23 fd20:ce::254 fd00:42::42"
    )
)
_METADATA_NAMES: Final = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.tencentyun.com",
        "metadata.azure.internal",
    }
)

# The ports that the WHATWG Fetch standard blocks, then databases, caches, brokers and control planes.
_SERVICE_PORTS: Final = frozenset(
    {
        *(1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103),
        *(104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513),
        *(514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719),
        *(1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679),
        *(6697, 10080),
        *(445, 873, 1433, 1521, 2181, 2375, 2376, 2379, 2380, 3268, 3269, 3306, 3389, 4369, 5432, 5672),
        *(5900, 5984, 6333, 6334, 6379, 6380, 6443, 7000, 7001, 9042, 9092, 9200, 9300, 10250, 10255, 11211),
        *(15672, 26379, 27017, 27018, 27019, 50000),
    }
)
