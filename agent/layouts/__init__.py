"""What each kind of server needs in a model's folder, as a pure question to the files that are there.

``port`` holds the types; each further module knows one server: ``triton``, ``mlserver``, ``kserve``.
"""
