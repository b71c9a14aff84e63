"""Credentials in the forms that programs read: docker's config.json, a Secret of Kubernetes."""

import base64
import json
import re


def docker_config(host: str, account: str, secret: str) -> str:
    """Return a ``config.json`` that logs an account in to the registry ``host``."""
    auth = base64.b64encode(f"{account}:{secret}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}}, indent=2)


def kubernetes_name(text: str) -> str:
    """Return a name for an object of Kubernetes, made of a text; empty if none can be."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return label[:63].strip("-")


def kubernetes_secret(name: str, config: str) -> str:
    """Return the Secret of that name which has :func:`docker_config`, for ``imagePullSecrets``."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name},
            "stringData": {".dockerconfigjson": config},
        },
        indent=2,
    )
