"""The store: models, sessions, and plain functions for each noun."""
