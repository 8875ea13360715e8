"""Which names are secret.

Names are compared without case and without what divides their words: `X-Api-Key`,
`x_api_key` and `xApiKey` are one name. A field is also secret when one of its words
is (`user_password`, `githubToken`) unless its last word says that it only tells about
the secret (`token_type`, `password_required`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADERS: Final = frozenset(
    {
        "authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info", "cookie", "cookie2", "set-cookie", "set-cookie2",
        "x-api-key", "api-key", "x-auth", "x-auth-key", "x-auth-token", "x-authorization", "x-access-key", "x-access-token", "x-csrf-token", "x-xsrf-token", "x-csrftoken",
        "x-session", "x-session-id", "x-session-token", "x-forwarded-access-token", "x-forwarded-authorization", "x-auth-request-access-token",
        "x-original-authorization", "x-forwarded-client-cert", "x-client-cert", "x-ssl-client-cert", "ssl-client-cert", "client-cert", "client-cert-chain",
        "dpop", "signature", "x-signature", "x-hub-signature", "x-hub-signature-256", "x-slack-signature", "stripe-signature", "x-twilio-signature",
        "x-shopify-hmac-sha256", "x-amz-security-token", "x-amzn-oidc-data", "x-amzn-oidc-accesstoken", "x-amzn-oidc-identity", "x-goog-api-key",
        "x-goog-iap-jwt-assertion", "x-goog-authenticated-user-email", "x-goog-authenticated-user-id", "x-ms-token-aad-access-token", "x-ms-client-principal",
        "x-functions-key", "ocp-apim-subscription-key", "cf-access-jwt-assertion", "cf-access-client-id", "cf-access-client-secret", "x-vault-token",
        "x-consul-token", "x-gitlab-token", "private-token", "job-token", "deploy-token", "x-github-token", "x-shopify-access-token", "x-parse-session-token",
        "x-rpc-auth", "x-test-signature", "x-webhook-secret", "x-user-email", "x-forwarded-email", "x-auth-request-email", "from",
        "x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "true-client-ip", "cf-connecting-ip",
        "cf-connecting-ipv6", "fastly-client-ip", "x-appengine-user-ip", "x-azure-clientip", "x-azure-socketip", "x-envoy-external-address",
    }
)  # fmt: skip
"""Header fields whose value is a credential, or says who asked."""

FIELDS: Final = frozenset(
    {
        "session", "session_id", "sess_id", "sid", "jsessionid", "phpsessid", "aspsessionid", "asp.net_sessionid", "connect.sid", "csrf", "xsrf", "_csrf",
        "csrfmiddlewaretoken", "authenticity_token", "__requestverificationtoken", "__viewstate", "samlresponse", "samlrequest", "client_assertion", "assertion",
        "code_verifier", "code_challenge", "device_code", "user_code", "authorization_code", "authorization", "proxy_authorization", "bearer", "jwt", "auth", "oauth",
        "api_key", "apikey", "app_key", "application_key", "access_key", "access_key_id", "account_key", "shared_key", "encryption_key", "signing_key", "master_key",
        "private_key", "public_key_credential", "secret_key", "session_key", "subscription_key", "license_key", "ssh_key", "service_account_key", "connection_string",
        "database_url", "dsn", "x_amz_signature", "x_amz_credential", "x_amz_security_token", "x_goog_signature", "x_goog_credential", "aws_access_key_id",
        "aws_secret_access_key", "security_answer", "recovery_code", "backup_code", "verification_code", "activation_code", "reset_code", "one_time_code", "mfa_code",
        "totp", "otp", "hotp", "pin", "pin_code", "pincode", "puk", "nonce_secret", "salt", "seed_phrase", "mnemonic", "private", "webhook_url",
        "email", "e_mail", "mail", "email_address", "user_email", "phone", "phone_number", "mobile", "mobile_number", "telephone", "tel", "msisdn", "fax",
        "card", "card_number", "cardnumber", "cc_number", "ccnum", "credit_card", "creditcard", "credit_card_number", "pan", "cvv", "cvv2", "cvc", "cvc2", "cvn",
        "card_cvc", "security_code", "iban", "bic", "account_number", "bank_account", "routing_number", "sort_code", "ssn", "social_security_number", "social_security",
        "sin", "national_id", "national_insurance_number", "nino", "tax_id", "tin", "passport", "passport_number", "drivers_license", "driver_license_number",
        "ip", "ip_address", "client_ip", "remote_addr", "remote_ip", "remote_address", "user_ip", "source_ip",
    }
)  # fmt: skip
"""Fields of queries, forms, cookies and JSON that hold a credential, a way to reach a person, or a means of payment."""

QUERY_FIELDS: Final = frozenset({"key", "code", "state", "nonce", "sig", "signature", "hmac", "hash", "credential", "auth_code", "ticket"})
"""Fields that are secret in a query or a form (OAuth codes, signed links) and mean other things in JSON."""

WORDS: Final = frozenset(
    {
        "password", "passwd", "passwort", "passphrase", "passcode", "pwd", "pass", "secret", "secrets", "token", "tokens", "credential", "credentials", "cred", "creds",
        "apikey", "accesskey", "secretkey", "privatekey", "authkey", "sessionid", "authtoken", "accesstoken", "refreshtoken", "idtoken", "jwt", "csrftoken",
        "xsrftoken", "email", "otp", "totp", "cvv", "cvc", "ssn", "iban", "authorization", "cookie", "cookies",
    }
)  # fmt: skip
"""Words that make any name secret that has them."""

ABOUT: Final = frozenset(
    {
        "type", "count", "counts", "length", "size", "limit", "limits", "ttl", "expires", "expiry", "expiration", "expired", "in", "at", "required", "enabled", "disabled",
        "valid", "invalid", "verified", "policy", "strength", "changed", "created", "updated", "endpoint", "issuer", "method", "methods", "usage", "used", "remaining",
        "supported", "algorithm", "format", "label", "placeholder", "hint", "error", "errors", "status", "preferences", "notifications", "subscribed", "opt",
    }
)  # fmt: skip
"""Last words of a name that is about a secret and does not hold one."""

PLAIN: Final = frozenset(
    {
        "max_tokens",
        "min_tokens",
        "total_tokens",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "num_tokens",
    }
)
"""Names that have a secret word and hold a number of something."""

SHAPES: Final = ("private_key", "jwt", "api_key", "bearer", "userinfo", "email_shape", "card_shape")
"""Forms that are secret wherever they stand; `keep` takes these names as well."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_DIVIDERS: Final = re.compile(r"[^a-z0-9]+")
_REMEMBERED: Final = 8192
"""Names whose answer is remembered: services use a few hundred."""

