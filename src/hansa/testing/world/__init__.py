"""A whole federation in one process, without network, disk or clock: to try the protocol in thousands of schedules.

The state machines are the real ones; around them stand models of what runs them. Everything is driven from one seed.
"""
