"""Sinks: mocks that answer tagged requests in a service's place, in a process of their own.

strict      JSON that means one thing
call        a request and an answer, as values
patterns, templates, latency, rules    configured answers
shelf       what sinks keep
resources, overlay, live               what tenants create and change, over what live holds
payment, mailbox, notebook             ready-made
openapi, parameters, schemas, generate answers by an OpenAPI document (the extra `sinks`)
sink        one sink: who of all these answers
front       HTTP around it (aiohttp)
house       all sinks of a config
server      the process that control starts
"""
