"""Web Push: encryption and tokens of the RFCs, endpoints, and public addresses."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from daarion_appservice.push.base64url import decode_base64url
from daarion_appservice.push.endpoints import PublicResolver, is_public, read_endpoint
from daarion_appservice.push.payload_encryption import BrowserKeys, encrypt
from daarion_appservice.push.vapid import VapidKey

# RFC 8291, appendix A.
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
    "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)

HOST = "updates.push.services.mozilla.com"


def test_encryption_of_rfc_8291_has_its_result() -> None:
    sender = ec.derive_private_key(int.from_bytes(decode_base64url(SENDER, 32)), ec.SECP256R1())
    found = encrypt(
        b"When I grow up, I want to be a watermelon",
        BrowserKeys.read(P256DH, AUTH),
        sender=sender,
        salt=decode_base64url(SALT, 16),
    )
    assert found == decode_base64url(BODY, 144)


def test_two_pushes_have_other_keys_and_salts() -> None:
    browser = BrowserKeys.read(P256DH, AUTH)
    first, second = encrypt(b"one", browser), encrypt(b"one", browser)
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]


@pytest.mark.parametrize(
    ("p256dh", "auth", "name"),
    [
        ("", AUTH, "p256dh"),
        (P256DH[:-4], AUTH, "p256dh"),
        ("B" + "A" * 86, AUTH, "p256dh"),  # not on the curve
        ("Ї" * 87, AUTH, "p256dh"),
        (P256DH, "", "auth"),
        (P256DH, AUTH[:-2], "auth"),
        (P256DH, "Ї" * 22, "auth"),
    ],
)
def test_keys_of_no_browser_are_refused(p256dh: str, auth: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        BrowserKeys.read(p256dh, auth)


def test_token_names_push_service_time_and_contact() -> None:
    key, now_s = VapidKey("a token", "mailto:admin@example.org"), 1_800_000_000
    scheme, token, public = key.authorization(URL(f"https://{HOST}/wpush/v2/x"), now_s).split()
    assert (scheme, public) == ("vapid", f"k={key.public_key}")
    point = decode_base64url(key.public_key, 65)
    claims = jwt.decode(
        token.removeprefix("t=").rstrip(","),
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point),
        algorithms=["ES256"],
        audience=f"https://{HOST}",
        options={"verify_exp": False},
    )
    assert claims["sub"] == "mailto:admin@example.org"
    assert now_s < claims["exp"] <= now_s + 24 * 3600


def test_token_is_used_until_it_soon_expires() -> None:
    key, endpoint = VapidKey("a token", "mailto:admin@example.org"), URL(f"https://{HOST}/x")
    first = key.authorization(endpoint, 1_800_000_000)
    assert key.authorization(endpoint, 1_800_000_000 + 10 * 3600) == first
    assert key.authorization(endpoint, 1_800_000_000 + 12 * 3600) != first


def test_key_is_that_of_the_secret() -> None:
    one, same, other = (VapidKey(secret, "").public_key for secret in ("a", "a", "b"))
    assert one == same != other


@pytest.mark.parametrize(
    "endpoint",
    [
        f"https://{HOST}/wpush/v2/gAAAAA",
        "https://fcm.googleapis.com/fcm/send/c:APA91b",
        "https://web.push.apple.com/QGuQ",
        "https://wns2-by3p.notify.windows.com/w/?token=BQYA",
    ],
)
def test_endpoints_of_browsers_are_accepted(endpoint: str) -> None:
    assert read_endpoint(endpoint, ()).scheme == "https"


@pytest.mark.parametrize(
    "endpoint",
    [
        f"http://{HOST}/",
        f"https://{HOST}:8443/",
        f"https://user@{HOST}/",
        f"https://{HOST}/#x",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://localhost/",
        "https://push.lan:443.example.org/",
        "https://",
        "push",
        "https://[",
    ],
)
def test_endpoints_that_are_not_public_are_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"^must"):
        read_endpoint(endpoint, ())


def test_private_host_is_accepted_where_configured() -> None:
    assert read_endpoint("https://localhost:8443/x", ["localhost"]).port == 8443


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2a00:1450:4001::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
    ],
)
def test_address_is_public_or_not(address: str, expected: bool) -> None:
    assert is_public(address) is expected


async def test_names_of_private_addresses_are_not_resolved() -> None:
    resolver = PublicResolver([])
    with pytest.raises(OSError, match="localhost has no public address"):
        await resolver.resolve("localhost", 443)
    await resolver.close()
    allowed = PublicResolver(["localhost"])
    assert await allowed.resolve("localhost", 443)
    await allowed.close()
