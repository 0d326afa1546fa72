"""Contract suites for plug-ins: an author subclasses one in a test, and is told what is wrong.

Beside each suite are the made-up graphs, devices, plans and traces that it runs on, for use in other tests.
"""
