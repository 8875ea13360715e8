"""The admin API, the metrics endpoint and the page, in the control process's event loop.

door       connections: how many, and who has to go
guard      what a request must be before anything looks at it: host, origin, method, type, token
problem    errors as application/problem+json, from one table
schema     what descriptions are made of
sinks      what looks into sinks
ledger     what shows the record of tagged writes
views      the documents that reads return
actions    what changes something
openapi    one table of what there is: the routes and their description come from it; ledger_api has the ledger's part
page       the static page
app        all of it as an aiohttp application
"""
