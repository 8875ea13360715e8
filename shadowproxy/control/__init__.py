"""The control process: config, workers, totals, the admin API, the kill switch and the audit log.

In dependency order:

lines, logs, accesslog   threads that write lines; the event loop never waits for a disk or a terminal
audit, places            who changed what; the files of an instance
channel, slots, worker   one worker process: its stream, its shared words, its life
counts, comparison       totals over workers and their incarnations, and what is read from them
listeners, crew          sockets lent to workers; the workers, replaced when they die
killswitch, reload       what can be changed while running
metrics, admin           how it is read and changed from outside
supervisor               all of it as one instance
"""
