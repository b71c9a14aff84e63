"""What a process runs on: settings, log, metrics, threads, memory that workers share.

Used by all rooms above, by ``cli`` and ``web/server`` first; uses only ``core``. It knows nothing
of the store, of accounts or of registries.
"""
