"""The stable address of a group: one host for all its models, whichever shards hold them.

Two nginx processes and a loop that tells them. The *door* listens where clients connect, keeps their
connections open and never reads its configuration again; it hands every request over a unix socket, one
connection each, to the *switch*, which knows the shards and is reloaded whenever a model moves. A reload
closes connections that wait for their next request, which a client notices as a failed request when it is
just sending one; here those that are closed lead nowhere but from the door to the switch, and none of them
ever waits.

Routes come from mounted ConfigMaps (``agent.routes``), addresses from the names in them. The loop writes
configuration and never touches a request.
"""
