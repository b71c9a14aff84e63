"""`make soak`: replicas under load while what they need is stopped and killed."""
