"""The page on which a person changes the password of an account."""

from functools import partial

from flask import Flask, Response, request

from authserver.auth.credentials import Origin
from authserver.auth.passwords import NewPasswords
from authserver.core.errors import AuthserverError, Forbidden, SecondFactorNeeded, Unauthorized
from authserver.core.names import nfc
from authserver.db.store import Store
from authserver.web.api.caller import CHANGE_WAITS, Callers
from authserver.web.pages.page import Form, FormPage, new_password


def register(app: Flask, page: FormPage, store: Store, callers: Callers) -> None:
    """Serve ``/password``. The current password is the only credential, under the login's limits.

    An unknown or disabled account, and one without a password, are answered as a wrong password.
    Where a second factor is due, the console is the place.
    """
    new = NewPasswords.of(page.settings)
    wrong = Forbidden("the name or the current password is wrong")

    def change(form: Form, client: str) -> Response:
        name = form.get("name", "")
        try:
            account = callers.change_password(
                name,
                form.get("current", ""),
                new_password(form),
                Origin(client, request.headers.get("User-Agent", "")),
                new,
                partial(store.change, f"account:{nfc(name)}", wait=CHANGE_WAITS),
            )
        except SecondFactorNeeded as error:
            here = f"this needs a second factor too: use the console at {error.console}"
            return page.refuse(Forbidden(here), name=name)
        except (Forbidden, Unauthorized):
            return page.refuse(wrong, name=name)
        except AuthserverError as error:
            return page.refuse(error, name=name)
        return page.answer(account=account)

    page.register(app, change)
