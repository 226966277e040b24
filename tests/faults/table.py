"""``python -m tests.faults.table``: the fault matrix, run and printed as a table in Markdown."""

from __future__ import annotations

import logging

from tests.faults.cases import APIS, CLIENTS, EXPECTED, see


def row(fault: str) -> str:
    """What all clients made of a fault: requests, the slowest search, outcome and reason."""
    cells = [see(fault, client, api) for client in CLIENTS for api in APIS]
    requests = sorted({len(cell.server.requests) for cell in cells})
    slowest = max(cell.found.seconds for cell in cells) * 1e3
    statuses = sorted({cell.found.outcome.status for cell in cells})
    reason = (cells[0].found.outcome.reason or "").partition(cells[0].server.url.split("/")[2])[2]
    shown = [
        fault,
        ", ".join(map(str, requests)),
        f"{slowest:.0f}",
        f"{EXPECTED[fault].deadline * 1e3:.0f}",
        ", ".join(statuses),
        reason.lstrip("): ").replace("|", "\\|"),
    ]
    return f"| {' | '.join(shown)} |"


def main() -> None:
    """Print the table."""
    logging.disable()
    see("ok", "cohere SDK", "sync")  # imports the SDK, which no search should be charged with
    print(f"{len(CLIENTS)} clients ({', '.join(CLIENTS)}), each {' and '.join(APIS)}:\n")
    print("| the server | requests | slowest, ms | deadline, ms | outcome | reason (Cohere SDK) |")
    print("| --- | ---: | ---: | ---: | --- | --- |")
    for fault in EXPECTED:
        print(row(fault), flush=True)


if __name__ == "__main__":
    main()
