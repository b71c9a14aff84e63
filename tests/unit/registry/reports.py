"""Reports of examinations that tests make up."""

from authserver.registry.doctor.findings import DoctorReport, failed, passed
from tests.world import SERVICE

URL = "https://registry.example.com"


def report(*failing: str, why: str = "it refuses our tokens", url: str = URL) -> DoctorReport:
    """Return the report of an examination in which these checks failed."""
    made = DoctorReport(SERVICE, url)
    made.add(passed("registry.reachable", f"{url} answers"))
    made.extend(failed(check, why, "restart it") for check in failing)
    return made
