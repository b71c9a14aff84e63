"""The whole store as one file, or copied into another store.

Used by ``cli``; works on tables, whatever their meaning.
"""
