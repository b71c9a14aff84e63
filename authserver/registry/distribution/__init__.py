"""How CNCF Distribution registries read and verify a registry token, version by version."""
