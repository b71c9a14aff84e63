"""Audit records: what happened, in chains that show when somebody alters them.

Each record has an HMAC over itself and the one before (`chain`); `checkpoints` seal where all
chains end. `recorder` writes records in the transaction of their change. `journal` writes those of
token requests in batches, `spool` keeps them on disk while the store takes none, and `log_writer`
sends a second copy elsewhere. `verify` finds alterations, `restart` closes chains that cannot be
put right, and `retention` deletes old records of token requests.

The token endpoint (`web`), every change (`db.store.Change`) and `cli/audit` call this room. It
calls `keys` for the master key, and `db`. It must not know who may do what, nor how a request came
in.
"""

KINDS = ("change", "token")
OUTCOMES = ("granted", "partial", "denied", "refused")