_LONGEST: Final = 256
"""Characters of a name that are looked at: no name is longer, and what is costs no more."""


def plain_name(name: str) -> str:
    """`name` without case and dividers."""
    return _DIVIDERS.sub("", name[:_LONGEST].lower())


@dataclass(frozen=True, slots=True)
class Rules:
    """The names that are secret: the built-in ones, and what the config adds to and takes from them.

    Args:
        headers: further header fields.
        fields: further fields of queries, forms, cookies and JSON.
        keep: header fields, fields and SHAPES that are not secret after all.
    """

    headers: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    _headers: frozenset[str] = field(init=False, repr=False, compare=False)
    _fields: frozenset[str] = field(init=False, repr=False, compare=False)
    _query: frozenset[str] = field(init=False, repr=False, compare=False)
    _kept: frozenset[str] = field(init=False, repr=False, compare=False)
    _added: frozenset[str] = field(init=False, repr=False, compare=False)

    _known: dict[str, bool] = field(init=False, repr=False, compare=False, default_factory=dict)
    _known_query: dict[str, bool] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        kept = _plain(self.keep)
        added = _plain(self.fields) | _plain(self.headers)
        secret = _plain(FIELDS | set(self.fields))
        object.__setattr__(self, "_headers", (_plain(HEADERS | set(self.headers)) | _plain(self.fields)) - kept)
        object.__setattr__(self, "_fields", (secret | _plain(self.headers)) - kept)
        object.__setattr__(self, "_query", _plain(QUERY_FIELDS) - kept)
        object.__setattr__(self, "_kept", kept | _plain(PLAIN))
        object.__setattr__(self, "_added", added - kept)

    @property
    def digest(self) -> str:
        """Stands for these rules beside what they were applied to: what was scrubbed under others may hold what is secret now."""
        said = repr((sorted(self._headers), sorted(self._fields), sorted(self._query), sorted(self._kept), sorted(WORDS)))
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    def is_secret_header(self, name: str) -> bool:
        """Whether the value of this header field is to be replaced."""
        return plain_name(name) in self._headers or self.is_secret_field(name)

    def is_listed_header(self, name: str) -> bool:
        """Whether it is a header field by its own name, and not only one that a field would be secret by."""
        return plain_name(name) in self._headers

    def is_secret_field(self, name: str, *, is_query: bool = False) -> bool:
        """Whether the value of this field is to be replaced.

        Args:
            name: as it stands in the message, decoded.
            is_query: the field is one of a query or a form, where more names are secret.
        """
        known = self._known_query if is_query else self._known
        answer = known.get(name)
        if answer is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            answer = known[name[:_LONGEST]] = self._judge(name[:_LONGEST], is_query=is_query)
        return answer

    def is_kept(self, name: str) -> bool:
        """Whether the config says that this name, or this one of SHAPES, is not secret after all."""
        return plain_name(name) in self._kept

    def _judge(self, name: str, *, is_query: bool) -> bool:
        whole = plain_name(name)
        if not whole or whole in self._kept:
            return False
        if whole in self._fields or (is_query and whole in self._query):
            return True
        words = [word.lower() for word in _WORD.findall(name)]
        last = "".join(words[-1:])
        if last in ABOUT:
            return False
        # user[password], order.card.number, X-Api-Key-2: a name inside the name, and one with a number behind it.
        return any(word in WORDS and word not in self._kept for word in words) or any(
            "".join(words[start:end]) in self._fields
            for start in range(len(words))
            for end in range(start + 1, min(start + 4, len(words)) + 1)
            if end - start > 1 or words[start] in self._added or (len(words[start]) > 4 and end == len(words))
        )


def _plain(names: Iterable[str]) -> frozenset[str]:
    return frozenset(plain_name(name) for name in names) - {""}
