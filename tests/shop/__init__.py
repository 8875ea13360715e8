"""A small shop: the services that test tenancy is shown with, and that docs/guide-test-tenancy.md walks through.

    customer ─▶ front ─▶ catalogue                      front and out are listeners of one shadowproxy (shop.yaml)
                      ├▶ cart ──────▶ out ─▶ catalogue
                      ╰▶ checkout ──▶ out ─▶ cart, payments, mail

Each is a process: `python -m tests.shop.checkout --port 7012 --out http://127.0.0.1:7001 --dsn postgresql://...`. Cart
and checkout keep their things in PostgreSQL (schema.sql). `payments` and `mail` stand for other companies' services: what
they record has cost somebody money. Nobody calls anybody but through the proxy.
"""

from __future__ import annotations
