"""How fast the token endpoint is: `make bench`. It measures the real server, with a real client."""
