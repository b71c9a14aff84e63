"""Metrics: what is counted while serving, and how it gets to Prometheus.

Requests leave observations; a thread of each worker adds them up and writes a sheet with all its
numbers into a directory that the workers share; whichever worker is scraped adds the sheets up.
"""
