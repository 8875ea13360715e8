"""What two answers to the same request say differently, and which of it is more than noise.

From bytes to findings, in the order of the modules: decode (content codings, charset),
documents (JSON, forms, lines of JSON), paths and rules (where, and how it is pinned),
forms (what a value looks like), fields, text and headers (differences), comparison (one
pair of answers), identities (two worlds that issue different ids), evidence (many pairs).

Nothing here raises for any bytes that an upstream can send: what cannot be read is
compared by digest, and the finding says why.
"""
