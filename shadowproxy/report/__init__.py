"""Reports of verdicts: values in, text out.

`document` gathers what the admin API returned into one value, `checks` turns a verdict into
tests that passed or not, and `html`, `markdown`, `junit` and `plain` each write that value as text.
Nothing here asks anybody anything: no socket, no file, no clock.
"""

from __future__ import annotations
