"""Sinks: mocks that answer tagged requests in a service's place, in a process of their own.

strict      JSON that means one thing
call        a request and an answer, as values
patterns, templates, latency, rules    configured answers
sink        one sink: who of all these answers
front       HTTP around it (aiohttp)
server      the process that control starts
"""
