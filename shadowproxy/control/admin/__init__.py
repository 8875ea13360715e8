"""The admin API, the metrics endpoint and the page, in the control process's event loop.

door       connections: how many, and who has to go
guard      what a request must be before anything looks at it: host, origin, method, type, token
problem    errors as application/problem+json, from one table
endpoint   one table of what there is: the routes and their description come from it
sinks      what looks into sinks
views      the documents that reads return
actions    what changes something
openapi    the description
page       the static page
app        all of it as an aiohttp application
"""
