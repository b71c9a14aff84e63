"""What differs between SQLite and PostgreSQL: connecting, errors, types, bulk writes, row ids.

Used by the rest of ``db`` and by migrations. It knows no noun of the domain.
"""
