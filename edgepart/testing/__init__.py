"""Contract suites for plug-ins: an author subclasses one in a test, and is told what is wrong."""
