"""Policy files: reading them, planning what they would change, applying that, assertions."""
