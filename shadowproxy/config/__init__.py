"""The configuration: YAML in, one typed and immutable `Config` out, or every problem at once.

model      the classes, with defaults, limits and documentation: the one source of truth
shape      what those classes look like, for everything that walks them
units, formats, addresses    the forms of single values
source     YAML text to plain data with places          (imports YAML, when called)
read       plain data to the classes of model
complete   names that were left out
checks     what must hold between parts
files      the files that a config names
plain      to and from plain data, digests
load       files and texts
schema, reference            what people and editors read
"""

from __future__ import annotations

from shadowproxy.config.load import Loaded, load_file, load_text
from shadowproxy.config.plain import canonical_digest, from_plain, to_plain

__all__ = ["Loaded", "canonical_digest", "from_plain", "load_file", "load_text", "to_plain"]
