"""Public pages for people: the invitation."""
