"""What a plan says to people: tables, explanations, figures and one self-contained HTML page.

Charter: everything is computed from a plan and its scenario with the memory model of ``planner.domain``;
nothing here decides a placement. ``usage`` is the account that the rest reads, ``words`` turns data into
sentences with units, ``explain`` answers why and why not, ``text`` writes tables for terminals and ``html``
the page. ``tables`` (pandas) and ``plots`` (matplotlib) are the package's only users of the extra
``report`` and are imported by nobody else here.
"""
