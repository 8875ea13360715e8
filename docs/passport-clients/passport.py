# ruff: noqa: INP001  a file to copy, not a package
"""Makes a test request that is believed, with nothing but the standard library: `headers` is all that a client needs.

python3 passport.py METHOD URL TENANT KEY_ID KEY_FILE < body
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit


def headers(method: str, url: str, body: bytes, *, tenant: str, key_id: str, key: bytes) -> dict[str, str]:
    """The header fields to send with the request; sent once, within a minute."""
    parts = urlsplit(url)
    port = {"http": ":80", "https": ":443"}[parts.scheme]
    added = {"X-Test-Traffic": tenant}
    if body:
        added["Content-Digest"] = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    covered = {
        "@method": method,
        "@authority": parts.netloc.lower().removesuffix(port),
        "@path": parts.path or "/",
        "@query": f"?{parts.query}",
    }
    covered |= {name.lower(): value for name, value in added.items()}
    names = " ".join(f'"{name}"' for name in covered)
    now = int(time.time())
    signed = f'({names});created={now};expires={now + 60};nonce="{secrets.token_urlsafe(18)}";keyid="{key_id}";tag="shadowproxy"'
    lines = [f'"{name}": {value}' for name, value in covered.items()] + [f'"@signature-params": {signed}']
    signature = base64.b64encode(hmac.digest(key, "\n".join(lines).encode(), "sha256")).decode()
    return {**added, "Signature-Input": f"test={signed}", "Signature": f"test=:{signature}:"}


if __name__ == "__main__":
    method, url, tenant, key_id, key_file = sys.argv[1:]
    key = Path(key_file).read_bytes().strip()
    for name, value in headers(method, url, sys.stdin.buffer.read(), tenant=tenant, key_id=key_id, key=key).items():
        print(f"{name}: {value}")  # noqa: T201  that is what it is for
