"""The database: settings, connections, migrations, roles, and the embedded server. Every process of ours imports it."""

import os

from warehouse.network import spare_loopback

# logs, reports, packages and keys that a process of ours writes are its user's alone
os.umask(os.umask(0o077) | 0o077)

# before any client reads the proxy settings, which some do at import
spare_loopback()
