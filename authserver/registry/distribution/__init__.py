"""How CNCF Distribution registries verify a registry token: 2.8, 3.0 and 3.1.

``parsing`` takes a token apart, ``claim_set`` reads its claims, and ``key_lookup`` finds its key in
a ``RegistryTrust``. ``verify`` gives each version's verdict with its reasons.
``jwt inspect`` and the doctor call it. It follows Distribution's faults too, so it must never
decide whether *we* accept a token. It knows nothing of the store and of the network.
"""
