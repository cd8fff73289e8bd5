"""Conformance: other people's numbers, computed again by our own methods and compared.

A file holds vectors: the inputs of a calculation, the numbers expected of it, how far off they
may be and where they were read. ``vector_file`` reads and checks it, ``registry`` knows which of
our functions answers to which method name, ``comparison`` holds a computed number against an
expected one and ``verdicts`` does so for a whole file.
"""
