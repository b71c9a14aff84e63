"""Why a registry does not accept our tokens: a check for each thing that can be wrong."""
