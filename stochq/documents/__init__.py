"""The four documents: model builders, claims with their ids, closed formulas.

One module per document. A builder returns a `Model` that can be used alone; a claim
pairs builders with what the document predicts for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from stochq.claims import Claim
from stochq.documents import document_000, document_002, document_003, document_004
from stochq.documents.document_000 import dephased_fermions, dephased_particle
from stochq.documents.document_002 import thermal_pair
from stochq.documents.document_003 import noisy_chain
from stochq.documents.document_004 import collective_spin
from stochq.errors import ModelError

__all__ = [
    "BUILDERS",
    "DOCUMENTS",
    "all_claims",
    "collective_spin",
    "dephased_fermions",
    "dephased_particle",
    "noisy_chain",
    "select_claims",
    "thermal_pair",
]

#: Number and subject of each document, in the order of the tables.
DOCUMENTS = {
    "000": "Shpielberg: diffusion and entanglement under selective dephasing",
    "002": "Diosi: autonomy of coupled thermodynamic quantum systems",
    "003": "Mogilevtsev and Slepyan: diffusive transfer by noisy coupling",
    "004": "Benatti et al.: mesoscopic fluctuations of a spin chain",
}

#: Model builders by name, for run files.
BUILDERS = {
    builder.__name__: builder
    for builder in (
        collective_spin,
        dephased_fermions,
        dephased_particle,
        noisy_chain,
        thermal_pair,
    )
}


def all_claims() -> tuple[Claim, ...]:
    """Return every claim, document by document."""
    return (
        *document_000.CLAIMS,
        *document_002.CLAIMS,
        *document_003.CLAIMS,
        *document_004.CLAIMS,
    )


def select_claims(names: Sequence[str]) -> tuple[Claim, ...]:
    """Return the claims with these ids or of these documents; all if none is named.

    Raises
    ------
    ModelError
        If a name is neither an id nor a document.
    """
    claims = all_claims()
    if not names:
        return claims
    wanted = {name.upper() for name in names}
    known = {claim.id.upper() for claim in claims} | set(DOCUMENTS)
    unknown = sorted(wanted - known)
    if unknown:
        raise ModelError(
            f"a claim must be one of {', '.join(sorted(known))}, but is {unknown[0]!r}"
        )
    return tuple(c for c in claims if c.id.upper() in wanted or c.document in wanted)
