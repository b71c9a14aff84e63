"""Browsers by the names that people know."""

BROWSERS = {
    "Firefox/": "Firefox",
    "Edg/": "Edge",
    "OPR/": "Opera",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
"""What a ``User-Agent`` has in it, in the order in which it is looked for: most name others too."""

SYSTEMS = {
    "Windows": "Windows",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Macintosh": "macOS",
    "Linux": "Linux",
}


def browser(client: str) -> str:
    """Return the browser and system that a ``User-Agent`` names, or all of it for others."""
    found = [
        next((name for mark, name in names.items() if mark in client), "")
        for names in (BROWSERS, SYSTEMS)
    ]
    return ", ".join(found) if all(found) else client
