"""A policy as JSON: the same document as the file, with the same keys."""

from typing import ClassVar

from authserver.policy.files.schema import PolicyRegistry, PolicySections, optional
from authserver.web.api.models import ApiAnswer, ApiBody


class PolicyDocument(PolicySections, ApiBody, ApiAnswer):
    """A policy. A section that is not in it is left alone."""

    sparse: ClassVar[bool] = True
    # In a file an entry without keys is null, as YAML has it.
    registries: dict[str, PolicyRegistry] = optional(  # type: ignore[assignment]
        PolicySections.model_fields["registries"].description
    )
