"""Preloaded by the fork server: importing it warms the server."""

from processes import warm

warm()
