"""The regression test of tenancy: tagged probes through every route, and a look at where each of them ended.

::

    config, probe file ──▶ plan ──▶ sending ──▶ wait ──▶ records (ledger, sinks, lost tags) ─╮
                         honey tokens in each            databases, pages ───────────────────┴─▶ fates ──▶ table, JUnit, JSON

`plan` and `fates` are pure. What is sent is tagged, once, and under a tenant of its own; nothing is ever deleted.
"""
