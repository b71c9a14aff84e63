"""The page on which an invited user sets a password."""

from flask import Flask, Response

from authserver.auth.bcrypt_queue import Hashing
from authserver.auth.passwords import NewPasswords
from authserver.core.errors import AuthserverError, NotFound
from authserver.db import invitations
from authserver.db.store import Store
from authserver.web.pages.page import Form, FormPage, new_password


def register(app: Flask, page: FormPage, store: Store, hashing: Hashing) -> None:
    """Serve ``/invitation``. The code is the only credential.

    A link has the code behind its #, so that it is in nobody's log: the page's script sends it in
    a form without a password, and gets the form that knows whose invitation it is.
    """
    new = NewPasswords.of(page.settings)

    def redeem(form: Form, client: str) -> Response:
        code = form.get("code", "").strip()
        with store.read() as session:
            name = invitations.require_open(session, store.clock(), code)
        if "password" not in form:
            return page.answer(name=name, code=code)
        try:
            account = invitations.accept(
                store,
                code,
                new_password(form),
                lambda password, name: hashing.hash_new(client, password, name, new),
            )
        except NotFound:
            raise
        except AuthserverError as error:
            return page.refuse(error, name=name, code=code)
        return page.answer(account=account)

    page.register(app, redeem)
