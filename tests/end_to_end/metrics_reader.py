"""A scrape by the parser of the Prometheus project's Python client, which refuses what OpenMetrics does not allow.

`metrics_reader.py URL`, with the key in `KEY`, prints what the page says as JSON: for each sample its name, its labels and
its value.
"""

import json
import os
import sys
from urllib.request import Request, urlopen

from prometheus_client.openmetrics.parser import text_string_to_metric_families

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def main(url):
    headers = {"Authorization": f"Bearer {os.environ['KEY']}", "Accept": "application/openmetrics-text"}
    with urlopen(Request(url, headers=headers), timeout=60) as response:
        assert response.headers["Content-Type"] == CONTENT_TYPE, response.headers
        page = response.read().decode()
    families = list(text_string_to_metric_families(page))
    assert len(families) > 30, page
    assert all(family.documentation and family.type != "unknown" for family in families), page
    samples = [sample for family in families for sample in family.samples]
    print(json.dumps([[sample.name, sample.labels, sample.value] for sample in samples]))


if __name__ == "__main__":
    main(sys.argv[1])
