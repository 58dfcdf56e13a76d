"""Checks the signature of a request as AWS does (Signature Version 4)."""

from __future__ import annotations

import hashlib
import hmac
import re

from sinks import Request


def verify(request: Request, access_key: str, secret_key: str, region: str, service: str) -> None:
    """Raises an AssertionError unless the request was signed with these keys."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
        r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
        headers.get("authorization", ""),
    )
    assert match, f"no signature: {headers.get('authorization')!r}"
    key, day, in_region, for_service, names, signature = match.groups()
    assert (key, in_region, for_service) == (access_key, region, service)
    assert "host" in names.split(";") and "x-amz-date" in names.split(";")

    canonical = "\n".join(
        ["POST", request.path, "", *(f"{n}:{' '.join(headers[n].split())}" for n in names.split(";")), "", names,
         hashlib.sha256(request.body).hexdigest()]
    )  # fmt: skip
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    signing_key = b"AWS4" + secret_key.encode()
    for part in (day, region, service, "aws4_request"):
        signing_key = hmac.new(signing_key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(signing_key, to_sign.encode(), hashlib.sha256).hexdigest()
    assert hmac.compare_digest(signature, expected), "the signature is not that of this request"
