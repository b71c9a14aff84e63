"""Policy as code: the rules and those whom they are about, as one file."""
