"""Downloads with Python's own client, or over HTTP/2 with httpx, and ends with curl's exit codes."""

import http.client
import ssl
import sys
from urllib.parse import urlsplit

import httpx

SECONDS = 60
WHOLE, PART, REFUSED = 0, 18, 22


def over_http1(url, fields, trust):
    url = urlsplit(url)
    connection = http.client.HTTPSConnection(url.netloc, context=trust, timeout=SECONDS)
    connection.request("GET", url.path, headers=fields)
    answer = connection.getresponse()
    if answer.status != 200:
        return REFUSED
    try:
        answer.read()
    except (http.client.IncompleteRead, ConnectionError, ssl.SSLError):
        return PART
    return WHOLE


def over_http2(url, fields, trust):
    with httpx.Client(http1=False, http2=True, verify=trust, timeout=SECONDS) as client:
        with client.stream("GET", url, headers=fields) as answer:
            assert answer.http_version == "HTTP/2", answer.http_version
            if answer.status_code != 200:
                return REFUSED
            try:
                answer.read()
            except (httpx.RemoteProtocolError, httpx.ReadError):
                return PART
            return WHOLE


version, url, token, authority = sys.argv[1:]
ask = {"--http1.1": over_http1, "--http2": over_http2}[version]
sys.exit(ask(url, {"Authorization": "Bearer " + token}, ssl.create_default_context(cafile=authority)))
