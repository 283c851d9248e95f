"""Model servers behind one small port: what the agent needs of a server, and nothing of how it is said.

``port`` holds the port and its values; each further module speaks to one kind of server.
"""
