"""The admin API."""

PREFIX = "/api/v1"
