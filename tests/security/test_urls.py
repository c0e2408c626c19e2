"""A corpus of URLs that lead where they must not: each is refused before any connection is made."""

from ipaddress import ip_address

import pytest

from lamina.ingest.addresses import is_allowed, read_url
from tests.security.internet import PUBLIC, PUBLIC_6, Internet, Names, guarded, message_of

LEADING_INSIDE = [
    # the machine itself
    "http://127.0.0.1/",
    "http://127.0.0.1:8000/v1/health",
    "http://127.1.2.3/",
    "http://127.0.0.1./",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[0000::1]:8000/",
    "http://0.0.0.0/",
    "http://0.0.0.0:8000/",
    "http://[::]/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://localhost.localdomain/",
    # the same in other spellings
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://0177.0x0.0.1/",
    "http://017700000001/",
    "http://00000000127.0.0.1/",
    "http://127.0.0.1.0x1/",
    "http://256.256.256.256/",
    "http://4294967297/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://ｌｏｃａｌｈｏｓｔ/",
    "http://٢١٣٠٧٠٦٤٣٣/",
    "http://127%2e0%2e0%2e1/",
    "http://%31%32%37.0.0.1/",
    # private, link-local, shared, special
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://172.16.0.1/",
    "http://172.31.255.254/",
    "http://192.168.1.1/admin",
    "http://100.64.0.1/",
    "http://100.127.255.254/",
    "http://169.254.1.1/",
    "http://192.0.0.8/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://198.18.0.1/",
    "http://198.51.100.7/",
    "http://203.0.113.9/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd12:3456:789a::1]/",
    "http://[ff02::1]/",
    "http://[fec0::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[100::1]/",
    # IPv4 inside IPv6
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "http://[::ffff:93.184.215.14]/",
    # where clouds keep credentials
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://169.254.169.254./latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://[::ffff:a9fe:a9fe]/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://168.63.129.16/machine",
    "http://100.100.100.200/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://METADATA.google.internal./computeMetadata/v1/",
    "http://metadata/computeMetadata/v1/",
    # names that resolve to such addresses
    "http://inside.example/",
    "http://inside.example.:80/",
    "http://half.example/",
    "http://six.example/",
    "http://mapped.example/",
    "http://cloud.example/",
]

NO_WEB_ADDRESS = [
    # who the host is, confused
    "http://public.example@127.0.0.1/",
    "http://user:hunter2@public.example/",
    "http://@public.example/",
    "http://127.0.0.1\\@public.example/",
    "http://public.example\\@127.0.0.1/",
    "http://public.example:80@127.0.0.1/",
    "http://127.0.0.1:80:80/",
    "http://[::1]public.example/",
    "http://[public.example]/",
    "http://[::1/",
    "http://public.example:0/",
    "http://public.example:99999/",
    "http://public.example:http/",
    "http://public.example:８０/",
    "http://public\t.example/",
    "http://public.exa\nmple/",
    "http://public.example\r\nHost: 127.0.0.1/",
    "http://public.example/\r\nX-Injected: 1",
    "http://public.example\0.evil/",
    "http://public..example/",
    "http://-public.example/",
    "http://pub lic.example/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 130 + "example/",
    "http://public.example/" + "a" * 2100,
    "http:///127.0.0.1/",
    "http:/127.0.0.1/",
    "http:127.0.0.1",
    "http://",
    "http://?",
    "//127.0.0.1/",
    "127.0.0.1",
    "",
    # other schemes
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "ftp://public.example/file",
    "gopher://127.0.0.1:6379/_SET%20a%20b",
    "dict://127.0.0.1:11211/stats",
    "ldap://127.0.0.1/",
    "jar:http://public.example/a.jar!/b",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    # services that are not for the web
    "http://public.example:22/",
    "http://public.example:25/",
    "http://public.example:2375/containers/json",
    "http://public.example:3306/",
    "http://public.example:5432/",
    "http://public.example:6379/",
    "http://public.example:9200/_search",
    "http://public.example:11211/",
    "http://public.example:27017/",
]


@pytest.mark.parametrize("url", LEADING_INSIDE + NO_WEB_ADDRESS)
async def test_a_url_that_leads_inside_is_refused_before_any_connection(url: str) -> None:
    names = Names(
        public_example=[[PUBLIC]],
        inside_example=[["10.1.2.3"]],
        half_example=[[PUBLIC, "192.168.0.7"]],
        six_example=[["fd00::7"]],
        mapped_example=[["::ffff:10.1.2.3"]],
        cloud_example=[["169.254.169.254"]],
        localhost=[["127.0.0.1", "::1"]],
        localhost_localdomain=[["127.0.0.1"]],
    )
    network = Internet({})
    message = await message_of(guarded(names=names, network=network), url)
    assert network.connected == []
    assert message.startswith("The URL ")
    for secret in ("10.1.2.3", "192.168.0.7", "fd00::7", "hunter2"):
        assert secret not in message


@pytest.mark.parametrize("url", NO_WEB_ADDRESS)
async def test_what_is_no_web_address_is_refused_even_where_private_ones_are_allowed(url: str) -> None:
    names = Names(public_example=[[PUBLIC]])
    network = Internet({})
    await message_of(guarded(private=True, names=names, network=network), url)
    assert network.connected == []


NEVER = [
    "http://169.254.169.254/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://metadata.google.internal/",
    "http://224.0.0.1/",
    "http://0.0.0.0/",
    "http://255.255.255.255/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[ff02::1]/",
    "http://2130706433/",
]


@pytest.mark.parametrize("url", NEVER)
async def test_allowing_private_addresses_does_not_open_metadata_multicast_and_disguises(url: str) -> None:
    network = Internet({})
    await message_of(guarded(private=True, network=network), url)
    assert network.connected == []


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        (PUBLIC, True, True),
        (PUBLIC_6, True, True),
        ("8.8.8.8", True, True),
        ("172.32.0.1", True, True),
        ("100.128.0.1", True, True),
        ("2001:200::1", True, True),
        ("127.0.0.1", False, True),
        ("10.0.0.1", False, True),
        ("169.254.1.1", False, True),
        ("::1", False, True),
        ("fe80::1%2", False, True),
        ("fd00::1", False, True),
        ("2001:db8::1", False, False),
        ("192.0.2.1", False, False),
        ("::", False, False),
        ("::ffff:8.8.8.8", False, False),
    ],
)
def test_an_address_is_public_private_or_neither(address: str, public: bool, private: bool) -> None:
    assert is_allowed(ip_address(address), private=False) is public
    assert is_allowed(ip_address(address), private=True) is private


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://Public.Example", "http://public.example/"),
        ("  HTTPS://public.example:443/a?b=c#d\n", "https://public.example/a?b=c"),
        ("http://public.example.:8080/", "http://public.example:8080/"),
        ("http://my_bucket.example/a b/ü?q=ö %20", "http://my_bucket.example/a%20b/%C3%BC?q=%C3%B6%20%20"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://public.example?x=http://127.0.0.1/", "http://public.example/?x=http://127.0.0.1/"),
        ("http://public.example#@127.0.0.1/", "http://public.example/"),
        (f"http://[{PUBLIC_6}]:8080/", f"http://[{PUBLIC_6}]:8080/"),
        (f"http://{PUBLIC}/", f"http://{PUBLIC}/"),
    ],
)
def test_a_good_url_is_read_in_one_way(url: str, sent: str) -> None:
    assert str(read_url(url, field="data")) == sent
    assert str(read_url(sent, field="data")) == sent
