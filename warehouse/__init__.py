"""The database: settings, connections, migrations, roles, and the embedded server. Every process of ours imports it."""

from warehouse.network import spare_loopback

# before any client reads the proxy settings, which some do at import
spare_loopback()
