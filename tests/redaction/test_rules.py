"""Which names are secret, by themselves and by config."""

from __future__ import annotations

import pytest

from shadowproxy.redaction.rules import FIELDS, HEADERS, QUERY_FIELDS, Rules

SECRET = [
    "password", "Passwd", "user_password", "newPassword", "user[password]", "access_token", "accessToken", "ACCESS-TOKEN", "id_token", "githubToken", "apiKey", "api_key",
    "X-Api-Key", "x_api_key2", "client_secret", "clientSecret", "sessionid", "session_id", "JSESSIONID", "PHPSESSID", "csrfmiddlewaretoken", "authenticity_token",
    "SAMLResponse", "email", "userEmail", "e-mail", "phone_number", "home_phone", "card.number", "cardNumber", "cvv", "cvc", "ssn", "iban", "otp", "pin", "jwt", "aws_secret_access_key",
    "private_key", "privateKeyPem", "X-Amz-Signature", "stripe_secret_key", "connection_string", "refreshToken", "credentials", "authorization", "client_ip",
]  # fmt: skip
PLAIN = [
    "name", "id", "total", "token_type", "tokenCount", "password_required", "tokenExpiresIn", "token_expires_at", "max_tokens", "email_verified", "keyboard", "key", "code",
    "state", "shipping", "ship", "pinned", "spin", "tokenizer", "passenger", "compass", "secretary", "author", "phonetic", "created_at", "status", "", "-", "...", "emailPreferences",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET)
def test_well_known_names_are_secret(name: str) -> None:
    """However their words are divided."""
    assert Rules().is_secret_field(name)


@pytest.mark.parametrize("name", PLAIN)
def test_names_that_only_sound_like_it_are_not(name: str) -> None:
    """Words are compared whole, and what tells about a secret is none."""
    assert not Rules().is_secret_field(name)


@pytest.mark.parametrize("name", ["code", "state", "key", "sig", "signature"])
def test_some_names_are_secret_in_a_query_only(name: str) -> None:
    """An OAuth code is one; the code of an error in JSON is not."""
    assert Rules().is_secret_field(name, is_query=True)
    assert not Rules().is_secret_field(name)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "PROXY-AUTHORIZATION",
        "cookie",
        "Set-Cookie",
        "x-api-key",
        "X_Api_Key",
        "X-Forwarded-For",
        "X-Acme-Token",
        "Private-Token",
    ],
)
def test_headers_are_secret_in_any_case(name: str) -> None:
    """The listed ones, and those whose name would make a field secret."""
    assert Rules().is_secret_header(name)


@pytest.mark.parametrize(
    "name",
    ["Host", "Content-Type", "User-Agent", "ETag", "Accept", "traceparent", "X-Request-Id", "Authority", "Content-Length", "Date", "Vary"],
)
def test_other_headers_are_not(name: str) -> None:
    """Or nothing could be compared."""
    assert not Rules().is_secret_header(name)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_listed_field_is_secret(name: str) -> None:
    """The list is not undone by a rule."""
    assert Rules().is_secret_field(name)


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_every_listed_header_is_secret(name: str) -> None:
    """The same for header fields."""
    assert Rules().is_secret_header(name)


@pytest.mark.parametrize("name", sorted(QUERY_FIELDS))
def test_every_listed_query_field_is_secret(name: str) -> None:
    """The same for queries."""
    assert Rules().is_secret_field(name, is_query=True)


def test_names_are_added_by_config() -> None:
    """A field is secret everywhere, also as a header and inside longer names; a header also as a field."""
    rules = Rules(headers=("X-Internal-User",), fields=("loyalty_id", "dob"))
    assert rules.is_secret_header("x-internal-user")
    assert rules.is_secret_field("xInternalUser")
    for name in ("loyaltyId", "LOYALTY-ID", "customer.loyalty_id", "dob", "user_dob"):
        assert rules.is_secret_field(name)
        assert not Rules().is_secret_field(name)
    assert rules.is_secret_header("Loyalty-Id")


def test_names_are_taken_away_by_config() -> None:
    """Exactly those, and words where a word is named."""
    rules = Rules(keep=("email", "Session-Id", "x-forwarded-for", "page_token", "jwt"))
    for name in ("email", "workEmail", "session_id", "page_token"):
        assert not rules.is_secret_field(name)
    assert not rules.is_secret_header("X-Forwarded-For")
    assert rules.is_secret_field("access_token")
    assert rules.is_kept("jwt")
    assert not rules.is_kept("bearer")


def test_rules_are_values() -> None:
    """Equal when they say the same; their digest changes when what they say does."""
    assert Rules(fields=("a",)) == Rules(fields=("a",))
    assert Rules(fields=("a",)).digest == Rules(fields=("A",)).digest
    assert len({Rules().digest, Rules(fields=("zzz",)).digest, Rules(keep=("email",)).digest, Rules(keep=("jwt",)).digest}) == 4


def test_a_long_name_costs_no_more() -> None:
    """And what is remembered is bounded."""
    rules = Rules()
    assert not rules.is_secret_field("x" * 1_000_000)
    for number in range(20_000):
        rules.is_secret_field(f"n{number}")
    assert len(rules._known) <= 8192
