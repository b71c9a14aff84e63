"""What lets a person in without the password again, and what ends it: logins and invitations."""

from sqlalchemy import delete

from authserver.db import console_sessions, refresh_tokens
from authserver.db.models import AccountRow, InvitationRow
from authserver.db.store import Change


def end_all(change: Change, row: AccountRow) -> None:
    """End every login of an account: with docker, and in the console."""
    refresh_tokens.end_all(change, row)
    console_sessions.end_all(change, row)


def end_invitation(change: Change, row: AccountRow) -> dict[str, str]:
    """End the invitation of an account; return what the record of the change says of it."""
    ended = delete(InvitationRow).where(InvitationRow.account_id == row.id)
    # To compare it with each row of the session takes as long as all else, where there are many.
    found = change.session.execute(
        ended.returning(InvitationRow.id), execution_options={"synchronize_session": False}
    )
    return {"invitation": "ended"} if found.all() else {}
