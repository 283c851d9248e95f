"""The mark of tests that need nginx, which `make test` installs where it may."""

from __future__ import annotations

import shutil

import pytest

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
"""Debian puts it where only root looks."""

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx-light)")
