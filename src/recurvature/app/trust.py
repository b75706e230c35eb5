"""The last section about a network: what every lens tested of itself, what they agree on, and how the file was read."""

from typing import Any

import numpy as np

from recurvature._errors import InputError, NumericalError
from recurvature._progress import Progress, Report
from recurvature.app.about_network import certificate_blocks
from recurvature.app.page import Block, Heading, Section, Table, Text, number
from recurvature.app.subject import LENSES, Seen, Subject
from recurvature.dynamics import FixedPoints
from recurvature.identities import IdentityCheck, check
from recurvature.io import Certificate

LARGEST = 512
"""States up to which identities between lenses are tried: some cost the square of the state a step."""
TITLES = {
    "dynamics": "Fixed points",
    "latent": "Latent variables",
    "warping": "Metrics",
    "superposition": "Directions of past inputs",
    "overlaps": "Overlaps",
}


def agreement(subject: Subject, seen: dict[str, Seen], report: Report) -> IdentityCheck | None:
    """The identities between lenses on the first view; None for a few lenses, a large state, or no curve of inputs.

    They are between all lenses, and cost as much as some of them: who asks for a few lenses does not pay for them.
    """
    if set(seen) != set(LENSES) or not subject.views or subject.network.system.state_size > LARGEST:
        return None
    view = subject.views[0]
    points = seen["dynamics"].results.get("dynamics-fixed-points-0") if "dynamics" in seen else None
    report(Progress("identities between lenses", 0, 1))
    try:
        found = check(
            subject.network,
            view.manifold,
            duration=view.duration,
            fixed_points=points if isinstance(points, FixedPoints) else None,
        )
    except (InputError, NumericalError):  # such a network is told of by the lenses themselves
        return None
    report(Progress("identities between lenses", 1, 1))
    return found


def section(seen: dict[str, Seen], agreed: IdentityCheck | None, certificate: Certificate | None) -> Section:
    """How much of the report to believe."""
    blocks: list[Block] = []
    for name, each in seen.items():
        if each.checks:
            blocks += [Heading(TITLES[name]), *each.checks]
    if agreed is not None and agreed.tried:
        blocks += [Heading("Where lenses must agree"), *_identities(agreed)]
    if certificate is not None:
        blocks += [Heading("Is this the network of the file"), *certificate_blocks(certificate)]
    if not blocks:
        blocks = [Text("Nothing was computed that would need checking.")]
    said = [each.trust for each in seen.values()]
    if agreed is not None and agreed.tried:
        said.append(f"{agreed.held} of {agreed.tried} identities between lenses hold.")
    return Section("trust", "How much to believe", tuple(blocks), " ".join(filter(None, said)))


def numbers(agreed: IdentityCheck) -> dict[str, Any]:
    """Errors and verdicts, for run.json."""
    errors = np.asarray(agreed.error, float)
    rows = zip(agreed.names, errors, agreed.verdicts, strict=True)
    return {name: {"error": float(e) if np.isfinite(e) else None, "verdict": v} for name, e, v in rows}


def _identities(agreed: IdentityCheck) -> list[Block]:
    text = (
        "Some quantities can be had from two lenses by different computations. Each was computed both ways for this "
        "network; the error is the largest difference over the largest entry."
    )
    rows = []
    for i, name in enumerate(agreed.names):
        error, known = float(agreed.error[i]), bool(np.isfinite(agreed.error[i]))
        rows.append(
            (
                name,
                agreed.statements[i],
                number(error, 2) if known else "–",
                number(float(agreed.tolerance[i]), 2) if np.isfinite(agreed.tolerance[i]) else "–",
                agreed.verdicts[i].replace("_", " ") + (f": {agreed.reasons[i]}" if agreed.reasons[i] else ""),
            )
        )
    return [Text(text), Table(("identity", "what it says", "error", "allowed", "verdict"), tuple(rows))]
